"""Run a network on overlapping tiles of a frame, for which the whole is too much."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise, product

from torch import Tensor

from vsr.models.whole_frame.statistics import Area

__all__ = ["OVERLAP", "Tile", "cut", "in_tiles"]

#: Input pixels by which the network sees beyond a tile. Given the whole frame's statistics, FDIWN
#: in tiles is the whole to 0.0002 codes with 16 pixels.
OVERLAP = 16


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of a frame, in input pixels.

    Attributes:
        keep: what of the frame it is for; ``read``: what the network is given, with the overlap.
        inside: where :attr:`keep` is in :attr:`read`.
    """

    keep: Area
    read: Area
    inside: Area


def cut(height: int, width: int, side: int, overlap: int = OVERLAP) -> Iterator[Tile]:
    """Tiles that cover a frame, row by row, each of ``side`` by ``side`` pixels at most."""
    for rows, columns in product(_steps(height, side, overlap), _steps(width, side, overlap)):
        yield Tile(*zip(rows, columns, strict=True))


def _steps(size: int, side: int, overlap: int) -> list[tuple[slice, slice, slice]]:
    """``keep``, ``read`` and ``inside`` along one axis; of about one length, none a thin rest."""
    count = -(-size // side)
    borders = [size * index // count for index in range(count + 1)]
    steps = []
    for first, end in pairwise(borders):
        begin = max(0, first - overlap)
        read = slice(begin, min(size, end + overlap))
        steps.append((slice(first, end), read, slice(first - begin, end - begin)))
    return steps


def in_tiles(
    network: Callable[[Tensor, Area], Tensor],
    x: Tensor,
    scale: int,
    side: int,
    overlap: int = OVERLAP,
) -> Tensor:
    """Enlarge each tile on its own and put the results together.

    Args:
        network: ``(N, C, H, W)``, and where in it the tile itself is, to
            ``(N, C, scale * H, scale * W)``.
        x: ``(N, C, H, W)``.
        scale: the network's.
        side: longest side of a tile in input pixels, without overlap.
        overlap: input pixels of its neighbours that a tile is given.

    Returns:
        ``(N, C, scale * H, scale * W)``.
    """
    count, channels, height, width = x.shape
    out: Tensor | None = None
    for tile in cut(height, width, side, overlap):
        rows, columns = tile.read
        part = network(x[:, :, rows, columns], tile.inside)
        if out is None:
            out = part.new_empty((count, channels, scale * height, scale * width))
        rows, columns = (_scaled(axis, scale) for axis in tile.keep)
        inside_rows, inside_columns = (_scaled(axis, scale) for axis in tile.inside)
        out[:, :, rows, columns] = part[:, :, inside_rows, inside_columns]
    return x.new_empty((count, channels, 0, 0)) if out is None else out


def _scaled(axis: slice, scale: int) -> slice:
    return slice(scale * axis.start, scale * axis.stop)

"""Run a network on four overlapping quarters: the ``--chop`` that the paper's figures come from."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["SHAVE", "in_quarters"]

#: Input pixels by which a quarter reaches beyond its half, as in the authors' evaluation.
SHAVE = 10


def in_quarters(
    network: Callable[[Tensor], Tensor], x: Tensor, scale: int, shave: int = SHAVE
) -> Tensor:
    """Enlarge each quarter on its own and put the results together.

    FDIWN weights its features by statistics of all it is given, so this is not what it makes of
    the whole frame: it is the protocol of the paper's table, and gains about 0.01 dB on Set5.

    Args:
        network: ``(N, C, H, W)`` to ``(N, C, scale * H, scale * W)``.
        x: ``(N, C, H, W)``.
        scale: the network's.
        shave: overlap in input pixels.

    Returns:
        ``(N, C, scale * H, scale * W)``.
    """
    parts = []
    for rows, columns in product(*(_halves(size, shave) for size in x.shape[-2:])):
        part = network(x[..., rows.read, columns.read])
        kept_rows, kept_columns = (
            slice(
                (axis.keep.start - axis.read.start) * scale,
                (axis.keep.stop - axis.read.start) * scale,
            )
            for axis in (rows, columns)
        )
        parts.append(part[..., kept_rows, kept_columns])
    return torch.cat([torch.cat(parts[:2], -1), torch.cat(parts[2:], -1)], -2)


class _Half(NamedTuple):
    """One half of an axis: what the network reads, and what of that is kept."""

    read: slice
    keep: slice


def _halves(size: int, shave: int) -> tuple[_Half, _Half]:
    half = size // 2
    reach = max(min(size, half + shave), size - half)  # the second half of an odd size is larger
    return (
        _Half(slice(0, reach), slice(0, half)),
        _Half(slice(size - reach, size), slice(half, size)),
    )

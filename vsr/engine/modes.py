"""How a frame goes through a network: whole, in quarters, by the last frame's statistics; in tiles.

A network like FDIWN weights its features by statistics of all it is given. ``exact`` gives it the
whole frame. ``paper`` gives it four overlapping quarters, as the paper's figures were made.
``lagged`` gives it the whole frame and has it weighted by what was measured on the frame before.

Tiles, where there is no room for a frame, would each be weighted by themselves. So they are put
through four times: what the first pass measures of the tiles, joined, is nearly the whole frame's,
each pass that is weighted by what the one before measured is nearer by three or four times, and
the last one gives what the whole frame gives to hundredths of a code.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

from torch import Tensor

from vsr.engine.backend import REPLAYING, Backend, ReplayingBackend
from vsr.media.read.scenes import CutDetector
from vsr.models.quarters import in_quarters
from vsr.models.registry import model_spec
from vsr.models.whole_frame.statistics import Area, Record, Recorded, Replay, join
from vsr.models.whole_frame.tiles import in_tiles
from vsr.types import FrameBatch, Mode, PixelFormat

__all__ = ["Passes", "effect_of_tiles"]

#: Passes over tiles before the one whose result counts.
_MEASURING = 3


class Passes:
    """Puts frames through a backend.

    Args:
        model, backend: rows of their tables.
        mode: what :func:`vsr.engine.device.choose_device` settled.
    """

    def __init__(self, model: str, backend: str, mode: Mode) -> None:
        self._mode = mode
        self._replays = model_spec(model).whole_frame and backend in REPLAYING
        self._kind: tuple[int, int, PixelFormat] | None = None
        self.reset()

    @property
    def in_sequence(self) -> bool:
        """Whether frames depend on each other: one at a time, and :meth:`follow` before each."""
        return self._mode == "lagged"

    def reset(self) -> None:
        """What follows has nothing to do with the frames before."""
        # An answer for each frame as it comes. What looks like a cut for a moment is one here:
        # statistics of another picture are worth nothing, whether or not that one comes back.
        self._cuts = CutDetector(lookahead=0)
        self._last: Recorded | None = None
        self._measured: Recorded | None = None

    def cuts(self, batch: FrameBatch) -> list[bool]:
        """Take the next frames; say for each whether a cut lies before it.

        Frames of another size or format are another video.
        """
        kind = (batch.width, batch.height, batch.format)
        if kind != self._kind:
            self.reset()
            self._kind = kind
        return self._cuts.push(batch)

    def follow(self, *, cut: bool) -> None:
        """The next frame follows; what is done to it may be done again until the next call."""
        self._last = None if cut else self._measured

    def __call__(self, backend: Backend, rgb: Tensor, side: int | None = None) -> Tensor:
        """Enlarge frames.

        Args:
            backend: as in the table.
            rgb: ``(N, 3, H, W)``, as backends take it; one frame where they depend on each other.
            side: longest side of tiles in pixels; ``None`` gives the network what the mode does.

        Returns:
            As backends give it.

        Raises:
            OutOfMemoryError: there is no room for that.
        """
        if self._mode == "lagged":
            return self._lagged(cast(ReplayingBackend, backend), rgb, side)
        network: Callable[[Tensor], Tensor] = backend
        if side is not None:
            network = partial(self._tiled, backend, side)
        return in_quarters(network, rgb, backend.scale) if self._mode == "paper" else network(rgb)

    def _lagged(self, backend: ReplayingBackend, rgb: Tensor, side: int | None) -> Tensor:
        if side is not None and side >= max(rgb.shape[-2:]):
            side = None
        last = self._last
        if last is None and side is not None:
            last = _settled(backend, rgb, side)
        out, self._measured = _measured(backend, rgb, side, last)
        return out

    def _tiled(self, backend: Backend, side: int, rgb: Tensor) -> Tensor:
        if side >= max(rgb.shape[-2:]):
            return backend(rgb)  # smaller than the frame that did not fit
        if not self._replays:
            return in_tiles(lambda x, _: backend(x), rgb, backend.scale, side)
        replaying = cast(ReplayingBackend, backend)
        settled = _settled(replaying, rgb, side)
        return in_tiles(lambda x, _: replaying(x, Replay(settled)), rgb, backend.scale, side)


def _settled(backend: ReplayingBackend, rgb: Tensor, side: int) -> Recorded:
    """The moments of the whole frame, of which there are only tiles."""
    _, found = _measured(backend, rgb, side, None)
    for _ in range(_MEASURING - 1):
        _, found = _measured(backend, rgb, side, found)
    return found


def _measured(
    backend: ReplayingBackend, rgb: Tensor, side: int | None, given: Recorded | None
) -> tuple[Tensor, Recorded]:
    """One pass weighted by ``given`` (or by itself), and the moments of the whole frame in it."""
    if side is None:
        record = Record(given)
        return backend(rgb, record), record.measured
    parts, sizes = list[Recorded](), list[int]()

    def enlarge(x: Tensor, inside: Area) -> Tensor:
        record = Record(given, inside)
        parts.append(record.measured)
        sizes.append((inside[0].stop - inside[0].start) * (inside[1].stop - inside[1].start))
        return backend(x, record)

    out = in_tiles(enlarge, rgb, backend.scale, side)
    return out, join(parts, sizes)


def effect_of_tiles(model: str, backend: str) -> str:
    """What tiles change, for people; the figures are those of ``benchmarks/modes.py``."""
    if not model_spec(model).whole_frame:
        return "which changes nothing"
    if backend in REPLAYING:
        return (
            "each four times, weighted by statistics of the whole frame: the result differs from "
            "that of the whole frame by hundredths of a code, and takes four times as long"
        )
    return (
        "each weighted by its own statistics: the result differs from that of the whole frame by "
        "59 dB of PSNR or more where that was measured (docs/performance.md)"
    )

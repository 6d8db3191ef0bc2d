"""Frames that equal the one before: put through the network once, used as often as shown."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

import torch

from vsr.types import FrameBatch, SidePacket

__all__ = ["Border", "Distinct", "Item"]

#: Frames held back while a batch fills, in batches: a still picture must not pile up packets of
#: sound without bound.
_MOST_HELD = 32


@dataclass(slots=True)
class Border:
    """Stands between frames that have nothing to do with each other.

    Attributes:
        repeated: filled in as it passes: how many frames since the border before took over
            their predecessor's result.
    """

    repeated: int = field(default=0, init=False)


Item = FrameBatch | SidePacket | Border


@dataclass(slots=True)
class _Held:
    """What waits until a batch is full: distinct frames, and everything in order."""

    frames: list[FrameBatch] = field(default_factory=list)
    order: deque[tuple[int, int, int] | SidePacket] = field(default_factory=deque)
    shown: int = 0


class Distinct:
    """Fills batches with frames that differ from their predecessor, and repeats the results.

    Animation and slides show the same picture for many frames, sample for sample. Which frames
    share a batch depends on the frames alone, not on how they arrive, so that a segment that is
    done twice gives the same twice.

    Args:
        enlarge: what is done to a batch.
        size: frames of a full batch; the batches that come out have no more either.
        border: called at each border, when all before it has been enlarged.

    Attributes:
        repeated: frames whose predecessor's result was used again.
    """

    def __init__(
        self,
        enlarge: Callable[[FrameBatch], FrameBatch],
        size: int,
        border: Callable[[], None] = lambda: None,
    ) -> None:
        self._enlarge = enlarge
        self._border = border
        self._size = max(1, size)
        self._held = _Held()
        self._newest: FrameBatch | None = None  # the last distinct frame
        self._result: FrameBatch | None = None  # its result, once there is one
        self.repeated = 0

    def __call__(self, items: Iterable[Item]) -> Iterator[Item]:
        """Enlarge the batches among ``items``; side packets and borders keep their places."""
        counted = 0
        for item in items:
            if isinstance(item, FrameBatch):
                # The newest distinct frame equals the last one, whether or not it is that one.
                for index, repeated in enumerate(_repeats(self._newest, item)):
                    yield from self._take(_frame(item, index), repeated=repeated)
            elif isinstance(item, Border):
                yield from self._release()
                self._newest = self._result = None
                self._border()
                item.repeated, counted = self.repeated - counted, self.repeated
                yield item
            elif self._held.order:
                self._held.order.append(item)
            else:
                yield item
        yield from self._release()

    def _take(self, frame: FrameBatch, *, repeated: bool) -> Iterator[FrameBatch | SidePacket]:
        held = self._held
        if repeated:
            self.repeated += 1
        else:
            if len(held.frames) == self._size:
                yield from self._release()
                held = self._held
            held.frames.append(frame)
            self._newest = frame
        # Place of its result: -1 is the last one of the batch before.
        held.order.append((len(held.frames) - 1, frame.pts[0], frame.durations[0]))
        held.shown += 1
        full = len(held.frames) == self._size and held.shown == self._size
        if full or held.shown >= _MOST_HELD * self._size:
            yield from self._release()

    def _release(self) -> Iterator[FrameBatch | SidePacket]:
        held, self._held = self._held, _Held()
        if not held.order:
            return
        before = self._result
        large = self._enlarge(_together(held.frames)) if held.frames else None
        if large is not None:
            self._result = _frame(large, len(large) - 1)
        run: list[tuple[int, int, int]] = []
        for entry in held.order:
            if isinstance(entry, SidePacket) or len(run) == self._size:
                yield from _shown(run, large, before)
                run = []
            if isinstance(entry, SidePacket):
                yield entry
            else:
                run.append(entry)
        yield from _shown(run, large, before)


def _shown(
    run: list[tuple[int, int, int]], large: FrameBatch | None, before: FrameBatch | None
) -> Iterator[FrameBatch]:
    """Results with the times at which they are shown."""
    if not run:
        return
    places = [place for place, _, _ in run]
    template = large if large is not None else before
    assert template is not None  # noqa: S101 - a frame that equals another comes after it
    in_a_row = places == list(range(places[0], places[0] + len(run)))
    if large is not None and places[0] >= 0 and in_a_row:
        planes = tuple(plane[places[0] : places[-1] + 1] for plane in large.planes)
    else:
        for batch in (large, before):
            if batch is not None and batch.ready is not None:
                batch.ready.synchronize()
        planes = tuple(
            torch.stack([_plane(large, before, place, number) for place in places])
            for number in range(len(template.planes))
        )
    yield replace(
        template,
        planes=planes,
        pts=tuple(pts for _, pts, _ in run),
        durations=tuple(duration for _, _, duration in run),
    )


def _plane(
    large: FrameBatch | None, before: FrameBatch | None, place: int, number: int
) -> torch.Tensor:
    source, index = (before, 0) if place < 0 else (large, place)
    assert source is not None  # noqa: S101 - as above
    return source.planes[number][index]


def _frame(batch: FrameBatch, index: int) -> FrameBatch:
    """One frame of a batch, without copying it."""
    return replace(
        batch,
        planes=tuple(plane[index : index + 1] for plane in batch.planes),
        pts=batch.pts[index : index + 1],
        durations=batch.durations[index : index + 1],
        first_index=batch.first_index + index,
    )


def _repeats(last: FrameBatch | None, batch: FrameBatch) -> list[bool]:
    """Whether each frame equals the one before it; before the first there is ``last``."""
    if batch.planes[0].device.type != "cpu":
        return _repeats_on_device(last, batch)
    frames = [_frame(batch, index) for index in range(len(batch))]
    first = last is not None and _same(last, frames[0])
    return [first, *(_same(a, b) for a, b in pairwise(frames))]


def _repeats_on_device(last: FrameBatch | None, batch: FrameBatch) -> list[bool]:
    """The same, waiting for the device once a batch, not for each frame."""
    batch.wait()
    planes = [_signed(plane) for plane in batch.planes]
    same = torch.ones(len(batch), dtype=torch.bool, device=planes[0].device)
    comparable = last is not None and _sizes(last) == _sizes(batch)
    for number, plane in enumerate(planes):
        same[1:] &= (plane[1:] == plane[:-1]).flatten(1).all(1)
        if last is not None and comparable:
            same[:1] &= (plane[:1] == _signed(last.planes[number])).flatten(1).all(1)
    first, *others = same.tolist()
    return [comparable and first, *others]


def _sizes(batch: FrameBatch) -> list[torch.Size]:
    return [plane.shape[1:] for plane in batch.planes]


def _same(one: FrameBatch, other: FrameBatch) -> bool:
    pairs = zip(one.planes, other.planes, strict=True)
    return all(torch.equal(_signed(a), _signed(b)) for a, b in pairs)


def _signed(plane: torch.Tensor) -> torch.Tensor:
    """The same bits as a type of which torch has every operation on every device."""
    return plane.view(torch.int16) if plane.dtype == torch.uint16 else plane


def _together(frames: list[FrameBatch]) -> FrameBatch:
    if len(frames) == 1:
        return frames[0]
    return replace(
        frames[0],
        planes=tuple(
            torch.cat([_signed(plane) for plane in planes]).view(planes[0].dtype)
            for planes in zip(*(f.planes for f in frames), strict=True)
        ),
        pts=tuple(f.pts[0] for f in frames),
        durations=tuple(f.durations[0] for f in frames),
    )

"""Decoded frames into batches of planar tensors with strictly increasing timestamps."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Protocol

from vsr.media.read.notes import odd_frames
from vsr.media.read.reader import ReadRequest, ReadStats
from vsr.media.read.storage import Storage
from vsr.media.read.timestamps import Stamps
from vsr.types import FrameBatch

__all__ = ["Batcher", "Timed"]


class Timed(Protocol):
    """What a batcher looks at in a frame; everything else is for its storage."""

    @property
    def pts(self) -> int | None:
        """When it is shown, in ticks."""
        ...

    @property
    def dts(self) -> int | None:
        """When it is decoded, in ticks."""
        ...

    @property
    def duration(self) -> int | None:
        """For how long it is shown, in ticks; 0 or ``None``: unknown."""
        ...


class Batcher:
    """Collects frames of the requested part into batches.

    Timestamps are those of :class:`vsr.media.read.timestamps.Stamps`: every frame is kept.

    Durations are the distance to the next frame, because those that MP4 states belong to decoding
    order. The last frame keeps the stated one, or the step before it where nothing sensible is
    stated (Matroska and FLV without frame durations say 0 or 1 tick).
    """

    def __init__(
        self, request: ReadRequest, stats: ReadStats, time_base: Fraction, storage: Storage
    ) -> None:
        self._request, self._stats, self._time_base = request, stats, time_base
        self._storage = storage
        self._color = request.color or request.video.color
        self._pts: list[int] = []
        self._durations: list[int] = []
        self._taken = 0  # frames of the part so far
        self._stamps = Stamps(request.video, stats)
        self._stated = 0  # the last frame's own duration
        #: Where the part turned out to end, ``None`` while more frames may belong to it.
        self.end: int | None = None

    def add(self, frame: Timed) -> Iterator[FrameBatch]:
        """Take the next frame; gives a batch when this frame shows that one is complete.

        Raises:
            InputError: the picture changes its size or format and must not.
        """
        trim = self._request.trim
        pts = self._stamps.of(frame.pts if frame.pts is not None else frame.dts)
        if trim.start is not None and pts < trim.start:
            return
        if self._pts and len(self._durations) < len(self._pts):
            self._durations.append(pts - self._pts[-1])
        over = trim.end is not None and pts >= trim.end
        if over or (trim.frames is not None and self._taken >= trim.frames):
            self.end = pts
            return
        if len(self._pts) == self._request.batch:
            yield self._emit()
        self._storage.put(frame, len(self._pts), self._place)
        self._pts.append(pts)
        self._taken += 1
        self._stated = frame.duration or 0

    def finish(self) -> Iterator[FrameBatch]:
        """Give the last, smaller batch."""
        if self._pts:
            if len(self._durations) < len(self._pts):
                self._durations.append(self._stated if self._stated > 1 else self._stamps.step)
            yield self._emit()
        self._stats.warnings.extend(odd_frames(self._stats, self._request.video))

    def _place(self) -> str:
        """Where the newest frame is, for messages."""
        pts = self._stamps.previous or 0
        return f"frame {self._taken}, pts {pts} ({float(pts * self._time_base):.3f} s)"

    def _emit(self) -> FrameBatch:
        video, count = self._request.video, len(self._pts)
        planes, ready = self._storage.take(count)
        batch = FrameBatch(
            planes=planes,
            format=video.format,
            width=video.width,
            height=video.height,
            color=self._color,
            pts=tuple(self._pts),
            durations=tuple(self._durations),
            time_base=self._time_base,
            first_index=self._stats.frames,
            ready=ready,
        )
        self._stats.frames += count
        self._pts, self._durations = [], []
        return batch

"""Decoded frames into batches of planar tensors with strictly increasing timestamps."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import av
import torch
from av.video.reformatter import ColorRange as SwsRange
from av.video.reformatter import Interpolation

from vsr.errors import InputError
from vsr.media.read.notes import is_gap, nominal_step, odd_frames
from vsr.media.read.reader import ReadRequest, ReadStats
from vsr.media.read.repack import Repack, native_range, repack_for
from vsr.types import ColorRange, FrameBatch

__all__ = ["Batcher"]


class Batcher:
    """Collects frames of the requested part into batches in CPU memory.

    Timestamps: a frame without one gets the previous frame's plus the last step (the stream's
    nominal step at first); one that is not after its predecessor moves to one tick after it. So
    every frame is kept, and both are counted.

    Durations are the distance to the next frame, because those that MP4 states belong to decoding
    order. The last frame keeps the stated one, or the step before it where nothing sensible is
    stated (Matroska and FLV without frame durations say 0 or 1 tick).
    """

    def __init__(self, request: ReadRequest, stats: ReadStats, time_base: Fraction) -> None:
        self._request, self._stats, self._time_base = request, stats, time_base
        self._color = request.color or request.video.color
        self._repacks: dict[str, Repack | None] = {}
        self._planes: tuple[torch.Tensor, ...] = ()
        self._pts: list[int] = []
        self._durations: list[int] = []
        self._taken = 0  # frames of the part so far
        self._previous: int | None = None
        nominal = nominal_step(request.video)
        self._step = nominal or 1
        self._nominal = nominal or float("inf")
        self._stated = 0  # the last frame's own duration
        #: Where the part turned out to end, ``None`` while more frames may belong to it.
        self.end: int | None = None

    def add(self, frame: av.VideoFrame) -> Iterator[FrameBatch]:
        """Take the next frame; gives a batch when this frame shows that one is complete.

        Raises:
            InputError: the picture changes its size or format and must not.
        """
        trim = self._request.trim
        pts = self._stamp(frame)
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
        self._store(frame)
        self._pts.append(pts)
        self._taken += 1
        self._stated = frame.duration or 0

    def finish(self) -> Iterator[FrameBatch]:
        """Give the last, smaller batch."""
        if self._pts:
            if len(self._durations) < len(self._pts):
                self._durations.append(self._stated if self._stated > 1 else self._step)
            yield self._emit()
        self._stats.warnings.extend(odd_frames(self._stats, self._request.video))

    def _stamp(self, frame: av.VideoFrame) -> int:
        pts = frame.pts if frame.pts is not None else frame.dts
        if pts is None:
            self._stats.invented_pts += 1
            pts = 0 if self._previous is None else self._previous + self._step
        elif self._previous is not None:
            if pts <= self._previous:
                self._stats.moved_pts += 1
                move = self._previous + 1 - pts
                self._stats.largest_move = max(self._stats.largest_move, move)
                pts = self._previous + 1
            else:
                self._step = pts - self._previous
                self._note_gap(self._step)
        self._previous = pts
        return pts

    def _note_gap(self, step: int) -> None:
        if is_gap(step, self._nominal, self._request.video):
            self._stats.gaps += 1
            self._stats.gap_frames += round(step / self._nominal) - 1

    def _store(self, frame: av.VideoFrame) -> None:
        video = self._request.video
        repack = self._repack(frame)
        if (
            repack is None
            or repack.format != video.format
            or native_range(repack.native) != native_range(video.native_format)
            or (frame.width, frame.height) != (video.width, video.height)
        ):
            frame = self._conform(frame)
            repack = self._repack(frame)
            assert repack is not None  # noqa: S101 - a planar format
        if not self._planes:
            dtype = torch.uint8 if video.format.bits <= 8 else torch.uint16
            self._planes = tuple(
                torch.empty(
                    (self._request.batch, *video.format.plane_size(i, video.width, video.height)),
                    dtype=dtype,
                )
                for i in range(video.format.planes)
            )
        at = len(self._pts)
        repack(frame, [plane[at].numpy() for plane in self._planes])

    def _repack(self, frame: av.VideoFrame) -> Repack | None:
        name = frame.format.name
        if name not in self._repacks:
            self._repacks[name] = repack_for(name)
        return self._repacks[name]

    def _conform(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The frame in the size and format of the stream's beginning."""
        video = self._request.video
        if self._request.on_resize == "error":
            seconds = float((self._previous or 0) * self._time_base)
            raise InputError(
                f"the picture changes from {video.width}x{video.height} {video.native_format} to "
                f"{frame.width}x{frame.height} {frame.format.name}",
                where=f"{self._request.path}, stream {video.index}, frame "
                f"{self._taken}, pts {self._previous} ({seconds:.3f} s)",
                remedy="Use --on-resize scale to bring all frames to the first size.",
            )
        self._stats.scaled += 1
        # yuvj* say their range by name, so that planar names alone would make swscale convert it.
        wanted = self._color.range or ColorRange.LIMITED
        own = native_range(frame.format.name) or ColorRange(frame.color_range) or wanted
        result = frame.reformat(
            width=video.width,
            height=video.height,
            format=video.format.name,
            interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND,
            src_color_range=SwsRange(int(own)),
            dst_color_range=SwsRange(int(wanted)),
        )
        result.pts, result.time_base = frame.pts, frame.time_base
        return result

    def _emit(self) -> FrameBatch:
        video, count = self._request.video, len(self._pts)
        batch = FrameBatch(
            planes=tuple(plane[:count] for plane in self._planes),
            format=video.format,
            width=video.width,
            height=video.height,
            color=self._color,
            pts=tuple(self._pts),
            durations=tuple(self._durations),
            time_base=self._time_base,
            first_index=self._stats.frames,
        )
        self._stats.frames += count
        self._planes, self._pts, self._durations = (), [], []
        return batch

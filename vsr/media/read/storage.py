"""Decoded frames into the planes of a batch in CPU memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import av
import torch
from av.video.reformatter import Interpolation

from vsr.errors import InputError
from vsr.media.color.change import FrameColors, Reading
from vsr.media.read.reader import ReadRequest, ReadStats
from vsr.media.read.repack import Repack, native_range, repack_for
from vsr.types import Color, ColorRange, Matrix, PixelFormat

__all__ = ["HostStorage", "Storage", "empty_planes", "note_color", "other_picture"]


class Storage(Protocol):
    """Where a batcher puts frames."""

    def put(self, frame: Any, at: int, place: Callable[[], str]) -> None:
        """Copy a frame into place ``at`` of the batch that is being filled.

        Args:
            frame: what the decoder gave; it may be reused afterwards.
            at: from 0, without gaps.
            place: says where in the file the frame is, for messages.

        Raises:
            InputError: the picture has another size or format than the stream's and must not.
        """
        ...

    def take(self, count: int) -> tuple[tuple[torch.Tensor, ...], Any]:
        """The planes of the first ``count`` frames, and the event after which they may be read.

        The next frame begins a new batch.
        """
        ...


def empty_planes(
    request: ReadRequest, device: str | torch.device = "cpu"
) -> tuple[torch.Tensor, ...]:
    """Uninitialised planes for a whole batch, ``(batch, H_p, W_p)`` each."""
    video = request.video
    return _planes(video.format, request.batch, video.width, video.height, device)


def _planes(
    fmt: PixelFormat, count: int, width: int, height: int, device: str | torch.device
) -> tuple[torch.Tensor, ...]:
    return tuple(
        torch.empty(
            (count, *fmt.plane_size(i, width, height)),
            dtype=torch.uint8 if fmt.bits <= 8 else torch.uint16,
            device=device,
        )
        for i in range(fmt.planes)
    )


def note_color(reading: Reading, stats: ReadStats) -> bool:
    """Count a frame whose colour tags differ from the stream's; whether it must be converted."""
    stats.recolored += reading.differs
    stats.miscolored += reading.lost
    return reading.differs


def other_picture(
    request: ReadRequest, size: tuple[int, int], name: str, place: Callable[[], str]
) -> InputError:
    """The error for a frame of another ``(width, height)`` or format than the stream began with."""
    video = request.video
    return InputError(
        f"the picture changes from {video.width}x{video.height} {video.native_format} to "
        f"{size[0]}x{size[1]} {name}",
        where=f"{request.path}, stream {video.index}, {place()}",
        remedy="Use --on-resize scale to bring all frames to the first size.",
    )


class HostStorage:
    """Repacks frames in CPU memory; frames that differ are scaled if the request says so."""

    def __init__(self, request: ReadRequest, stats: ReadStats) -> None:
        self._request, self._stats = request, stats
        self._colors = FrameColors(request.video, request.color or request.video.color)
        self._repacks: dict[str, Repack | None] = {}
        self._planes: tuple[torch.Tensor, ...] = ()

    def put(self, frame: av.VideoFrame, at: int, place: Callable[[], str]) -> None:
        """Copy a frame into place ``at`` of the batch; see :class:`Storage`."""
        video = self._request.video
        repack = self._repack(frame)
        fmt = video.format if repack is None else repack.format
        reading = self._colors.of(frame, fmt, native_range(frame.format.name))
        size = (frame.width, frame.height)
        if repack is None or fmt != video.format or size != (video.width, video.height):
            if self._request.on_resize == "error":
                raise other_picture(self._request, size, frame.format.name, place)
            self._stats.scaled += 1
            if repack is None or size != (video.width, video.height):
                frame = self._scaled(frame, repack, reading.color)
                repack = self._repack(frame)
                assert repack is not None  # noqa: S101 - a planar format
        if not self._planes:
            self._planes = empty_planes(self._request)
        into = [plane[at] for plane in self._planes]
        if not note_color(reading, self._stats) and fmt == video.format:
            repack(frame, [plane.numpy() for plane in into])
            return
        own = _planes(fmt, 1, video.width, video.height, "cpu")
        repack(frame, [plane[0].numpy() for plane in own])
        for plane, samples in zip(into, self._colors.convert(own, fmt, reading), strict=True):
            plane.copy_(samples[0])

    def take(self, count: int) -> tuple[tuple[torch.Tensor, ...], None]:
        """The planes of the first ``count`` frames, ready now."""
        planes, self._planes = self._planes, ()
        return tuple(plane[:count] for plane in planes), None

    def _repack(self, frame: av.VideoFrame) -> Repack | None:
        name = frame.format.name
        if name not in self._repacks:
            self._repacks[name] = repack_for(name)
        return self._repacks[name]

    def _scaled(self, frame: av.VideoFrame, repack: Repack | None, color: Color) -> av.VideoFrame:
        """The frame in the size of the stream's beginning and a planar format.

        That is its own one, so that swscale has no colours to convert; where there is none, because
        nothing here reads its samples, it is the stream's, and what they mean then is ``color``.
        """
        video = self._request.video
        name, span, matrix = video.format.name, color.range, None
        if repack is not None:
            # yuvj* say their range by name, so that planar names alone would make it convert.
            name, span = repack.format.name, native_range(repack.native) or ColorRange.LIMITED
        elif video.format.family != "rgb":
            # One of swscale's numbers stands for both lines of BT.601.
            matrix = int(Matrix.BT470BG if color.matrix is Matrix.SMPTE170M else color.matrix)
        return frame.reformat(
            width=video.width,
            height=video.height,
            format=name,
            dst_colorspace=matrix,
            interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND,
            src_color_range=int(span),
            dst_color_range=int(span),
        )

"""Decoded frames into the planes of a batch in CPU memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import av
import torch
from av.video.reformatter import ColorRange as SwsRange
from av.video.reformatter import Interpolation

from vsr.errors import InputError
from vsr.media.read.reader import ReadRequest, ReadStats
from vsr.media.read.repack import Repack, native_range, repack_for
from vsr.types import ColorRange

__all__ = ["HostStorage", "Storage", "empty_planes", "other_picture"]


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
    return tuple(
        torch.empty(
            (request.batch, *video.format.plane_size(i, video.width, video.height)),
            dtype=torch.uint8 if video.format.bits <= 8 else torch.uint16,
            device=device,
        )
        for i in range(video.format.planes)
    )


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
        self._color = request.color or request.video.color
        self._repacks: dict[str, Repack | None] = {}
        self._planes: tuple[torch.Tensor, ...] = ()

    def put(self, frame: av.VideoFrame, at: int, place: Callable[[], str]) -> None:
        """Copy a frame into place ``at`` of the batch; see :class:`Storage`."""
        video = self._request.video
        repack = self._repack(frame)
        if (
            repack is None
            or repack.format != video.format
            or native_range(repack.native) != native_range(video.native_format)
            or (frame.width, frame.height) != (video.width, video.height)
        ):
            frame = self._conform(frame, place)
            repack = self._repack(frame)
            assert repack is not None  # noqa: S101 - a planar format
        if not self._planes:
            self._planes = empty_planes(self._request)
        repack(frame, [plane[at].numpy() for plane in self._planes])

    def take(self, count: int) -> tuple[tuple[torch.Tensor, ...], None]:
        """The planes of the first ``count`` frames, ready now."""
        planes, self._planes = self._planes, ()
        return tuple(plane[:count] for plane in planes), None

    def _repack(self, frame: av.VideoFrame) -> Repack | None:
        name = frame.format.name
        if name not in self._repacks:
            self._repacks[name] = repack_for(name)
        return self._repacks[name]

    def _conform(self, frame: av.VideoFrame, place: Callable[[], str]) -> av.VideoFrame:
        """The frame in the size and format of the stream's beginning."""
        video = self._request.video
        if self._request.on_resize == "error":
            size = (frame.width, frame.height)
            raise other_picture(self._request, size, frame.format.name, place)
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

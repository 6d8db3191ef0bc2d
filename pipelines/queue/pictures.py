"""Two small pictures of a run: a piece of a frame before, and the same piece after."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.video.frame import VideoFrame

from vsr.errors import DecodeError
from vsr.media.av_errors import av_errors
from vsr.media.source import ffmpeg_name
from vsr.types import Plan

__all__ = ["before_and_after"]

#: Largest width and height of the piece in samples of the result.
_WIDTH, _HEIGHT = 480, 270


def before_and_after(plan: Plan, prefix: str) -> None:
    """Write ``<prefix>-before.jpg`` and ``<prefix>-after.jpg``.

    The first is a piece of the source's frame in the middle of the video, the second the same piece
    of the result, ``scale`` times as large. Frames are matched by time.

    Raises:
        DecodeError: a frame cannot be read.
        OSError: a picture cannot be written.
    """
    scale = plan.model.scale
    width, height = min(_WIDTH, plan.width) // scale, min(_HEIGHT, plan.height) // scale
    time = _middle(plan)
    before = _frame(plan.source, plan.video.index, time)
    after = _frame(plan.destination, None, _time(before) + plan.time_shift)
    Path(prefix).parent.mkdir(parents=True, exist_ok=True)
    left, top = (before.width - width) // 2, (before.height - height) // 2
    Path(f"{prefix}-before.jpg").write_bytes(_jpeg(before, left, top, width, height))
    place = (left * scale, top * scale, width * scale, height * scale)
    Path(f"{prefix}-after.jpg").write_bytes(_jpeg(after, *place))


def _middle(plan: Plan) -> Fraction:
    """A time near the middle, in the source's seconds."""
    start = (plan.video.start or 0) * plan.video.time_base
    return start + (plan.info.duration or Fraction(0)) / 2


def _frame(path: str, index: int | None, time: Fraction) -> VideoFrame:
    """The first frame not before ``time``, or the last one before it that decodes."""
    found: VideoFrame | None = None
    name = ffmpeg_name(path)
    with av_errors(path, "read a frame for a picture", DecodeError), av.open(name) as container:
        video = container.streams.video[0] if index is None else container.streams[index]
        stream = cast(av.VideoStream, video)
        base = cast(Fraction, stream.time_base)  # known once a file is open
        # A tick of the result may be coarser than the source's.
        wanted = int(time / base)
        if wanted > 0:
            container.seek(wanted, stream=stream)
        for frame in container.decode(stream):
            found = frame
            if frame.pts is not None and frame.pts >= wanted:
                break
    if found is None or found.pts is None:
        raise DecodeError("there is no frame for a picture", where=path)
    return found


def _time(frame: VideoFrame) -> Fraction:
    # Only frames with a pts are found, and they come with its base.
    return cast(int, frame.pts) * cast(Fraction, frame.time_base)


def _jpeg(frame: VideoFrame, left: int, top: int, width: int, height: int) -> bytes:
    """A piece of a frame as a JPEG file; ``width`` and ``height`` in samples."""
    rgb = frame.to_ndarray(format="rgb24")[top : top + height, left : left + width]
    piece = VideoFrame.from_ndarray(rgb, "rgb24").reformat(
        format="yuvj444p", dst_color_range="JPEG", dst_colorspace="ITU601"
    )
    context = av.CodecContext.create("mjpeg", "w")
    context.width, context.height, context.pix_fmt = width, height, "yuvj444p"
    context.time_base = Fraction(1, 25)
    context.options = {"q": "3"}
    piece.pts = 0
    return b"".join(bytes(packet) for packet in [*context.encode(piece), *context.encode(None)])

"""What compression does to frames: encode them, decode them again, in memory, as they come.

Real sources are compressed, and a network that has only seen clean pictures enlarges the blocks
and the ringing. This is the one implementation of that degradation, for evaluation and training.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np
import torch
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

from vsr.errors import DecodeError, EncodeError, UsageError
from vsr.media.av_errors import av_errors
from vsr.media.codecs import CODECS, hush, steady
from vsr.media.read.repack import repack_for
from vsr.media.write.arrange import arrangement
from vsr.types import CodecSpec, FrameBatch, PixelFormat

__all__ = ["DEGRADE_CODECS", "Degradation", "check_codec", "encode_decode", "parse_degradation"]

#: Encoder library, as people call it -> row of the codec table.
DEGRADE_CODECS = {"x264": "h264", "x265": "hevc"}

_PRESETS = (
    *("ultrafast", "superfast", "veryfast", "faster", "fast"),
    *("medium", "slow", "slower", "veryslow", "placebo"),
)

_WHERE = "the degradation's encoder"


@dataclass(frozen=True, slots=True)
class Degradation:
    """What happens to a good clip before it is enlarged again.

    It is shrunk by MATLAB's bicubic; ``codec`` says what compresses it then, ``None`` nothing.
    """

    codec: str | None = None
    crf: int = 28
    preset: str = "medium"

    def __str__(self) -> str:
        if self.codec is None:
            return "bicubic"
        return f"video:crf={self.crf},codec={self.codec},preset={self.preset}"


def parse_degradation(text: str) -> Degradation:
    """Read ``bicubic``, ``video``, or ``video:crf=28,codec=x265,preset=fast`` (each optional).

    Raises:
        UsageError: it is none of these.
    """
    kind, _, settings = text.partition(":")
    if text == "bicubic":
        return Degradation()
    known: dict[str, Any] = {"codec": "x264", "crf": 28, "preset": "medium"}
    for pair in filter(None, settings.split(",")):
        key, _, value = pair.partition("=")
        if key not in known or (key == "crf" and not value.isdecimal()):
            kind = ""
            break
        known[key] = int(value) if key == "crf" else value
    if kind != "video":
        raise UsageError(
            f"{text!r} is no degradation",
            remedy="Write bicubic, or video:crf=28,codec=x265,preset=fast (each part optional).",
        )
    found = Degradation(**known)
    check_codec(found.codec or "", found.crf, found.preset, None)
    return found


def check_codec(
    codec: str,
    crf: int,
    preset: str,
    format: PixelFormat | None,  # noqa: A002
) -> CodecSpec:
    """The row of the codec table, if it can encode frames of ``format`` (``None``: any) so.

    Raises:
        UsageError: there is no such codec, quality or preset, or it does not take the format.
    """
    if codec not in DEGRADE_CODECS:
        raise UsageError(
            f"there is no codec {codec!r} to degrade with",
            remedy=f"Choose one of {', '.join(DEGRADE_CODECS)}.",
        )
    spec = CODECS[DEGRADE_CODECS[codec]]
    low, high = spec.quality_range or (0, 51)
    if not low <= crf <= high:
        raise UsageError(f"a crf of {crf} is not in {low}..{high}, the range of {codec}")
    if preset not in _PRESETS:
        raise UsageError(
            f"{codec} has no preset {preset!r}", remedy=f"Choose one of {', '.join(_PRESETS)}."
        )
    if format is not None and format.name not in spec.pixel_formats:
        raise UsageError(
            f"{codec} does not encode {format.name}",
            remedy=f"It takes {', '.join(spec.pixel_formats)}.",
        )
    return spec


def encode_decode(
    batches: Iterable[FrameBatch],
    codec: str = "x264",
    *,
    crf: int,
    preset: str = "medium",
    rate: Fraction | None = None,
) -> Iterator[FrameBatch]:
    """Frames as they are after ``codec`` has compressed them.

    One encoder and one decoder for the whole sequence, fed in turn: a few dozen frames (the
    encoder's lookahead) are in memory at any time. Each runs in one thread, because encoders'
    results depend on how many they have, so that the same frames give the same result everywhere.

    Args:
        batches: consecutive frames of one size and format, on the CPU.
        codec: ``x264`` or ``x265``.
        crf: constant rate factor, 0 (lossless or nearly) to 51 (worst).
        preset: of the encoder, ``ultrafast`` to ``placebo``.
        rate: frames per second, which rate control weighs frames by; 25 if not known.

    Yields:
        One batch per frame, in order: format, size, colour and pts as they were.

    Raises:
        UsageError: see :func:`check_codec`.
        EncodeError: the encoder refuses the frames, or frames change their form.
        DecodeError: the decoder did not give back every frame.
    """
    pipe: _Pipe | None = None
    for batch in batches:
        if pipe is None:
            pipe = _Pipe(batch, check_codec(codec, crf, preset, batch.format), crf, preset, rate)
        for index in range(len(batch)):
            yield from pipe.put(batch, index)
    if pipe is not None:
        yield from pipe.finish()


class _Pipe:
    """An encoder, and the decoder of what it makes."""

    def __init__(
        self, first: FrameBatch, spec: CodecSpec, crf: int, preset: str, rate: Fraction | None
    ) -> None:
        self._first = first
        self._native, self._fill = arrangement(spec.encoder, first.format.name)
        # Encoders want even sizes where chroma is subsampled: the last row and column repeat.
        # Chroma planes are rounded up already.
        self._width = first.width + (first.width & first.format.log2_chroma_w)
        self._height = first.height + (first.height & first.format.log2_chroma_h)
        with av_errors(_WHERE, f"open {spec.encoder}", EncodeError):
            self._encoder = self._open(spec, crf, preset, rate or Fraction(25))
            self._decoder = cast(VideoCodecContext, av.CodecContext.create(spec.codec, "r"))
            self._decoder.thread_count = 1
        self._sent: dict[int, int] = {}  # pts of the frames inside -> duration
        self._given = 0

    def _open(self, spec: CodecSpec, crf: int, preset: str, rate: Fraction) -> VideoCodecContext:
        context = cast(VideoCodecContext, av.CodecContext.create(spec.encoder, "w"))
        context.width, context.height, context.pix_fmt = self._width, self._height, self._native
        context.time_base = self._first.time_base
        context.framerate = rate
        context.thread_count = 1
        _tag(context, self._first)
        options = {"crf": str(crf), "preset": preset, **hush(spec.encoder), **steady(spec.encoder)}
        if spec.encoder == "libx265":
            # Worker threads: their number changes the result.
            options["x265-params"] += ":pools=none:frame-threads=1"
        context.options = options
        # Not listening: the source may be decoded beside this, and all options are our own.
        context.open()
        return context

    def put(self, batch: FrameBatch, index: int) -> Iterator[FrameBatch]:
        first = self._first
        have, want = ((b.format.name, b.width, b.height) for b in (batch, first))
        if have != want or batch.time_base != first.time_base:
            raise EncodeError(
                f"frame {batch.first_index + index} is {have[0]} {have[1]}x{have[2]}, the ones "
                f"before it are {want[0]} {want[1]}x{want[2]}",
                where=_WHERE,
            )
        frame = av.VideoFrame(self._width, self._height, self._native)
        sizes = [
            first.format.plane_size(p, self._width, self._height)
            for p in range(first.format.planes)
        ]
        planes = [plane[index].numpy() for plane in batch.planes]
        self._fill(frame, [_extended(p, size) for p, size in zip(planes, sizes, strict=True)])
        _tag(frame, first)
        frame.time_base, frame.pts = first.time_base, batch.pts[index]
        self._sent[batch.pts[index]] = batch.durations[index]
        with av_errors(_WHERE, f"encode the frame at pts {frame.pts}", EncodeError):
            packets = self._encoder.encode(frame)
        for packet in packets:
            yield from self._decode(packet)

    def finish(self) -> Iterator[FrameBatch]:
        with av_errors(_WHERE, "encode the last frames", EncodeError):
            packets = self._encoder.encode(None)
        for packet in packets:
            yield from self._decode(packet)
        yield from self._decode(None)
        if self._sent:
            raise DecodeError(
                f"{len(self._sent)} frames went into the encoder and did not come back, "
                f"the first at pts {min(self._sent)}",
                where=_WHERE,
            )

    def _decode(self, packet: Any) -> Iterator[FrameBatch]:
        with av_errors(_WHERE, "decode what it made", DecodeError):
            frames = self._decoder.decode(packet)
        for frame in frames:
            yield self._batch(frame)

    def _batch(self, frame: av.VideoFrame) -> FrameBatch:
        first = self._first
        repack = repack_for(frame.format.name)
        if (
            repack is None
            or not _same_samples(repack.format, first.format)
            or frame.pts not in self._sent
        ):
            raise DecodeError(
                f"a frame of {frame.format.name} at pts {frame.pts} came back, which was not "
                "put in",
                where=_WHERE,
            )
        dtype = np.uint8 if first.format.bits <= 8 else np.uint16
        planes = []
        for plane in range(repack.format.planes):
            size = repack.format.plane_size(plane, first.width, first.height)
            planes.append(np.empty(size, dtype))
        repack(frame, planes)
        batch = FrameBatch(
            planes=tuple(torch.from_numpy(p)[None] for p in planes[: first.format.planes]),
            format=first.format,
            width=first.width,
            height=first.height,
            color=first.color,
            pts=(frame.pts,),
            durations=(self._sent.pop(frame.pts),),
            time_base=first.time_base,
            first_index=first.first_index + self._given,
        )
        self._given += 1
        return batch


def _same_samples(decoded: PixelFormat, encoded: PixelFormat) -> bool:
    """FFmpeg's H.264 decoder gives grey (4:0:0) pictures chroma planes that say nothing."""
    if encoded.family == "gray":
        return decoded.family in ("gray", "yuv") and decoded.bits == encoded.bits
    return decoded == encoded


def _tag(target: Any, batch: FrameBatch) -> None:
    target.colorspace = int(batch.color.matrix)
    target.color_range = int(batch.color.range)


def _extended(plane: NDArray[Any], size: Sequence[int]) -> NDArray[Any]:
    """``plane`` with its last row and column repeated up to ``size``."""
    down, right = size[0] - plane.shape[0], size[1] - plane.shape[1]
    return np.pad(plane, ((0, down), (0, right)), mode="edge") if down or right else plane

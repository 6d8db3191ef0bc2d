"""Frames into packets: an encoder opened exactly as the plan says, fed with planes.

Timestamps pass through in whole ticks. Encoder and stream have the source's time base, or a finer
one of which the source's tick and the plan's time shift are whole multiples.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import gcd
from typing import Any, cast

from av.bitstream import BitStreamFilterContext
from av.codec.context import Flags
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vsr.errors import EncodeError
from vsr.media.av_errors import av_errors
from vsr.media.codecs import CODECS
from vsr.media.priority import behind_the_network, share_processor
from vsr.media.write.arrange import arrangement
from vsr.media.write.encoder_options import encoder_options, open_deaf, open_listening
from vsr.media.write.template import video_template
from vsr.types import Color, FrameBatch, Plan
from vsr.types.place import result_name

__all__ = ["VideoEncoder", "encoder_tick"]

# SVT-AV1 refuses higher rates; the rate only steers rate control, timestamps are independent of it.
_MAX_RATE = Fraction(240)
# Of an element of the display matrix; nonsense may come near.
_LEAST, _MOST = -(1 << 31), (1 << 31) - 1


class VideoEncoder:
    """The encoder of ``plan.encode`` with its stream in ``output``, open and ready.

    Args:
        output: the container, to which the stream is added. Its header is not written.
        plan: the plan; only its video side is used.
        listen: hear what the encoder says about options that it does not know, which must not be
            done beside a decoder at work: see :func:`~.encoder_options.open_listening`.

    Attributes:
        stream: the video stream of ``output``.
        time_base: seconds per tick of the encoder.
        times: presentation timestamps of the frames encoded so far, in ticks.

    Raises:
        EncodeError: the encoder does not open, or does not know one of its options.
    """

    def __init__(self, output: OutputContainer, plan: Plan, *, listen: bool = True) -> None:
        self._plan = plan
        self._listen = listen
        self._where = result_name(plan.destination)
        self.time_base = encoder_tick(plan)
        self._shift = int(plan.time_shift / self.time_base)
        self.times = array("q")
        encode = plan.encode
        self._native, self._fill = arrangement(encode.encoder, encode.format.name)
        with av_errors(self._where, f"open the encoder {encode.encoder}", EncodeError):
            self.stream = self._open(output)
        self._held: VideoFrame | None = None
        self._durations: dict[int, int] = {}

    def encode(self, batch: FrameBatch) -> Iterator[Packet[VideoStream]]:
        """Packets that the encoder gives for the frames of ``batch``.

        Args:
            batch: planes on the CPU, in ``plan.encode.format``, ``plan.width`` x ``plan.height``.

        Raises:
            EncodeError: the batch is not of that form, a timestamp is out of order or below zero,
                or the encoder failed.
        """
        self._check(batch)
        ticks = batch.time_base / self.time_base
        if ticks.denominator != 1:
            raise EncodeError(
                f"frames with {batch.time_base} s per tick do not fit an encoder with "
                f"{self.time_base} s per tick",
                where=self._where,
            )
        planes = [plane.numpy() for plane in batch.planes]
        for index, (pts, duration) in enumerate(zip(batch.pts, batch.durations, strict=True)):
            frame = self._frame([plane[index] for plane in planes])
            frame.duration = duration * int(ticks)
            yield from self._advance(pts * int(ticks) + self._shift, frame)

    def flush(self) -> Iterator[Packet[VideoStream]]:
        """The packets still inside the encoder. Nothing can be encoded afterwards."""
        if self._held is not None:
            last, self._held = self._held, None
            if last.duration <= 0 and len(self.times) > 1:
                last.duration = self.times[-1] - self.times[-2]
            yield from self._send(self.times[-1], last)
        with av_errors(self._where, "encode the last frames", EncodeError):
            packets = [self._finished(packet) for packet in self.stream.encode(None)]
        if len(self.times) <= 2:
            # x265 computes decoding times from uninitialised memory if it gets less than three
            # frames (bframeDelayTime in its encoder.cpp); two frames cannot be reordered anyway.
            for packet in packets:
                packet.dts = packet.pts
        yield from packets

    def _advance(self, pts: int, frame: VideoFrame) -> Iterator[Packet[VideoStream]]:
        # One frame is held back: how long it lasts is known when the next one comes. Durations
        # that decoders report come from decoding order and are wrong where B-frames meet VFR.
        if pts < 0:
            raise EncodeError(
                f"the frame at pts {pts} lies before time zero, which no container holds",
                where=self._where,
                remedy="This is a mistake in the plan's time shift.",
            )
        previous, self._held = self._held, frame
        if previous is not None:
            before = self.times[-1]
            if pts <= before:
                raise EncodeError(
                    f"the frame at pts {pts} does not come after the one at {before}",
                    where=self._where,
                )
            previous.duration = pts - before
            yield from self._send(before, previous)
        self.times.append(pts)

    def _send(self, pts: int, frame: VideoFrame) -> Iterator[Packet[VideoStream]]:
        frame.pts = pts
        self._durations[pts] = frame.duration
        with av_errors(self._where, f"encode the frame at pts {pts}", EncodeError):
            yield from map(self._finished, self.stream.encode(frame))

    def _finished(self, packet: Packet[VideoStream]) -> Packet[VideoStream]:
        # Not every encoder passes durations on (SVT-AV1 does not).
        packet.duration = self._durations.pop(int(packet.pts or 0), packet.duration or 0)
        return packet

    def _open(self, output: OutputContainer) -> VideoStream:
        plan, encode = self._plan, self._plan.encode
        rate = min(plan.video.average_rate or Fraction(25), _MAX_RATE)
        stream = cast(VideoStream, output.add_stream(encode.encoder, rate=rate))
        codec, tags = CODECS[encode.name].codec, encode.tags
        # Fills in chroma siting, HDR metadata and borders; what else it sets is set again below.
        hidden = [plan.model.scale * border for border in plan.video.crop]
        size = (plan.width, plan.height)
        with video_template(codec, tags.site, encode.hdr, size, hidden) as template:
            BitStreamFilterContext("null", template, stream)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = plan.width, plan.height, self._native
        context.time_base = self.time_base
        stream.time_base = self.time_base
        context.framerate = rate
        context.sample_aspect_ratio = plan.sar
        context.gop_size = encode.gop
        context.thread_count = encode.threads
        # FFmpeg's own default. PyAV's is slices, which x264 then cuts every picture into, one a
        # thread: a file 11% larger with 16 threads.
        context.thread_type = "AUTO"
        context.flags |= Flags.frame_duration
        _tag(context, tags)
        if encode.codec_tag is not None:
            context.codec_tag = encode.codec_tag
        if plan.video.display_matrix is not None:
            matrix = plan.video.display_matrix
            stream.set_display_matrix(_enlarged(matrix, plan.model.scale))
        context.options = encoder_options(encode)
        open_it = open_listening if self._listen else open_deaf
        if plan.device == "cpu":
            complaints = behind_the_network(lambda: open_it(context))
        else:
            complaints = open_it(context)
        if encode.encoder == "libsvtav1":
            share_processor()
        left = ", ".join(f"{key}={value}" for key, value in context.options.items())
        if left or complaints:
            raise EncodeError(
                f"the encoder {encode.encoder} does not know {left or '; '.join(complaints)}",
                where=self._where,
                remedy="Correct the encoder options in the preset.",
            )
        return stream

    def _check(self, batch: FrameBatch) -> None:
        plan = self._plan
        have = (batch.format.name, batch.width, batch.height)
        want = (plan.encode.format.name, plan.width, plan.height)
        if have != want:
            raise EncodeError(
                "frames of {} {}x{} came where the plan says {} {}x{}".format(*have, *want),
                where=self._where,
            )

    def _frame(self, planes: list[NDArray[Any]]) -> VideoFrame:
        frame = VideoFrame(self._plan.width, self._plan.height, self._native)
        self._fill(frame, planes)
        frame.time_base = self.time_base
        _tag(frame, self._plan.encode.tags)
        return frame


def _tag(target: Any, color: Color) -> None:
    target.colorspace = int(color.matrix)
    target.color_primaries = int(color.primaries)
    target.color_trc = int(color.transfer)
    target.color_range = int(color.range)


def _enlarged(matrix: Sequence[int], scale: int) -> list[int]:
    """FFmpeg's display matrix (libavutil/display.h) for a picture that is larger.

    It turns and moves: what the elements 6 and 7 move by is in pixels (16.16 fixed point).
    """
    moved = [max(_LEAST, min(_MOST, scale * pixels)) for pixels in matrix[6:8]]
    return [*matrix[:6], *moved, *matrix[8:]]


def encoder_tick(plan: Plan) -> Fraction:
    """The coarsest time base in which the source's tick and the plan's shift are whole numbers."""
    tick, shift = plan.video.time_base, plan.time_shift
    numerator = gcd(tick.numerator * shift.denominator, shift.numerator * tick.denominator)
    return Fraction(numerator, tick.denominator * shift.denominator)

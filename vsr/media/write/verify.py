"""The written file, read back: is it what it must be?"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from fractions import Fraction
from itertools import zip_longest
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vsr.errors import VerifyError
from vsr.media.av_errors import av_errors
from vsr.media.source import ffmpeg_name, hidden_borders
from vsr.media.write.copied.uncompressed import is_uncompressed, sample_bytes
from vsr.media.write.mp4.left_out import places
from vsr.media.write.remux import Lane, Tally, is_pause
from vsr.types import Plan

__all__ = ["ReadBack", "check_frame", "lacking", "verify"]

# WebM has whole pixels only: its ratio is right to 1/10000 (display_size in pixel_shape.py).
_SAME_SHAPE = Fraction(1, 5000)
# MP4 has one type for all layers of MPEG audio; which one it is, every packet says.
_LAYERS = {"mp1": "mp3", "mp2": "mp3"}
# Seconds by which the end of sound may differ: readers cut and round the last packets.
_SAME_END = Fraction(1, 10)


@dataclass(slots=True)
class _Found:
    """What the file has of one stream."""

    times: array[int] = field(default_factory=lambda: array("q"))
    tally: Tally = field(default_factory=Tally)


def verify(
    path: Path,
    plan: Plan,
    video: int,
    times: Sequence[int],
    time_base: Fraction,
    lanes: Sequence[Lane],
) -> tuple[int, tuple[str, ...]]:
    """Read ``path`` back and compare it with what was written.

    Every frame has its packet with the right presentation time (to half a tick of the file's
    time base), every other stream has all its packets (one that got none may be missing), copied
    sound is still what it was, all sound ends when it should, there is no stream that nobody wrote,
    the first and last frame decode at the right size, and pixels have the plan's shape.

    Args:
        path: the file.
        plan: what it must be; errors call the file by its destination.
        video: index of the video stream when the file was written.
        times: expected presentation times, rising, in ticks of ``time_base``.
        time_base: seconds per tick of ``times``.
        lanes: the other streams.

    Returns:
        The number of frames found, and a sentence for what the file lacks of the plan's colour tags
        and hidden borders.

    Raises:
        VerifyError: something differs, it names the first difference; or a colour tag or border is
            lacking and the plan is strict.
    """
    where, name = plan.destination, ffmpeg_name(str(path))
    with av_errors(where, "read the written file back", VerifyError):
        with av.open(name) as container:
            there = ReadBack.of(container, video, where)
            hidden = there.compare(plan, times, time_base, lanes, where)
        with av.open(name) as container:
            size = (plan.width, plan.height)
            first = _decode_ends(container, there.video, size, there.times, where)
    return len(times), lacking(first, hidden, plan, where)


@dataclass(slots=True)
class ReadBack:
    """A file that has been read to its end and is still open.

    Attributes:
        container: the file.
        video: index of the video stream in it.
        places: of the streams, as :func:`vsr.media.write.mp4.left_out.places` gives them.
        first: its first frame, if that was to be decoded on the way.
    """

    container: InputContainer
    video: int
    places: Mapping[int, int]
    first: VideoFrame | None = None
    _streams: dict[int, _Found] = field(default_factory=dict)

    @classmethod
    def of(
        cls, container: InputContainer, video: int, where: str, *, decode: bool = False
    ) -> ReadBack:
        """Read all packets.

        Args:
            container: the file, just opened.
            video: index of the video stream when the file was written.
            where: what errors call the file.
            decode: decode the first frame.

        Raises:
            VerifyError: there is no such video stream.
            av.error.FFmpegError: it cannot be read.
        """
        there = places(container)
        at = there.get(video)
        if at is None:
            raise VerifyError("the video stream is missing", where=where)
        stream = _video_stream(container, at, where)
        read = cls(container, at, there)
        read._streams = {stream.index: _Found() for stream in container.streams}
        for packet in container.demux():
            read._take(packet)
            if decode and read.first is None and packet.stream_index == at:
                read.first = next(iter(stream.decode(packet)), None)
        found = read._streams[at]
        found.times = array("q", sorted(found.times))
        return read

    @property
    def times(self) -> Sequence[int]:
        """When its frames are shown, in ticks of its video stream."""
        return self._streams[self.video].times

    def compare(
        self,
        plan: Plan,
        times: Sequence[int],
        time_base: Fraction,
        lanes: Sequence[Lane],
        where: str,
    ) -> tuple[int, ...]:
        """Compare it with what was written; arguments as of :func:`verify`.

        Returns:
            The borders that players hide of its pictures.

        Raises:
            VerifyError: something differs, it names the first difference.
        """
        container = self.container
        stream = _video_stream(container, self.video, where)
        _compare_shape(stream, plan.sar, where)
        placed = list(_placed(lanes, self.places, where))
        _compare_streams(container, {self.video, *(index for _, index in placed)}, where)
        for lane, index in placed:
            if lane.action.action == "copy" and lane.action.stream.kind == "audio":
                _compare_sound(container.streams[index], lane, where)
        _compare_times(self.times, stream, times, time_base, where)
        for lane, index in placed:
            _compare_lane(self._streams[index].tally, lane, where)
        return hidden_borders(stream)

    def _take(self, packet: Packet[Any]) -> None:
        entry = self._streams.setdefault(packet.stream_index, _Found())
        if packet.size == 0 or is_pause(packet, packet.stream.type):
            return
        entry.tally.add(packet)
        if packet.stream_index == self.video and not packet.is_discard:
            entry.times.append(packet.pts if packet.pts is not None else -1)


def lacking(first: VideoFrame, hidden: tuple[int, ...], plan: Plan, where: str) -> tuple[str, ...]:
    """A sentence for what a result lacks of its plan's colour tags and hidden borders.

    Args:
        first: its first frame.
        hidden: the borders that players hide of its pictures.
        plan: what it must be.
        where: what errors call it.

    Raises:
        VerifyError: it lacks something, and the plan is strict.
    """
    lost = (*_lost_borders(hidden, plan), *_lost_tags(first, plan))
    if plan.strict and lost:
        raise VerifyError(f"strict mode, and the result lacks: {' '.join(lost)}", where=where)
    return lost


def _compare_shape(stream: Any, sar: Fraction, where: str) -> None:
    found = Fraction(stream.sample_aspect_ratio or 1)
    if abs(found / sar - 1) > _SAME_SHAPE:
        raise VerifyError(
            f"the pixel aspect ratio is {_ratio(found)} instead of {_ratio(sar)}", where=where
        )


def _ratio(value: Fraction) -> str:
    return f"{value.numerator}:{value.denominator}"


def _lost_borders(hidden: tuple[int, ...], plan: Plan) -> Iterator[str]:
    want = tuple(plan.model.scale * border for border in plan.video.crop)
    if hidden != want:
        yield (
            f"borders that players hide: (top, bottom, left, right) {want} became {hidden} in "
            f".{plan.container}."
        )


def _lost_tags(frame: VideoFrame, plan: Plan) -> Iterator[str]:
    tags = plan.encode.tags
    found: dict[str, tuple[IntEnum, int]] = {
        "primaries": (tags.primaries, int(frame.color_primaries)),
        "transfer": (tags.transfer, int(frame.color_trc)),
    }
    if not frame.format.is_rgb:
        found["matrix"] = (tags.matrix, int(frame.colorspace))
        found["range"] = (tags.range, int(frame.color_range))
    for name, (want, have) in found.items():
        kinds = {int(kind): kind.name.lower() for kind in type(want)}
        # What the plan leaves unspecified may be anything.
        if want.name != "UNSPECIFIED" and have != want:
            yield (
                f"colour tag {name}: {kinds[want]} became {kinds.get(have, str(have))} "
                f"in .{plan.container} with {plan.encode.name}."
            )


def _video_stream(container: InputContainer, video: int, where: str) -> VideoStream:
    stream = container.streams[video]
    if isinstance(stream, VideoStream):
        return stream
    raise VerifyError(f"stream {video} of the written file is not video", where=where)


def _placed(
    lanes: Sequence[Lane], there: Mapping[int, int], where: str
) -> Iterator[tuple[Lane, int]]:
    """The streams that the file has, with their indices in it."""
    for lane in lanes:
        index = there.get(lane.stream.index)
        if index is not None:
            yield lane, index
        elif lane.tally.packets:
            raise VerifyError(
                f"{_name(lane)} is missing: it had {lane.tally.packets} packets", where=where
            )


def _name(lane: Lane) -> str:
    return f"{lane.action.stream.kind} stream {lane.action.stream.index}"


def _compare_streams(container: InputContainer, written: set[int], where: str) -> None:
    found = {
        stream.index
        for stream in container.streams
        # Muxers make data streams of their own, for chapters and timecode; readers make pictures
        # of attachments.
        if stream.type in ("video", "audio", "subtitle")
        and not stream.disposition & Disposition.attached_pic
    }
    for index in sorted(found - written):
        kind = container.streams[index].type
        raise VerifyError(f"the file has a stream {index} ({kind}) that nobody wrote", where=where)


def _compare_sound(stream: Stream, lane: Lane, where: str) -> None:
    source = lane.action.stream
    context: Any = stream.codec_context
    codec = context.codec.canonical_name if context is not None else "unknown"
    want, have = (_LAYERS.get(name, name) for name in (source.codec, codec))
    # Not rate and channels: of AAC with implicit SBR or PS they are what the reader has found out
    # so far, and a stream may change them.
    if have != want:
        raise VerifyError(f"{_name(lane)}: the codec is {have} instead of {want}", where=where)


def _compare_times(
    found: Sequence[int],
    stream: Stream,
    expected: Sequence[int],
    time_base: Fraction,
    where: str,
) -> None:
    tick = stream.time_base or Fraction(1, av.time_base)
    # Rounding to ticks must not be worse than that; if source ticks fit exactly, it is exact.
    ratio = time_base / tick
    exact = ratio.denominator == 1
    for index, (have, want) in enumerate(zip_longest(found, expected)):
        if have is None:
            raise VerifyError(
                f"frame {index} of {len(expected)} is missing: the file has {len(found)} frames",
                where=where,
            )
        if want is None:
            raise VerifyError(
                f"the file has {len(found)} frames instead of {len(expected)}", where=where
            )
        target = want * ratio
        if have != target if exact else abs(have - target) * 2 > 1:
            raise VerifyError(
                f"frame {index} is at {float(have * tick):.6f} s instead of "
                f"{float(want * time_base):.6f} s",
                where=where,
            )


def _compare_lane(found: Tally, lane: Lane, where: str) -> None:
    name, tally, codec = _name(lane), lane.tally, lane.action.codec
    if codec.startswith(("pcm_", "adpcm_")) or codec == "hdmv_pgs_subtitle":
        # Uncompressed sound has no packets of its own: every container cuts it differently. What
        # a Blu-ray has in several is one picture, and one packet in Matroska.
        if found.bytes != tally.bytes:
            raise VerifyError(
                f"{name} has {found.bytes} bytes instead of {tally.bytes}", where=where
            )
    elif found.packets != tally.packets:
        raise VerifyError(
            f"{name} has {found.packets} packets instead of {tally.packets}", where=where
        )
    # Of other ADPCM, packets are cut anew and how long they last is the decoder's business.
    if lane.action.stream.kind == "audio" and (
        is_uncompressed(codec) or not codec.startswith("adpcm_")
    ):
        _compare_end(found, lane, where)


def _compare_end(found: Tally, lane: Lane, where: str) -> None:
    ends = []
    for tally in (found, lane.tally):
        if tally.last is None:
            return
        end, size = tally.last
        if is_uncompressed(lane.action.codec):
            context: Any = lane.stream.codec_context
            frame = sample_bytes(lane.action.codec) * context.layout.nb_channels
            end += size / frame / context.sample_rate
        ends.append(end)
    have, want = ends
    if abs(have - want) > _SAME_END:
        raise VerifyError(
            f"{_name(lane)} ends at {float(have):.3f} s instead of {float(want):.3f} s", where=where
        )


def _decode_ends(
    container: InputContainer,
    video: int,
    size: tuple[int, int],
    times: Sequence[int],
    where: str,
) -> VideoFrame:
    """Decode the first and the last frame; returns the first."""
    stream: Any = container.streams[video]
    stream.thread_type = "AUTO"
    first = next(iter(container.decode(stream)), None)
    checked = check_frame(first, times[0], size, "first", where)
    last = None
    # The index may lead behind the last key frame that helps: then from the start.
    for target in (times[-1], times[0]):
        container.seek(target, stream=stream, backward=True)
        for frame in container.decode(stream):
            last = frame
        if last is not None and last.pts == times[-1]:
            break
    check_frame(last, times[-1], size, "last", where)
    return checked


def check_frame(frame: Any, pts: int, size: tuple[int, int], name: str, where: str) -> VideoFrame:
    """The frame, if it is the one at ``pts`` and has that ``(width, height)``.

    Raises:
        VerifyError: it is not, and ``name`` says which it should be.
    """
    if frame is None or frame.pts != pts:
        raise VerifyError(f"the {name} frame of the written file does not decode", where=where)
    if (frame.width, frame.height) != size:
        raise VerifyError(
            f"the {name} frame is {frame.width}x{frame.height} instead of {size[0]}x{size[1]}",
            where=where,
        )
    checked: VideoFrame = frame
    return checked

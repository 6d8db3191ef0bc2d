"""The source's other streams on their way into the result, copied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any, Protocol, cast

from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream

from vsr.errors import OutputError
from vsr.media.demux.outliers import DEEPEST_REORDER
from vsr.media.write.copied.check import HeaderCheck, header_check
from vsr.media.write.copied.clock import SampleClock
from vsr.media.write.copied.packets import without_settings
from vsr.media.write.copied.uncompressed import Uncompressed, is_uncompressed
from vsr.media.write.tags import describe_stream
from vsr.media.write.template import AUDIO_IDS, audio_template, dvd_subtitle_template
from vsr.types import (
    PCM_PLACES,
    ContainerSpec,
    Plan,
    StreamAction,
    VideoStreamInfo,
    has_places,
)

__all__ = [
    "CopyLane",
    "Lane",
    "Tally",
    "add_copy",
    "is_pause",
    "shift_ticks",
]

# Ticks that a packet of MP4 and MOV can last.
_LONGEST = (1 << 31) - 1
# Seconds that pictures of a DVD's subtitles are shown that do not say so.
_SHOWN = 5
# Lines of a DVD's pictures, or half of them -> the picture that its subtitles are placed in.
_DVD_CANVAS = {576: (720, 576), 288: (720, 576), 480: (720, 480), 240: (720, 480)}


@dataclass(slots=True)
class Tally:
    """What went into one stream of the result: packets, bytes, and the first one's time in s.

    ``last``: the latest packet's time in s, and its bytes. ``refused``: packets of the source's
    stream that could not be decoded, or not be written.
    """

    packets: int = 0
    bytes: int = 0
    first: Fraction | None = None
    last: tuple[Fraction, int] | None = None
    refused: int = 0

    def add(self, packet: Packet[Any]) -> None:
        """Count a packet that is about to be written.

        One without data is not counted, as no reader gives it back: FFmpeg's FLAC encoder ends
        with such a packet, which only hands the muxer the final header as side data.
        """
        if packet.size == 0:
            return
        if packet.pts is not None:
            time = packet.pts * packet.time_base
            self.first = time if self.packets == 0 else self.first
            self.last = max(self.last or (time, packet.size), (time, packet.size))
        self.packets += 1
        self.bytes += packet.size


class Lane(Protocol):
    """The way of one source stream's packets into the result."""

    @property
    def stream(self) -> Stream:
        """The stream of the result."""
        ...

    @property
    def action(self) -> StreamAction:
        """What the plan says about the source's stream."""
        ...

    @property
    def tally(self) -> Tally:
        """What has been written so far."""
        ...

    def take(self, packet: Packet[Any]) -> Iterable[Packet[Any]]:
        """Packets to write for a packet of the source, which is consumed."""
        ...

    def flush(self) -> Iterable[Packet[Any]]:
        """Packets to write once the source has ended."""
        ...

    def warnings(self) -> Iterator[str]:
        """What was odd, one sentence each."""
        ...


class CopyLane:
    """Packets as they are, with times moved by the plan's shift.

    A missing decoding time becomes the presentation time (pictures: something before it); one
    that does not come after its predecessor's is moved to one tick after it (of sound in MP4 and
    MOV: one sample), as muxers demand. Uncompressed sound there gets silence where it has gaps.

    Args:
        stream: of the result.
        action: of the plan.
        shift: seconds added to every time.
        strict: the container is MP4 or MOV: equal decoding times are moved apart as well, and
            every packet must last some time.
        earliest: seconds before which the container can hold nothing (``None``: no limit);
            packets that would lie there are left out and counted.
        check: tells which packets the muxer would refuse; they are left out and counted.
    """

    def __init__(
        self,
        stream: Stream,
        action: StreamAction,
        shift: Fraction,
        *,
        strict: bool,
        earliest: Fraction | None,
        check: HeaderCheck | None = None,
    ) -> None:
        self.stream = stream
        self.action = action
        self.tally = Tally()
        self._shift = shift
        self._strict = strict
        self._earliest = earliest
        self._check = check
        sound = strict and action.stream.kind == "audio"
        self._clock = SampleClock(stream) if sound else None
        counted = sound and is_uncompressed(action.codec)
        self._uncompressed = Uncompressed(stream, action.codec) if counted else None
        context: Any = stream.codec_context
        # What sound in MP4 and MOV is counted in, and what is in a packet, in seconds.
        self._sample = Fraction(1, context.sample_rate or 1) if sound else Fraction(0)
        self._length = context.frame_size * self._sample if sound else Fraction(0)
        self._settings: bytes | None = context.extradata if context is not None else None
        self._last: int | None = None
        self._moved = 0
        self._early = 0
        self._changes = 0

    def take(self, packet: Packet[Any]) -> Iterator[Packet[Any]]:
        """The packet itself, or nothing if it is empty (a flush, a pause) or lies too early.

        Uncompressed sound may wait for the next packet, and comes with silence.
        """
        if packet.size == 0:
            return
        if self.action.codec == "mov_text" and is_pause(packet, "subtitle"):
            # The muxer makes one wherever a text ends; the source's would lie there as well,
            # with no time left to last.
            return
        if self._check is not None and self._check.refuses(packet):
            self.tally.refused += 1
            return
        if not self._strict:
            packet = self._without_settings(packet)
        shift = shift_ticks(self._shift, packet.time_base)
        pts, dts = self._times(packet)
        pts, dts = pts + shift, dts + shift
        if self.action.stream.kind == "subtitle" and pts < 0:
            # The text is on the screen already when the wanted part begins.
            packet.duration = (packet.duration or 0) + pts
            pts = dts = 0
            if packet.duration <= 0:
                return
        if self._earliest is not None and pts * packet.time_base < self._earliest:
            self._early += 1
            return
        since = self._put_in_order(packet, pts, dts)
        packet.stream = self.stream
        if self._strict and not 0 < (packet.duration or 0) <= _LONGEST:
            packet.duration = self._lasting(packet.time_base, since)
        if self._clock is not None:
            self._clock.refine(packet)
        if self._uncompressed is not None:
            yield from map(self._counted, self._uncompressed.take(packet))
        else:
            yield self._counted(packet)

    def flush(self) -> Iterator[Packet[Any]]:
        """Uncompressed sound that waited for a next packet."""
        if self._uncompressed is not None:
            yield from map(self._counted, self._uncompressed.flush())

    def warnings(self) -> Iterator[str]:
        """Packets moved, left out or added."""
        name = f"{self.action.stream.kind} stream {self.action.stream.index}"
        if self._moved:
            yield f"{self._moved} packets of {name} had times out of order and were moved."
        if self._early:
            yield (
                f"{self._early} packets of {name} lie before time zero, where this container "
                "can hold nothing, and were left out."
            )
        if self.tally.refused:
            yield (
                f"{self.tally.refused} packets of {name} are so damaged that this container "
                "cannot hold them, and were left out."
            )
        if self._changes:
            yield (
                f"The decoder settings of {name} change ({self._changes} times), which this "
                "container cannot hold; what comes after may not play as it should."
            )
        if self._uncompressed is not None:
            yield from self._uncompressed.warnings(name.capitalize())

    def _put_in_order(self, packet: Packet[Any], pts: int, dts: int) -> int:
        """Give ``packet`` its times; returns how many ticks it comes after the one before."""
        step = max(1, ceil(self._sample / packet.time_base)) if self._strict else 0
        since = 0 if self._last is None else dts - self._last
        if self._last is not None and since < step:
            self._moved += 1
            if self._uncompressed is None:  # which is counted anyway
                dts, since = self._last + step, step
                pts = max(pts, dts)
        self._last = dts
        packet.pts, packet.dts = pts, dts
        return since

    def _counted(self, packet: Packet[Any]) -> Packet[Any]:
        if not is_pause(packet, self.action.stream.kind):
            self.tally.add(packet)
        return packet

    def _without_settings(self, packet: Packet[Any]) -> Packet[Any]:
        """``packet`` without what FFmpeg's Matroska muxer would write over the header with.

        New settings that are longer than the old ones would go over the tracks that follow.
        """
        if not self._settings:
            return packet  # the muxer has none yet
        packet, new = without_settings(packet)
        if new is not None and new != self._settings:
            self._settings = new
            self._changes += 1
        return packet

    def _lasting(self, time_base: Fraction, since: int) -> int:
        """How many ticks a packet of MP4 and MOV lasts that does not say so.

        The muxer leaves out a last one that lasts no time. ``since``: ticks since the one before.
        """
        if self.action.codec == "dvd_subtitle":
            return ceil(_SHOWN / time_base)
        if not self._length and self.action.stream.kind == "audio":
            return min(max(1, since), _LONGEST)
        return max(1, ceil(max(self._length, self._sample) / time_base))

    def _times(self, packet: Packet[Any]) -> tuple[int, int]:
        pts, dts = packet.pts, packet.dts
        follows = None if self._last is None else self._last + 1
        if pts is None:
            pts = dts if dts is not None else follows
        if pts is None:
            raise OutputError(
                "its first packet has no time",
                where=f"{self.action.stream.kind} stream {self.action.stream.index}",
                remedy="Leave this stream out.",
            )
        if dts is None and self.action.stream.kind == "video":
            lead = DEEPEST_REORDER * max(packet.duration or 0, 1)
            dts = pts - lead if follows is None else min(pts, follows)
        return pts, pts if dts is None else dts


def is_pause(packet: Packet[Any], kind: str) -> bool:
    """Whether this is an empty text: MP4's way of showing no subtitle for a while.

    The MP4 muxer writes and merges them as it needs to, so that they do not count.
    """
    return kind == "subtitle" and packet.size <= 2


def shift_ticks(shift: Fraction, time_base: Fraction) -> int:
    """``shift`` seconds in whole ticks, to the nearest."""
    return round(shift / time_base)


def add_copy(
    output: OutputContainer,
    source: Stream,
    action: StreamAction,
    plan: Plan,
    container: ContainerSpec,
    first: Fraction | None,
) -> CopyLane:
    """A stream of the result that holds the packets of ``source`` unchanged.

    Args:
        output: the result, whose header is not yet written.
        source: the stream in a second opening of the source.
        action: of the plan.
        plan: for its shift and trim.
        container: of the result.
        first: time in seconds of the stream's first packet in the source, if known.
    """
    earliest = None
    stream: Stream | None = None
    if container.time_base is not None:
        earliest = Fraction(0)
        cut = plan.trim.start is not None
        begins = Fraction(0) if first is None or cut else first + plan.time_shift
        if begins < 0 and source.type == "audio":
            # Sound that only primes the decoder. Matroska holds it as the codec's delay.
            kept = "matroska" in source.container.format.name
            stream = None if kept else _delayed(output, source, action, -begins)
            earliest = begins if kept or stream is not None else earliest
    if action.codec == "dvd_subtitle":
        stream = _with_canvas(output, source, plan.video)
    if stream is None:
        stream = output.add_stream_from_template(source, opaque=True)
    context: Any = stream.codec_context
    name = context.layout.name if action.codec.startswith("pcm_") else ""
    if name.endswith(" channels") or (name and container.placed_pcm and not has_places(name)):
        # The MP4 family insists on knowing which channel is which.
        context.layout = PCM_PLACES.get(context.layout.nb_channels, context.layout)
    describe_stream(stream, action.stream)
    strict = container.time_base is None
    sound = action.stream.kind == "audio"
    check = header_check(source, action.codec, quicktime=strict) if sound else None
    return CopyLane(stream, action, plan.time_shift, strict=strict, earliest=earliest, check=check)


def _delayed(
    output: OutputContainer, source: Stream, action: StreamAction, delay: Fraction
) -> Stream | None:
    if action.codec not in AUDIO_IDS:
        return None
    context: Any = source.codec_context
    if action.codec == "aac" and not context.extradata:
        # ADTS, which says in its packets what Matroska has in its header. FFmpeg's reader makes
        # up settings for the template (AAC-LTP), so that the muxer reserves no room for the
        # right ones, and when it knows those, writes them over the tracks that follow.
        return None
    with audio_template(
        action.codec, context.sample_rate, context.layout.nb_channels, context.extradata, delay
    ) as template:
        return output.add_stream_from_template(template, opaque=True)


def _with_canvas(output: OutputContainer, source: Stream, video: VideoStreamInfo) -> Stream | None:
    """Subtitles of a DVD that do not say how large the picture is that they are placed in.

    On the DVD itself that goes without saying. Players take it for the video's size, in which
    those of an enlarged video would be small and in a corner.
    """
    known: bytes = cast(Any, source.codec_context).extradata or b""
    if b"size:" in known:
        return None
    # On a DVD it does not depend on how much of the picture is stored.
    width, height = _DVD_CANVAS.get(video.height, (video.width, video.height))
    with dvd_subtitle_template(known + f"size: {width}x{height}\n".encode()) as template:
        return output.add_stream_from_template(template, opaque=True)

"""Everything but the pictures: the source's other streams, chapters, tags and attachments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol, cast

from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import AttachmentStream, Disposition, Stream

from vsr.errors import OutputError
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
    "add_attachment",
    "add_copy",
    "add_cover",
    "cover_packet",
    "is_pause",
    "preview",
    "shift_ticks",
]

#: Decoders need at most this many frames of reordering (H.264, H.265).
_DEEPEST_REORDER = 16
_PREVIEW_PACKETS = 500
# Lines of a DVD's pictures, or half of them -> the picture that its subtitles are placed in.
_DVD_CANVAS = {576: (720, 576), 288: (720, 576), 480: (720, 480), 240: (720, 480)}
_MIME_TYPES = {"mjpeg": ("jpg", "image/jpeg"), "png": ("png", "image/png")}


@dataclass(slots=True)
class Tally:
    """What went into one stream of the result: packets, bytes, and the first one's time in s.

    ``refused``: packets of the source's stream that could not be decoded.
    """

    packets: int = 0
    bytes: int = 0
    first: Fraction | None = None
    refused: int = 0

    def add(self, packet: Packet[Any]) -> None:
        """Count a packet that is about to be written.

        One without data is not counted, as no reader gives it back: FFmpeg's FLAC encoder ends
        with such a packet, which only hands the muxer the final header as side data.
        """
        if packet.size == 0:
            return
        if self.packets == 0 and packet.pts is not None:
            self.first = packet.pts * packet.time_base
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
    that does not come after its predecessor's is moved to one tick after it, as muxers demand.

    Args:
        stream: of the result.
        action: of the plan.
        shift: seconds added to every time.
        strict: equal decoding times are moved apart as well.
        earliest: seconds before which the container can hold nothing (``None``: no limit);
            packets that would lie there are left out and counted.
    """

    def __init__(
        self,
        stream: Stream,
        action: StreamAction,
        shift: Fraction,
        *,
        strict: bool,
        earliest: Fraction | None,
    ) -> None:
        self.stream = stream
        self.action = action
        self.tally = Tally()
        self._shift = shift
        self._step = 1 if strict else 0
        self._earliest = earliest
        self._clock = _SampleClock(stream) if strict and action.stream.kind == "audio" else None
        self._last: int | None = None
        self._moved = 0
        self._early = 0

    def take(self, packet: Packet[Any]) -> Iterator[Packet[Any]]:
        """The packet itself, or nothing if it is empty (a flush, a pause) or lies too early."""
        if packet.size == 0:
            return
        if self.action.codec == "mov_text" and is_pause(packet, "subtitle"):
            # The muxer makes one wherever a text ends; the source's would lie there as well,
            # with no time left to last.
            return
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
        if self._last is not None and dts < self._last + self._step:
            dts = self._last + self._step
            pts = max(pts, dts)
            self._moved += 1
        self._last = dts
        packet.pts, packet.dts = pts, dts
        packet.stream = self.stream
        if self._clock is not None:
            self._clock.refine(packet)
        if not is_pause(packet, self.action.stream.kind):
            self.tally.add(packet)
        yield packet

    def flush(self) -> Iterable[Packet[Any]]:
        """Nothing is held back."""
        return ()

    def warnings(self) -> Iterator[str]:
        """Packets moved or left out."""
        name = f"{self.action.stream.kind} stream {self.action.stream.index}"
        if self._moved:
            yield f"{self._moved} packets of {name} had times out of order and were moved."
        if self._early:
            yield (
                f"{self._early} packets of {name} lie before time zero, where this container "
                "can hold nothing, and were left out."
            )

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
            lead = _DEEPEST_REORDER * max(packet.duration or 0, 1)
            dts = pts - lead if follows is None else min(pts, follows)
        return pts, pts if dts is None else dts


class _SampleClock:
    """Times counted in samples, for sound whose own were rounded to something coarser.

    Matroska rounds to milliseconds. Written as they are, packets in an MP4 would last now a little
    longer, now a little shorter than the samples in them. So they are counted, for as long as the
    count stays within one tick of the time the packet has. FFmpeg's command line does the same.
    """

    def __init__(self, stream: Stream) -> None:
        context: Any = stream.codec_context
        self._tick = Fraction(1, context.sample_rate or 1)
        self._samples: int = context.frame_size
        self._next: int | None = None

    def refine(self, packet: Packet[Any]) -> None:
        """Give ``packet`` a time in samples, where its own is coarser."""
        coarse = packet.time_base
        if not self._samples or coarse <= self._tick or packet.pts != packet.dts:
            return
        time = (packet.pts or 0) * coarse
        at = round(time / self._tick)
        if self._next is not None and abs(self._next * self._tick - time) <= coarse:
            at = self._next
        self._next = at + self._samples
        packet.time_base = self._tick
        packet.pts = packet.dts = at
        packet.duration = self._samples


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
    return CopyLane(
        stream, action, plan.time_shift, strict=container.time_base is None, earliest=earliest
    )


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


def preview(
    source: InputContainer, covers: Sequence[int], sounds: Sequence[int]
) -> tuple[dict[int, bytes], dict[int, Fraction]]:
    """Pictures of the cover streams, and when the sound streams begin, in seconds.

    Reads the first packets of ``source`` only; a stream that is not among them is left out.
    """
    pictures: dict[int, bytes] = {}
    begins: dict[int, Fraction] = {}
    wanted = {*covers, *sounds}
    if not wanted:
        return pictures, begins
    for count, packet in enumerate(source.demux()):
        index = packet.stream_index
        if packet.size and index in covers:
            pictures.setdefault(index, bytes(packet))
        elif packet.size and index in sounds and packet.pts is not None:
            begins.setdefault(index, packet.pts * packet.time_base)
        if count > _PREVIEW_PACKETS or wanted <= pictures.keys() | begins.keys():
            break
    return pictures, begins


def add_cover(output: OutputContainer, source: Stream, action: StreamAction) -> Stream:
    """A stream for cover art (``copy``); its one packet is written after the header."""
    stream = output.add_stream_from_template(source, opaque=True)
    describe_stream(stream, action.stream)
    stream.disposition = Disposition.attached_pic
    return stream


def cover_packet(stream: Stream, picture: bytes) -> Packet[Any]:
    """The packet of a stream made by :func:`add_cover`."""
    packet: Packet[Any] = Packet(picture)
    packet.stream = stream
    packet.time_base = Fraction(1, 1000)
    packet.pts = packet.dts = 0
    packet.is_keyframe = True
    return packet


def add_attachment(
    output: OutputContainer, source: Stream, action: StreamAction, picture: bytes
) -> None:
    """Attach a file: a font of the source as it is, or cover art with a name players know."""
    tags = dict(action.stream.metadata)
    if isinstance(source, AttachmentStream):
        name, mime, data = f"attachment{source.index}", "application/octet-stream", source.data
    else:
        ending, mime = _MIME_TYPES.get(action.stream.codec, (action.stream.codec, "image/*"))
        name, data = f"cover.{ending}", picture
    name, mime = tags.pop("filename", name), tags.pop("mimetype", mime)
    attached = output.add_attachment(name, mime, data)
    attached.metadata.update(tags)

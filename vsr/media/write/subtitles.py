"""Text subtitles in another form, where the container cannot hold theirs."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, cast

import av.error
from av.container import OutputContainer
from av.packet import Packet
from av.subtitles.stream import SubtitleStream
from av.subtitles.subtitle import AssSubtitle, SubtitleSet

from vsr.errors import EncodeError
from vsr.media.av_errors import av_errors
from vsr.media.write.remux import Tally, is_pause
from vsr.media.write.tags import describe_stream
from vsr.types import StreamAction

__all__ = ["SubtitleLane"]

_MILLISECOND = Fraction(1, 1000)
# Fields of an ASS event before its text: order, layer, style, name, three margins, effect.
_FIELDS = 8
# FFmpeg's UINT32_MAX: shown until something else is.
_FOREVER = 0xFFFFFFFF
# When a text ends that does not say how long it is shown, and how many ms the last one lasts.
_ENDLESS = 1 << 62
_LAST = 5000


class SubtitleLane:
    """Decodes each text to ASS events, FFmpeg's common form, and encodes those.

    Times are kept to the millisecond. MP4 shows one text at a time, so that texts which overlap
    in time are shown together for as long as they do. It has no texts without an end either: such
    a text is shown until the next begins, which is what players make of it elsewhere.

    Args:
        output: the result, whose header is not yet written.
        source: the stream in a second opening of the source; its decoder is used.
        action: of the plan; ``codec`` is the encoder.
        shift: seconds added to every time.
    """

    def __init__(
        self,
        output: OutputContainer,
        source: SubtitleStream,
        action: StreamAction,
        shift: Fraction,
    ) -> None:
        self.action = action
        self.tally = Tally()
        self._shift = shift
        self._decoder = source.codec_context
        self._decoder.open(strict=False)
        self.stream = cast(SubtitleStream, output.add_stream(action.codec))
        context = self.stream.codec_context
        # Styles stand in the header, which encoders read when they are opened.
        context.subtitle_header = self._decoder.subtitle_header
        context.time_base = _MILLISECOND
        self.stream.time_base = _MILLISECOND
        describe_stream(self.stream, action.stream, same_samples=False)
        self._layered = action.codec == "mov_text"
        self._shown: list[tuple[int, int, bytes]] = []
        self._latest = 0
        self._moved = 0
        self._endless = 0

    def take(self, packet: Packet[Any]) -> Iterator[Packet[Any]]:
        """Packets for one of the source; empty texts (MP4's pauses) give none."""
        if packet.size == 0 or packet.pts is None:
            return
        try:
            subtitle = self._decoder.decode2(packet)
        except av.error.FFmpegError:
            self.tally.refused += 1
            return
        event = b"" if subtitle is None else _event(subtitle)
        if subtitle is None or not event:
            return
        time = round((packet.pts * packet.time_base + self._shift) / _MILLISECOND)
        length = round((packet.duration or 0) * packet.time_base / _MILLISECOND)
        if not length and subtitle.end_display_time < _FOREVER:
            length = subtitle.end_display_time
        self._endless += not length
        lasting = self._layered and not length
        if time < 0:
            # The text is on the screen already when the wanted part begins.
            time, length = 0, length + time
            if length <= 0 and not lasting:
                return
        # Some files store texts out of order, which no container may have.
        begin = self._latest = max(time, self._latest)
        self._moved += begin > time
        if not self._layered:
            yield self._packet(begin, begin + length, event)
            return
        self._replace(begin)
        yield from self._until(begin)
        self._shown.append((begin, _ENDLESS if lasting else begin + length, event))

    def flush(self) -> Iterator[Packet[Any]]:
        """Packets for the texts still shown."""
        if self._shown:
            self._replace(self._latest + _LAST)
            yield from self._until(max(end for _, end, _ in self._shown))

    def warnings(self) -> Iterator[str]:
        """Texts that did not decode or do not say how long they last."""
        name = f"subtitle stream {self.action.stream.index}"
        if self.tally.refused:
            yield f"{self.tally.refused} texts of {name} could not be decoded and were left out."
        if self._moved:
            yield f"{self._moved} texts of {name} begin later: they were out of order."
        if self._endless:
            said = f"{self._endless} texts of {name} do not say how long they are shown"
            until = f": until the next begins, the last for {_LAST // 1000} s"
            yield f"{said}{until if self._layered else ''}."

    def _replace(self, now: int) -> None:
        """Have texts that are shown until another is, end ``now``."""
        self._shown = [
            (start, now if stop == _ENDLESS and start < now else stop, event)
            for start, stop, event in self._shown
        ]

    def _until(self, now: int) -> Iterator[Packet[Any]]:
        """Packets for everything shown before ``now``, cut wherever a text goes away."""
        while self._shown:
            begin = max(start for start, _, _ in self._shown)
            end = min(now, *(stop for _, stop, _ in self._shown))
            if begin < end:
                yield self._packet(begin, end, _together([e for _, _, e in self._shown]))
            self._shown = [
                (end, stop, event) for _, stop, event in self._shown if stop > max(end, begin)
            ]
            if end >= now:
                return

    def _packet(self, begin: int, end: int, event: bytes) -> Packet[Any]:
        where = f"subtitle stream {self.action.stream.index}"
        with av_errors(where, "encode a text", EncodeError):
            packet = self.stream.codec_context.encode_subtitle(
                SubtitleSet.create(text=event, start=0, end=end - begin, pts=begin * 1000)
            )
        packet.stream = self.stream
        packet.time_base = _MILLISECOND
        packet.pts = packet.dts = begin
        packet.duration = end - begin
        # Whoever reads the file back takes texts of one or two bytes for pauses.
        if not is_pause(packet, "subtitle"):
            self.tally.add(packet)
        return packet


def _event(subtitle: SubtitleSet) -> bytes:
    events = [rect.ass for rect in subtitle if isinstance(rect, AssSubtitle)]
    return _together([event for event in events if _text(event).strip()])


def _together(events: list[bytes]) -> bytes:
    """One ASS event that shows the texts of all, one below the other."""
    if len(events) <= 1:
        return events[0] if events else b""
    head = events[0].split(b",", _FIELDS)[:_FIELDS]
    return b",".join([*head, rb"\N".join(_text(event) for event in events)])


def _text(event: bytes) -> bytes:
    return event.split(b",", _FIELDS)[-1]

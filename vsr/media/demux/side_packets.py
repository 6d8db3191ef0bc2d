"""Packets of the streams that are carried along, for a part of a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from types import TracebackType
from typing import TYPE_CHECKING, Self

import av
import av.error
from av.stream import Disposition, Stream

from vsr.errors import DecodeError
from vsr.media.av_errors import av_errors
from vsr.media.demux.continuity import Continuity
from vsr.media.demux.insistent import Insistent
from vsr.media.read.reader import ReadRequest
from vsr.media.read.timestamps import expected_end
from vsr.media.source import open_source
from vsr.types import SidePacket

if TYPE_CHECKING:
    AnyPacket = av.Packet[Stream]

__all__ = ["SidePackets"]

# Streams are interleaved less far apart than this; once a packet lies so many seconds behind the
# end, no other stream has one before it.
_INTERLEAVING = Fraction(10)


class SidePackets:
    """Demuxes a file from its beginning and gives the side packets of a span of time.

    A second demuxer, because a reader that seeks would miss a subtitle that was shown before the
    place it lands at and is still on screen, or sound that is stored earlier than its pictures.

    A file that is damaged so that it cannot be read on ends there; see :attr:`broken`.

    What belongs to the span: packets that begin in it, and subtitles that are on screen in it,
    which end with it where that is known.

    Attributes:
        broken: the file ended so before all streams were known to be at the end of the span.
    """

    def __init__(
        self,
        path: str,
        video: int,
        streams: Sequence[int],
        start: Fraction | None,
        end: Fraction | None,
        check: Callable[[], None] = lambda: None,
        expected: Callable[[], Fraction | None] = lambda: None,
    ) -> None:
        """Open the file.

        Args:
            path: the file.
            video: index of the stream whose times all others' follow.
            streams: indices of the wanted streams.
            start: seconds on the file's clock (pts times time base), ``None``: the beginning.
            end: seconds on the file's clock, exclusive, ``None``: the end of the file.
            check: called at every packet; what it raises ends the reading, however far the span is.
            expected: called at most once, if there is no ``end`` and a subtitle may outlast the
                span; says where that is likely to end, on the same clock, or ``None``.
        """
        self._path, self._start, self._end, self._check = path, start, end, check
        self._expected = expected
        self._likely: Fraction | None = None
        self._container = open_source(path)
        self._streams = [self._container.streams[index] for index in streams]
        self._continuity = Continuity(self._container, video)
        self.broken = False
        self._unwanted = video if self._continuity.possible and video not in streams else None
        # Without streams, PyAV would demux all of them.
        self._packets = self._span() if self._streams else iter(())
        self._next = next(self._packets, None)

    @classmethod
    def of(cls, request: ReadRequest, time_base: Fraction, check: Callable[[], None]) -> Self:
        """Those of the part that a reader is asked for; ``time_base``: seconds per tick of it."""
        path, video, trim = request.path, request.video, request.trim
        start = None if trim.start is None else trim.start * time_base
        end = None if trim.end is None else trim.end * time_base

        def expected() -> Fraction | None:
            ticks = expected_end(path, video, trim)
            return None if ticks is None else ticks * time_base

        return cls(path, video.index, request.side_streams, start, end, check, expected)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._container.close()

    def until(self, time: Fraction) -> Iterator[SidePacket]:
        """The packets not yet given that are stored before one that begins at ``time`` or later."""
        while self._next is not None:
            at = _time(self._next)
            if at is not None and at >= time:
                return
            yield from self._take()

    def rest(self, end: Fraction | None) -> Iterator[SidePacket]:
        """All other packets of the span, which ends at ``end`` after all (``None``: as given)."""
        if end is not None:
            self._end = end
        while self._next is not None:
            at = _time(self._next)
            if self._end is not None and at is not None and at >= self._end:
                self._next = next(self._packets, None)
            else:
                yield from self._take()

    def _take(self) -> Iterator[SidePacket]:
        if self._next is not None:
            if self._next.stream.type == "subtitle":
                self._shorten(self._next)
            yield SidePacket(self._next.stream_index, self._next)
            self._next = next(self._packets, None)

    def _span(self) -> Iterator[AnyPacket]:
        covers = {s.index for s in self._streams if s.disposition & Disposition.attached_pic}
        waiting = {s.index for s in self._streams if s.type != "attachment"} - covers
        for packet in self._demuxed():
            at = _time(packet)
            if packet.size == 0:
                continue
            if packet.stream_index in covers:  # belongs to the whole file
                covers.remove(packet.stream_index)
                yield packet
            elif self._end is not None and at is not None and at >= self._end:
                waiting.discard(packet.stream_index)
                if at >= self._end + _INTERLEAVING:
                    return
            elif self._begins_late_enough(packet, at):
                yield packet
            if not waiting and not covers:
                return

    def _demuxed(self) -> Iterator[AnyPacket]:
        """Packets of the streams; damaged places, which the video's reader counts, are passed."""
        watched = list(self._streams)
        if self._unwanted is not None:
            watched.append(self._container.streams[self._unwanted])
        with av_errors(self._path, "read the other streams", DecodeError):
            source = Insistent(self._container, watched)
            for packet in self._continuity.through(source):
                self._check()
                if packet.stream.index != self._unwanted:
                    yield packet
            self.broken = source.broken is not None

    def _shorten(self, packet: AnyPacket) -> None:
        """Have a subtitle go with the last picture, after which a clip would go on for its sake."""
        at, end = _time(packet), self._end
        if at is None or not packet.duration:
            return
        if end is None:
            if self._likely is None:
                self._likely = self._expected()
                self._expected = lambda: None
            # If less of the video decodes than its packets say, the part goes on behind that.
            end = self._likely if self._likely is not None and at < self._likely else None
        if end is not None:
            left = round((end - at) / packet.time_base)
            packet.duration = min(packet.duration, max(left, 1))

    def _begins_late_enough(self, packet: AnyPacket, at: Fraction | None) -> bool:
        if self._start is None or at is None or at >= self._start:
            return True
        return (
            packet.stream.type == "subtitle"
            and at + (packet.duration or 0) * packet.time_base > self._start
        )


def _time(packet: AnyPacket) -> Fraction | None:
    """Seconds on the file's clock."""
    ticks = packet.pts if packet.pts is not None else packet.dts
    return None if ticks is None else ticks * packet.time_base

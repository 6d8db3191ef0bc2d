"""Recordings that were joined: timestamps that begin anew go on instead.

Transport and program streams (.ts, .m2ts, .vob, .mpg) can be joined by writing one behind the
other, and DVDs and broadcasts are; recorders of live streams go on in the same .flv when they were
interrupted. Each part's timestamps then begin where its recorder's clock happened to be. Muxers
demand times that grow, and players go on from where they are (ISO/IEC 13818-1, 2.4.3.5:
``discontinuity_indicator``; FFmpeg's demuxers do not pass it on).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeVar, cast

from av.container import InputContainer
from av.format import Flags

from vsr.media.demux.outliers import Outliers

if TYPE_CHECKING:
    import av

    AnyPacket = av.Packet[Any]

_P = TypeVar("_P", bound="AnyPacket")

__all__ = ["Continuity"]

# FFmpeg's mark of such formats (PyAV's stubs take its members for something else).
_DISCONTINUOUS: int = cast(Any, Flags.ts_discont).value
# Others whose files are joined all the same.
_JOINED = ("flv", "live_flv")
# Those whose clock has 33 bits.
_TURNING = ("mpegts", "mpeg")
# Decoding times that fall by more begin anew; what falls by less is out of order.
_FALL = Fraction(1, 2)
# Streams are interleaved less far apart than this. Only such packets tell where a stream is that
# has had none around the place itself.
_APART = Fraction(2)
# After so long the clock of these formats begins at zero again (ISO/IEC 13818-1, 2.4.3.7).
_TURN = Fraction(1 << 33, 90_000)
# So many packets of other streams may come before the first of the video's next part.
_MOST_HELD = 4000


@dataclass(slots=True)
class _Lane:
    """How far one of the other streams is.

    Attributes:
        part: number of the part its last packet belongs to.
        last: decoding time of that, in seconds as the file has it.
        held: packets that wait for the video's next part.
    """

    part: int = 0
    last: Fraction | None = None
    held: deque[Any] = field(default_factory=deque)


class Continuity:
    """Moves the times of all packets of a file, read from its beginning, so that they go on.

    The video alone says where a part begins and by how much its times are moved: so that its first
    frame follows the last one of the part before. All streams are moved by the same. Reading only
    the video's packets therefore gives the same times for it as reading all.

    Args:
        container: the file; other formats than those that can be joined are left as they are.
        video: index of the video stream.

    Attributes:
        possible: whether it is of a format whose files can be joined.
        outliers: packets whose times were damaged.
    """

    def __init__(self, container: InputContainer, video: int) -> None:
        marked = bool(container.format.flags & _DISCONTINUOUS)
        self.possible = marked or container.format.name in _JOINED
        self.outliers = Outliers()
        self._turning = container.format.name in _TURNING
        self._turned = False  # the video's times were moved by whole turns
        self._video = video
        self._moves = [Fraction(0)]  # of each part, in seconds
        self._last: int | None = None  # decoding time as the file has it, in ticks
        self._raw: Fraction | None = None  # the same in seconds
        self._step = 1
        self._latest = 0  # the latest presentation time as moved, in ticks
        self._now = Fraction(0)  # the video's decoding time as moved, in seconds
        self._others: dict[int, _Lane] = {}

    @property
    def joins(self) -> int:
        """At how many places times began anew, so far."""
        return len(self._moves) - 1

    @property
    def steady(self) -> bool:
        """Whether all times so far are those that the file has."""
        return not self.joins and not self.outliers.mended and not self._turned

    def through(self, packets: Iterable[_P]) -> Iterator[_P]:
        """The packets, moved; those of other streams may come a little later than in the file."""
        if not self.possible:
            yield from packets
            return
        for packet in self.outliers.through(packets):
            if packet.stream.index != self._video:
                yield from self._take(packet)
                continue
            before = self.joins
            self._follow(packet)
            yield packet
            if self.joins > before:
                yield from self._release()
        for lane in self._others.values():
            yield from (self._moved(packet, lane) for packet in lane.held)
            lane.held.clear()

    def _follow(self, packet: AnyPacket) -> None:
        """Move a packet of the video."""
        dts = packet.dts if packet.dts is not None else packet.pts
        if dts is None:  # nothing to go by; also the empty packet at the end
            return
        base = packet.time_base
        dts = self._turned_back(packet, dts)
        if self._last is not None and (self._last - dts) * base > _FALL:
            self._begin(packet, dts)
        elif self._last is not None and dts > self._last:
            self._step = dts - self._last
        self._last, self._raw = dts, dts * base
        move = round(self._moves[-1] / base)
        _move(packet, move)
        self._now = (dts + move) * base
        if packet.pts is not None:
            self._latest = max(self._latest, packet.pts)

    def _turned_back(self, packet: AnyPacket, dts: int) -> int:
        """Move a packet of the video by whole turns to where it is nearest to the one before.

        FFmpeg takes times that are more than a minute below the file's first one for those behind
        the end of the clock, 26 hours later; mostly they are those of another part.
        """
        if self._last is None or not self._turning:
            return dts
        turns = round((dts - self._last) * packet.time_base / _TURN)
        if not turns:
            return dts
        self._turned = True
        ticks = round(turns * _TURN / packet.time_base)
        _move(packet, -ticks)
        return dts - ticks

    def _begin(self, packet: AnyPacket, dts: int) -> None:
        base = packet.time_base
        step = packet.duration or self._step
        move = round(self._now / base) + step - dts
        if packet.pts is not None:
            # Parts may reorder their frames over other distances.
            move = max(move, self._latest + step - packet.pts)
        self._moves.append(move * base)

    def _take(self, packet: _P) -> Iterator[_P]:
        """Move a packet of another stream, or hold it back."""
        lane = self._others.setdefault(packet.stream.index, _Lane())
        at = self._unwrapped(packet)
        if lane.held or (at is not None and self._is_ahead(lane, at)):
            lane.held.append(packet)
            if len(lane.held) >= _MOST_HELD:  # the video does not follow: times of its own
                yield from (self._moved(held, lane) for held in lane.held)
                lane.held.clear()
                lane.last = at
            return
        if at is not None:
            self._choose(lane, at)
            lane.last = at
        yield self._moved(packet, lane)

    def _unwrapped(self, packet: AnyPacket) -> Fraction | None:
        """Decoding time in seconds, as the file has it, but on the video's side of a wrap.

        Sound that begins a little before time zero has times just below 2**33 there. FFmpeg
        unwraps each stream by itself, and takes those for a day after the pictures.
        """
        at = _time(packet)
        if at is not None and self._raw is not None:
            turns = round((at - self._raw) / _TURN)
            if turns:
                _move(packet, -round(turns * _TURN / packet.time_base))
                at -= turns * _TURN
        return at

    def _is_ahead(self, lane: _Lane, at: Fraction) -> bool:
        """Whether the stream has begun a part that the video has not."""
        newest = lane.part == self.joins
        return newest and lane.last is not None and lane.last - at > _FALL

    def _choose(self, lane: _Lane, at: Fraction) -> None:
        """Find the part that a packet at ``at`` belongs to: the stream's, or the newest."""
        if lane.part == self.joins:
            return
        old, new = self._moves[lane.part], self._moves[-1]
        fell = lane.last is not None and lane.last - at > abs(new - old) / 2
        nearer = abs(at + new - self._now) + _APART < abs(at + old - self._now)
        if fell or nearer or (lane.last is None and abs(at + new - self._now) < _APART):
            lane.part = self.joins

    def _release(self) -> Iterator[Any]:
        """What has waited for the part that the video has just begun."""
        for lane in self._others.values():
            held, lane.held = lane.held, deque()
            if held:
                lane.part, lane.last = self.joins, None
            for packet in held:
                yield from self._take(packet)

    def _moved(self, packet: _P, lane: _Lane) -> _P:
        move = self._moves[lane.part]
        if move and packet.time_base:
            _move(packet, round(move / packet.time_base))
        return packet


def _move(packet: AnyPacket, ticks: int) -> None:
    if ticks:
        # One after the other: FFmpeg has no opinion on their order in a packet.
        if packet.pts is not None:
            packet.pts += ticks
        if packet.dts is not None:
            packet.dts += ticks


def _time(packet: AnyPacket) -> Fraction | None:
    """Decoding time in seconds, as the file has it."""
    ticks = packet.dts if packet.dts is not None else packet.pts
    return None if ticks is None or packet.size == 0 else ticks * packet.time_base

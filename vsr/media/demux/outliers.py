"""Single timestamps that are damaged: a packet hours away from those before and behind it.

Transport streams are recorded over the air and from worn tapes, and nothing in them protects a
timestamp (ISO/IEC 13818-1, 2.4.3.7: it has marker bits and no checksum). One that is wrong looks
like two places at which recordings were joined, and would leave a gap of hours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import av

_P = TypeVar("_P", bound="av.Packet[Any]")

__all__ = ["DEEPEST_REORDER", "Outliers"]

# A packet further than this from the one before is looked at together with the one behind.
_ODD = Fraction(1, 2)
# Those before and behind belong together if they are no further apart. A frame is never decoded
# this long before it is shown, unless frames come as slowly as in slide shows.
_NEAR = Fraction(10)
#: No standard reorders frames further than this.
DEEPEST_REORDER = 16
# Of others, such as subtitles, the next packet may be minutes away.
_STEADY = ("video", "audio")


@dataclass(slots=True)
class _Lane:
    """Where a stream is, in its ticks.

    Attributes:
        last: decoding time of the packet before. step: from the one before that.
        shown: how long after it is decoded a packet is shown.
        odd: a packet that waits for the next one.
    """

    last: int | None = None
    step: int = 0
    shown: int = 0
    odd: Any = None


class Outliers:
    """Finds such packets and gives them times between their neighbours'.

    Attributes:
        mended: so many, so far.
    """

    def __init__(self) -> None:
        self.mended = 0
        self._lanes: dict[int, _Lane] = {}

    def through(self, packets: Iterable[_P]) -> Iterator[_P]:
        """The packets; an odd one comes directly before the next one of its stream.

        What is held back when ``packets`` raises an error comes in the next call.
        """
        for packet in packets:
            if packet.stream.type not in _STEADY:
                yield packet
                continue
            lane = self._lanes.setdefault(packet.stream.index, _Lane())
            at = _time(packet)
            odd, lane.odd = lane.odd, None
            if odd is not None:
                if at is not None:
                    self._compare(lane, odd, at)
                self._note(lane, odd, at)
                yield odd
            if at is not None and _is_odd(lane, at, packet):
                lane.odd = packet
                continue
            self._note(lane, packet)
            yield packet
        for lane in self._lanes.values():
            if lane.odd is not None:
                odd, lane.odd = lane.odd, None
                yield odd

    def _compare(self, lane: _Lane, odd: _P, behind: int) -> None:
        """Mend ``odd`` if it lies outside of its neighbours, and these belong together."""
        before, at = lane.last, _time(odd)
        if before is None or at is None or not 0 < behind - before <= _NEAR / odd.time_base:
            return
        # With less than two frames a second, a joined recording's first one may look like it.
        if before < at < behind or (lane.step and behind - at == lane.step):
            return
        gap = behind - before
        place = before + (lane.step if 0 < lane.step < gap else gap // 2)
        # Both times are damaged, or that of decoding alone.
        if odd.pts is not None and abs(odd.pts - at - lane.shown) < abs(
            odd.pts - place - lane.shown
        ):
            odd.pts += place - at
        odd.dts = place
        self.mended += 1

    def _note(self, lane: _Lane, packet: _P, behind: int | None = None) -> None:
        """Remember where the stream is; mend a presentation time alone that is damaged.

        ``behind``: when the next packet is decoded, if that is known.
        """
        at = _time(packet)
        if at is None:
            return
        if packet.pts is not None and packet.dts is not None:
            # At what pace packets come, the next one tells of the first.
            pace = at - lane.last if lane.last is not None else (behind or at) - at
            if _is_near(packet, at, pace):
                lane.shown = packet.pts - at
            else:
                packet.pts = at + lane.shown
                self.mended += 1
        if lane.last is not None and 0 < at - lane.last <= _ODD / packet.time_base:
            lane.step = at - lane.last
        lane.last = at


def _is_odd(lane: _Lane, at: int, packet: av.Packet[Any]) -> bool:
    if lane.last is None:
        return not _is_near(packet, at)
    return abs(at - lane.last) * packet.time_base > _ODD


def _is_near(packet: av.Packet[Any], at: int, pace: int = 0) -> bool:
    """Whether it may be shown so long after it is decoded, at the pace at which packets come."""
    tick: Fraction = packet.time_base
    limit = max(_NEAR / tick, Fraction(DEEPEST_REORDER * pace))
    return packet.pts is None or abs(packet.pts - at) <= limit


def _time(packet: av.Packet[Any]) -> int | None:
    """Decoding time in ticks."""
    ticks = packet.dts if packet.dts is not None else packet.pts
    return None if packet.size == 0 else ticks

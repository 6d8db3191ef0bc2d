"""Times counted in samples, for sound whose own were rounded to something coarser."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from av.packet import Packet
from av.stream import Stream

__all__ = ["SampleClock"]


class SampleClock:
    """Counts the samples of a stream's packets.

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

"""Sound of equal samples in MP4 and MOV: FFmpeg's muxer counts it, so that it can have no gaps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from av.packet import Packet
from av.stream import Stream

from vsr.media.write.copied.packets import fresh_packet

__all__ = ["Uncompressed", "is_uncompressed", "sample_bytes"]

# Bytes that are silence; of all others, zero is.
_SILENCE = {"pcm_u8": 0x80, "pcm_alaw": 0xD5, "pcm_mulaw": 0xFF}
# Apple's ADPCM: 64 samples in 34 bytes of each channel, of which zeros go on at zero.
_IMA = "adpcm_ima_qt"
_IMA_BYTES, _IMA_SAMPLES = 34, 64
# Times that are less wrong than this only tell when a recorder's clock was read; nobody hears it.
_JITTER = Fraction(1, 100)
# Hours that a file does not say anything of are a damaged time.
_LONGEST = 4 * 3600


def is_uncompressed(codec: str) -> bool:
    """Whether MP4 and MOV keep ``codec`` (FFmpeg's name) as a row of samples of one size."""
    return codec.startswith("pcm_") or codec == _IMA


def sample_bytes(codec: str) -> Fraction:
    """Bytes of one sample of one channel of a codec for which :func:`is_uncompressed` holds."""
    if codec == _IMA:
        return Fraction(_IMA_BYTES, _IMA_SAMPLES)
    bits = re.search(r"\d+", codec)
    return Fraction(int(bits[0]) if bits else 8, 8)


class Uncompressed:
    """Counts samples, writes silence where there are none, and cuts what is no whole sample.

    A gap counts as one if the packet behind it goes on from there. Otherwise only the time of a
    single packet is damaged.

    Args:
        stream: of the result.
        codec: FFmpeg's name.
    """

    def __init__(self, stream: Stream, codec: str) -> None:
        context: Any = stream.codec_context
        self._stream = stream
        self._tick = Fraction(1, context.sample_rate)
        self._samples = _IMA_SAMPLES if codec == _IMA else 1
        self._unit = int(sample_bytes(codec) * self._samples * context.layout.nb_channels)
        self._silence = bytes([_SILENCE.get(codec, 0)]) * self._unit
        self._end: int | None = None  # where the written sound ends, in samples
        self._held: Packet[Any] | None = None  # behind a gap
        self._gaps = 0
        self._missing = 0
        self._unlikely = 0
        self._cut = 0

    def take(self, packet: Packet[Any]) -> Iterator[Packet[Any]]:
        """What to write for ``packet``, which has its time in the result; maybe with the next."""
        whole = packet.size - packet.size % self._unit
        if whole < packet.size:
            self._cut += 1
            packet = fresh_packet(packet, bytes(packet)[:whole])
        if not whole:
            return
        at = self._at(packet)
        if self._held is not None:
            goes_on = at >= self._at(self._held) + self._length(self._held) - self._jitter
            yield from self._write_held(fill=goes_on)
        if self._end is not None and at > self._end + self._jitter:
            self._held = packet
        else:
            yield self._write(packet)

    def flush(self) -> Iterator[Packet[Any]]:
        """The last packet, if it lies behind a gap."""
        yield from self._write_held(fill=True)

    def warnings(self, name: str) -> Iterator[str]:
        """What is not as it was in the source; ``name``: of the stream."""
        if self._gaps:
            yield (
                f"{name} has gaps ({self._gaps}, together {float(self._missing * self._tick):.3f} "
                "s), which this container cannot hold, and has silence there instead."
            )
        if self._unlikely:
            yield (
                f"{name} has times ({self._unlikely}) that lie hours behind those before; they "
                "were taken for damaged, and no silence was written."
            )
        if self._cut:
            yield f"{name} has packets ({self._cut}) that end within a sample, which was cut off."

    @property
    def _jitter(self) -> Fraction:
        return _JITTER / self._tick

    def _at(self, packet: Packet[Any]) -> int:
        return round((packet.pts or 0) * packet.time_base / self._tick)

    def _length(self, packet: Packet[Any]) -> int:
        return packet.size // self._unit * self._samples

    def _write_held(self, *, fill: bool) -> Iterator[Packet[Any]]:
        held, self._held = self._held, None
        if held is None:
            return
        gap = self._at(held) - (self._end or 0)
        if fill and gap * self._tick > _LONGEST:
            self._unlikely += 1
        elif fill:
            self._gaps += 1
            self._missing += gap
            units, second = round(gap / self._samples), round(1 / self._tick / self._samples)
            for start in range(0, units, second):
                silence: Packet[Any] = Packet(self._silence * min(second, units - start))
                silence.is_keyframe = True
                yield self._write(silence)
        yield self._write(held)

    def _write(self, packet: Packet[Any]) -> Packet[Any]:
        """``packet`` where the samples before it end, which is where it will be in the file."""
        at = self._at(packet) if self._end is None else self._end
        packet.stream, packet.time_base = self._stream, self._tick
        packet.pts = packet.dts = at
        packet.duration = self._length(packet)
        self._end = at + packet.duration
        return packet

"""Sound that the container cannot hold, decoded and encoded again. Everything else is copied."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, cast

import av
import av.error
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

from vsr.media.write.remux import Tally, shift_ticks
from vsr.media.write.tags import describe_stream
from vsr.types import StreamAction

__all__ = ["AudioLane"]

# Bits per second and channel at which listeners take the result for the source (Opus: the
# codec's own recommendation for transparency; AAC: FFmpeg's encoder needs somewhat more).
_RATES = {"libopus": 80_000, "aac": 112_000}
_COMMON_RATE = 48_000


class AudioLane:
    """Decodes, resamples where the encoder must have it, and encodes; timing is kept.

    Gaps in the source's times are filled with silence, so that sound and picture stay together.

    Args:
        output: the result, whose header is not yet written.
        source: the stream in a second opening of the source; its decoder is used.
        action: of the plan; ``codec`` is the encoder.
        shift: seconds added to every time.
    """

    def __init__(
        self, output: OutputContainer, source: AudioStream, action: StreamAction, shift: Fraction
    ) -> None:
        self.action = action
        self.tally = Tally()
        self._shift = shift
        self._decoder = source.codec_context
        self._refused = 0
        self._next: int | None = None
        self._resampler: AudioResampler | None = None
        rate = _rate(action.codec, self._decoder.sample_rate)
        self.stream = cast(AudioStream, output.add_stream(action.codec, rate=rate))
        context = self.stream.codec_context
        context.layout = action.layout or self._decoder.layout.name
        context.format = _format(action.codec, self._decoder.format.name)
        context.time_base = Fraction(1, rate)
        if action.codec in _RATES:
            context.bit_rate = _RATES[action.codec] * context.layout.nb_channels
        describe_stream(self.stream, action.stream, same_samples=False)

    def take(self, packet: Packet[Any]) -> Iterator[Packet[Any]]:
        """Encoded packets for a packet of the source; packets that do not decode are counted."""
        if packet.size == 0:
            return
        try:
            frames = self._decoder.decode(packet)
        except av.error.FFmpegError:
            self._refused += 1
            return
        for frame in frames:
            yield from self._encode(frame)

    def flush(self) -> Iterator[Packet[Any]]:
        """What decoder, resampler and encoder still hold."""
        for frame in self._decoder.decode(None):
            yield from self._encode(frame)
        if self._resampler is not None:
            for ready in self._resampler.resample(None):
                yield from self._send(ready)
        if self._next is not None:
            yield from self._send(None)

    def warnings(self) -> Iterator[str]:
        """Packets that did not decode."""
        if self._refused:
            yield (
                f"{self._refused} packets of audio stream {self.action.stream.index} "
                "could not be decoded and became silence."
            )

    def _encode(self, frame: AudioFrame) -> Iterator[Packet[Any]]:
        tick = frame.time_base or Fraction(1, frame.sample_rate)
        if frame.pts is None:
            frame.pts = self._next or 0
        else:
            frame.pts += shift_ticks(self._shift, tick)
        self._next = frame.pts + round(Fraction(frame.samples, frame.sample_rate) / tick)
        if self._resampler is None:
            self._resampler = self._new_resampler(begins_early=frame.pts < 0)
        for ready in self._resampler.resample(frame):
            yield from self._send(ready)

    def _new_resampler(self, *, begins_early: bool) -> AudioResampler:
        context = self.stream.codec_context
        options = {"async": "1"}  # fill and cut where times jump, never stretch
        if begins_early:
            options["first_pts"] = "0"  # cut what lies before time zero
        return AudioResampler(context.format, context.layout, context.sample_rate, options=options)

    def _send(self, frame: AudioFrame | None) -> Iterator[Packet[Any]]:
        for packet in self.stream.encode(frame):
            self.tally.add(packet)
            yield packet


def _rate(encoder: str, rate: int) -> int:
    allowed = av.Codec(encoder, "w").audio_rates
    return rate if not allowed or rate in allowed else _COMMON_RATE


def _format(encoder: str, decoded: str) -> str:
    """The encoder's sample format that loses least of ``decoded``: the same, else the widest."""
    allowed = [fmt.name for fmt in av.Codec(encoder, "w").audio_formats or ()]
    plain = decoded.removesuffix("p")
    for name in (decoded, plain, f"{plain}p", "s16" if plain == "u8" else "s32", *allowed):
        if name in allowed:
            return name
    return decoded

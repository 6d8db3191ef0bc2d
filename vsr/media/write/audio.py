"""Sound that the container cannot hold, decoded and encoded again. Everything else is copied."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, cast

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.plane import AudioPlane
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

from vsr.errors import EncodeError
from vsr.media.av_errors import av_errors
from vsr.media.write.remux import Tally, shift_ticks
from vsr.media.write.tags import describe_stream
from vsr.types import StreamAction

__all__ = ["AudioLane"]

# Bits per second and channel at which listeners take the result for the source (Opus: the
# codec's own recommendation for transparency; AAC: FFmpeg's encoder needs somewhat more).
_RATES = {"libopus": 80_000, "aac": 112_000}
_COMMON_RATE = 48_000
_FLOATS = ("flt", "dbl")
# Samples that the resampler gives at a time.
_BLOCK = 1024
# FFmpeg's resampler leaves times that are less wrong than this as they are (min_hard_comp).
_JITTER = Fraction(1, 10)


class AudioLane:
    """Decodes, resamples where the encoder must have it, and encodes; timing is kept.

    Gaps in the source's times are filled with silence, so that sound and picture stay together.
    Broadcasts change their channels in the middle; what is encoded keeps those it began with.

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
        self._next: int | None = None
        self._resampler: AudioResampler | None = None
        self._setup: tuple[str, str, int] | None = None
        self._layouts: list[str] = []
        # When the sound that the encoder has ends, in seconds.
        self._end: Fraction | None = None
        self._too_loud = 0
        rate = _rate(action.codec, self._decoder.sample_rate)
        self.stream = cast(AudioStream, output.add_stream(action.codec, rate=rate))
        context = self.stream.codec_context
        context.layout = action.layout or self._decoder.layout.name
        context.format = _format(action.codec, self._decoder.format.name)
        self._integers = not context.format.name.startswith(_FLOATS)
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
            self.tally.refused += 1
            return
        for frame in frames:
            yield from self._encode(frame)

    def flush(self) -> Iterator[Packet[Any]]:
        """What decoder, resampler and encoder still hold."""
        with av_errors(self._where, "decode the last sound", EncodeError):
            frames = self._decoder.decode(None)
        for frame in frames:
            yield from self._encode(frame)
        yield from self._drain()
        if self._next is not None:
            yield from self._send(None)

    def warnings(self) -> Iterator[str]:
        """Packets that did not decode, channels that changed, samples that were cut."""
        name = f"audio stream {self.action.stream.index}"
        if self.tally.refused:
            silence = " and became silence" if self.tally.packets else ""
            yield f"{self.tally.refused} packets of {name} could not be decoded{silence}."
        if len(self._layouts) > 1:
            layout = self.stream.codec_context.layout.name
            changes = ", ".join(self._layouts)
            yield f"The channels of {name} change ({changes}); the result has {layout} throughout."
        if self._too_loud:
            yield f"{self._too_loud} samples of {name} are beyond full scale and were cut."

    @property
    def _where(self) -> str:
        return f"audio stream {self.action.stream.index}"

    def _encode(self, frame: AudioFrame) -> Iterator[Packet[Any]]:
        tick = frame.time_base or Fraction(1, frame.sample_rate)
        if frame.pts is None:
            frame.pts = self._next or 0
        else:
            frame.pts += shift_ticks(self._shift, tick)
        self._next = frame.pts + round(Fraction(frame.samples, frame.sample_rate) / tick)
        if self._integers and frame.format.name.startswith(_FLOATS):
            self._too_loud += _beyond_full_scale(frame)
        setup = (frame.format.name, frame.layout.name, frame.sample_rate)
        if setup != self._setup:
            yield from self._drain()
            self._resampler = self._new_resampler(frame, tick)
            self._setup = setup
            if frame.layout.name not in self._layouts:
                self._layouts.append(frame.layout.name)
        yield from self._resample(frame)

    def _new_resampler(self, frame: AudioFrame, tick: Fraction) -> AudioResampler:
        """One for frames like ``frame``, the first of them, which gets its time."""
        context = self.stream.codec_context
        options = {"async": "1"}  # fill and cut where times jump, never stretch
        pts = frame.pts or 0
        if self._end is not None:
            # Where the sound before ends, this begins: a gap is filled from there.
            options["first_pts"] = str(round(self._end * frame.sample_rate))
            if abs(pts * tick - self._end) < _JITTER:
                frame.pts = round(self._end / tick)
        elif pts < 0:
            options["first_pts"] = "0"  # cut what lies before time zero
        # With a size of its frames, as PyAV's would hand on what needs no conversion, gaps and all.
        return AudioResampler(
            context.format, context.layout, context.sample_rate, _BLOCK, options=options
        )

    def _drain(self) -> Iterator[Packet[Any]]:
        if self._resampler is not None:
            yield from self._resample(None)
            self._resampler = None

    def _resample(self, frame: AudioFrame | None) -> Iterator[Packet[Any]]:
        if self._resampler is None:
            return
        with av_errors(self._where, "convert the sound", EncodeError):
            ready = self._resampler.resample(frame)
        for piece in ready:
            yield from self._send(piece)

    def _send(self, frame: AudioFrame | None) -> Iterator[Packet[Any]]:
        if frame is not None and frame.pts is not None and frame.time_base is not None:
            length = Fraction(frame.samples, frame.sample_rate)
            self._end = frame.pts * frame.time_base + length
        with av_errors(self._where, "encode the sound", EncodeError):
            packets = self.stream.encode(frame)
        for packet in packets:
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


def _beyond_full_scale(frame: AudioFrame) -> int:
    """How many samples of a float frame no integer holds."""
    # Not frame.planes, which reads on beyond the last where there are eight and more.
    plane: Any = AudioPlane
    channels, planar = frame.layout.nb_channels, frame.format.is_planar
    kind = np.float64 if frame.format.name.startswith("dbl") else np.float32
    count = frame.samples * (1 if planar else channels)
    return sum(
        int((np.abs(np.frombuffer(plane(frame, index), kind, count)) > 1).sum())
        for index in range(channels if planar else 1)
    )

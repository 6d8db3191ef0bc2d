"""Sound whose channels or rate change in the middle, as broadcasts have it, and is converted."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from plan_factory import run, write_plan
from synth import make_clip

from vsr.errors import EncodeError
from vsr.media.write.audio import AudioLane
from vsr.types import StreamAction

# What one packet of AC-3 holds.
_BLOCK = 1536
_Part = tuple[str, int, int]  # layout, sampling rate, packets
_PARTS: tuple[_Part, ...] = (("stereo", 48000, 20), ("5.1(side)", 48000, 20), ("mono", 48000, 10))


def _packets(layout: str, rate: int, count: int) -> list[av.Packet[Any]]:
    """AC-3 with a tone in the first channel and silence in the others."""
    context = av.AudioCodecContext.create("ac3", "w")
    context.sample_rate, context.layout, context.format = rate, layout, "fltp"
    context.time_base, context.bit_rate = Fraction(1, rate), 384_000
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(count * _BLOCK) / rate)
    samples = np.zeros((context.layout.nb_channels, tone.size), np.float32)
    samples[0] = tone
    packets: list[av.Packet[Any]] = []
    for start in range(0, tone.size, _BLOCK):
        piece = np.ascontiguousarray(samples[:, start : start + _BLOCK])
        frame = av.AudioFrame.from_ndarray(piece, "fltp", layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        packets += context.encode(frame)
    return [*packets, *context.encode(None)][:count]


def _broadcast(path: Path, parts: tuple[_Part, ...] = _PARTS, gap: Fraction = Fraction(0)) -> Path:
    """A transport stream whose sound begins after half a second and pauses between the parts."""
    clip = make_clip(path.with_name("plain.ts"), frames=50)
    with av.open(str(clip.path)) as old, av.open(str(path), "w") as new:
        picture = new.add_stream_from_template(old.streams.video[0], opaque=True)
        sound: Any = new.add_stream("ac3", rate=parts[0][1])
        sound.codec_context.layout = parts[0][0]
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = picture
                new.mux(packet)
        time = Fraction(1, 2)
        for layout, rate, count in parts:
            for packet in _packets(layout, rate, count):
                packet.stream, packet.time_base = sound, Fraction(1, 90000)
                packet.pts = packet.dts = round(time * 90000)
                packet.duration = round(Fraction(_BLOCK, rate) * 90000)
                new.mux(packet)
                time += Fraction(_BLOCK, rate)
            time += gap
    return path


def _sound(path: Path) -> tuple[Fraction, np.ndarray]:
    """When it begins, and the samples of the first channel."""
    with av.open(str(path)) as file:
        frames = list(file.decode(audio=0))
    assert frames[0].pts is not None
    assert frames[0].time_base is not None
    return frames[0].pts * frames[0].time_base, np.concatenate([f.to_ndarray()[0] for f in frames])


def _seconds(parts: tuple[_Part, ...]) -> float:
    return sum(count * _BLOCK / rate for _, rate, count in parts)


@pytest.mark.parametrize("gap", [Fraction(0), Fraction(3, 10)])
def test_channels_that_change(gap: Fraction, tmp_path: Path) -> None:
    source, out = _broadcast(tmp_path / "in.ts", gap=gap), tmp_path / "out.webm"
    (start, old) = _sound(source)
    (warning,) = run(write_plan(source, out, codec="vp9")).warnings
    assert "stream 1 change (stereo, 5.1(side), mono); the result has stereo throughout" in warning
    with av.open(str(out)) as file:
        assert file.streams.audio[0].layout.name == "stereo"
    begin, new = _sound(out)
    assert abs(begin - start) <= Fraction(1, 1000)
    silence, at = int(gap * 48000), 0
    assert new.size - old.size == 2 * silence
    for index, (layout, _, count) in enumerate(_PARTS):
        length = count * _BLOCK
        have, want = new[at + index * silence :][:length], old[at:][:length]
        # A mono channel goes to both sides, as loud in all.
        level = np.sqrt(0.5) if layout == "mono" else 1
        # Each part begins with AC-3's fade in.
        np.testing.assert_allclose(have[1200:-1200], level * want[1200:-1200], atol=0.03)
        at += length
        pause = new[at + index * silence :][:silence]
        assert np.abs(pause[1200:-1200]).max(initial=0) < 1e-3


def test_nothing_is_lost_where_the_encoder_keeps_every_sample(tmp_path: Path) -> None:
    """The first part needs no resampler at all, and the last is as the first."""
    parts = (_PARTS[0], _PARTS[1], _PARTS[0])
    source, out = _broadcast(tmp_path / "in.ts", parts), tmp_path / "out.mkv"
    plan = write_plan(source, out)
    action = StreamAction(plan.streams[0].stream, "convert", "pcm_f32le")
    run(write_plan(source, out, actions={1: action}))
    start, old = _sound(source)
    with av.open(str(out)) as file:
        frames = list(file.decode(audio=0))
    new = np.concatenate([f.to_ndarray().reshape(-1, 2)[:, 0] for f in frames])
    assert abs(frames[0].pts * frames[0].time_base - start) <= Fraction(1, 1000)
    # The other channels of 5.1 are nearly silent, and are mixed in.
    np.testing.assert_allclose(new, old, atol=1e-4)


def test_a_rate_that_changes(tmp_path: Path) -> None:
    parts = (("stereo", 48000, 20), ("stereo", 44100, 20), ("stereo", 48000, 10))
    source, out = _broadcast(tmp_path / "in.ts", parts), tmp_path / "out.webm"
    assert run(write_plan(source, out, codec="vp9")).warnings == ()
    _, samples = _sound(out)
    assert abs(samples.size / 48000 - _seconds(parts)) < 1e-3
    # The pitch is the same everywhere: 440 Hz by the number of times it crosses zero.
    for at in (5000, 40000, 65000):
        crossings = np.flatnonzero(np.diff(np.signbit(samples[at : at + 9600])))
        assert (crossings.size - 1) / (np.ptp(crossings) / 48000) / 2 == pytest.approx(440, abs=1)


def test_an_encoder_that_fails_is_an_error_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def encode(self, _: object) -> None:
            raise av.error.ExternalError(1, "no more")

    clip = make_clip(tmp_path / "in.mkv", audio="aac")
    sent = AudioLane._send

    def broken(self: AudioLane, frame: Any) -> Any:
        self.stream = Broken()  # type: ignore[assignment]
        return sent(self, frame)

    monkeypatch.setattr(AudioLane, "_send", broken)
    with pytest.raises(EncodeError, match="cannot encode the sound") as caught:
        run(write_plan(clip.path, tmp_path / "out.webm", codec="vp9"))
    assert caught.value.where == "audio stream 1"

"""Gaps in sound, where containers or converters only count samples: silence as long as they."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from plan_factory import read, run, write_plan
from synth import make_clip

from vsr.errors import VerifyError
from vsr.media.write.copied.uncompressed import Uncompressed
from vsr.media.write.remux import Tally
from vsr.media.write.verify import verify
from vsr.types import FrameBatch, Plan, SidePacket, StreamAction

_RATE = 8000
_MS = Fraction(1, 1000)
_BLOCK = 160  # samples in a packet: 20 ms
_LOUD = 12000
# When packets begin, in ms: sound for 0.2 s, a gap of half a second, and sound again.
_HOLEY = [*range(0, 200, 20), *range(700, 900, 20)]


def _clip(path: Path, times: list[int], codec: str = "pcm_s16le") -> Path:
    """A clip with packets at ``times``, all as loud."""
    clip = make_clip(path.with_name("plain.mkv"), frames=25)
    with av.open(str(clip.path)) as old, av.open(str(path), "w") as new:
        picture = new.add_stream_from_template(old.streams.video[0], opaque=True)
        sound: Any = new.add_stream(codec, rate=_RATE)
        sound.codec_context.layout = "stereo"
        new.start_encoding()
        kind = sound.codec_context.format.name
        packets: list[tuple[Fraction, Any]] = []
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = picture
                packets.append((packet.dts * packet.time_base, packet))
        form = {"u8": np.uint8, "s16": np.int16, "s32": np.int32}[kind]
        loud = {"u8": 128 + _LOUD // 256, "s16": _LOUD, "s32": _LOUD << 16}[kind]
        for time in times:
            frame = av.AudioFrame.from_ndarray(np.full((1, 2 * _BLOCK), loud, form), kind, "stereo")
            frame.sample_rate = _RATE
            for packet in sound.encode(frame):
                packet.pts = packet.dts = time
                packet.time_base, packet.stream = _MS, sound
                packets.append((time * _MS, packet))
        for _, packet in sorted(packets, key=lambda item: item[0]):
            new.mux(packet)
    return path


def _sound(path: Path) -> np.ndarray:
    """Samples of the first channel, of full scale; what lies before and between is silent."""
    pieces: dict[int, np.ndarray] = {}
    with av.open(str(path)) as file:
        for frame in file.decode(audio=0):
            piece = frame.to_ndarray()
            piece = piece[0] if frame.format.is_planar else piece.reshape(-1, 2)[:, 0]
            level = {"u": 128.0, "i": 2.0 ** (8 * piece.itemsize - 1), "f": 1.0}[piece.dtype.kind]
            values = piece / level - (piece.dtype.kind == "u")
            pieces[round(frame.pts * frame.time_base * frame.sample_rate)] = values
    samples = np.zeros(max(at + piece.size for at, piece in pieces.items()))
    for at, piece in pieces.items():
        samples[at : at + piece.size] = piece
    return samples


def _blocks(samples: np.ndarray) -> list[int]:
    """When blocks of 20 ms begin that are loud from end to end, in ms."""
    rows = samples[: samples.size // _BLOCK * _BLOCK].reshape(-1, _BLOCK)
    loud = np.abs(rows) > 0.3
    assert (loud.all(1) == loud.any(1)).all()
    assert np.abs(rows[~loud.any(1)]).max(initial=0) < 1e-3
    return [20 * int(row) for row in np.flatnonzero(loud.any(1))]


@pytest.mark.parametrize(("codec", "box"), [
    ("pcm_s16le", "mp4"), ("pcm_s24le", "mp4"), ("pcm_u8", "mov"), ("pcm_s32be", "mov"),
])  # fmt: skip
def test_gaps_in_pcm_become_silence_in_mp4_and_mov(codec: str, box: str, tmp_path: Path) -> None:
    source, out = _clip(tmp_path / "in.mkv", _HOLEY, codec), tmp_path / f"out.{box}"
    assert _blocks(_sound(source)) == _HOLEY
    (warning,) = run(write_plan(source, out)).warnings
    assert "Audio stream 1 has gaps (1, together 0.500 s), which this container cannot" in warning
    assert _blocks(_sound(out)) == _HOLEY
    with av.open(str(out)) as file:
        sound = file.streams.audio[0]
        assert sound.codec.canonical_name == codec
        sizes = sum(p.size for p in file.demux(sound))
        width = int(codec[5:].strip("lbe")) // 8
        assert sizes == 2 * width * 900 * _RATE // 1000


@pytest.mark.parametrize(("codec", "silence"), [("pcm_alaw", 0xD5), ("pcm_mulaw", 0xFF)])
def test_silence_of_telephones(codec: str, silence: int, tmp_path: Path) -> None:
    with av.open(str(tmp_path / "x.mov"), "w") as file:
        stream: Any = file.add_stream(codec, rate=_RATE)
        stream.codec_context.layout = "mono"
        lane = Uncompressed(stream, codec)
        written = []
        for time in (0, 100, 120):
            packet: Any = av.Packet(bytes([1] * _BLOCK))
            packet.pts = packet.dts = time
            packet.time_base = _MS
            written += lane.take(packet)
        data = b"".join(bytes(packet) for packet in [*written, *lane.flush()])
    assert data == b"\1" * _BLOCK + bytes([silence]) * 4 * _BLOCK + b"\1" * 2 * _BLOCK


def test_apples_adpcm_gets_blocks_of_silence(tmp_path: Path) -> None:
    out = tmp_path / "x.mov"
    with av.open(str(out), "w") as file:
        stream: Any = file.add_stream("adpcm_ima_qt", rate=_RATE)
        stream.codec_context.layout = "mono"
        file.start_encoding()
        lane = Uncompressed(stream, "adpcm_ima_qt")
        for time in (0, 1000, 1008):
            packet: Any = av.Packet(b"\x20\0" + b"\x77" * 32)
            packet.pts = packet.dts = time
            packet.time_base = _MS
            for ready in lane.take(packet):
                file.mux(ready)
    with av.open(str(out)) as file:
        samples = np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])
    blocks = samples.reshape(-1, 64)
    assert blocks.shape[0] == 3 + 124  # 992 ms of silence, to the block
    assert not blocks[1:125].any()
    assert all(blocks[at].any() for at in (0, 125, 126))


@pytest.mark.parametrize("late", [30_000, 86_400_000])
def test_one_damaged_time_is_no_gap(late: int, tmp_path: Path) -> None:
    """What comes behind it goes on from before it."""
    times = list(range(0, 400, 20))
    plan = write_plan(_clip(tmp_path / "in.mkv", times), tmp_path / "out.mp4")

    def damaged(plan: Plan) -> Iterator[FrameBatch | SidePacket]:
        for item in read(plan):
            if isinstance(item, SidePacket) and item.packet.pts == 140:
                item.packet.pts = item.packet.dts = late
            yield item

    (warning,) = run(plan, damaged).warnings
    assert "1 packets of audio stream 1 had times out of order" in warning
    assert _blocks(_sound(Path(plan.destination))) == times


def test_days_of_silence_are_not_believed(tmp_path: Path) -> None:
    """All packets from one on say that a day has passed."""
    plan = write_plan(_clip(tmp_path / "in.mkv", _HOLEY), tmp_path / "out.mp4")

    def damaged(plan: Plan) -> Iterator[FrameBatch | SidePacket]:
        for item in read(plan):
            if isinstance(item, SidePacket) and item.packet.pts is not None:
                late = 86_400_000 if item.packet.pts >= 700 else 0
                item.packet.pts += late
                item.packet.dts += late
            yield item

    (warning,) = run(plan, damaged).warnings
    assert "Audio stream 1 has times (10) that lie hours behind those before" in warning
    assert _blocks(_sound(Path(plan.destination))) == list(range(0, 400, 20))


def test_rounded_times_are_no_gaps(tmp_path: Path) -> None:
    """Recorders' clocks and Matroska's milliseconds leave times a little beside the samples."""
    times = [time + (7 * time) % 9 for time in range(0, 400, 20)]
    source, out = _clip(tmp_path / "in.mkv", times), tmp_path / "out.mov"
    assert run(write_plan(source, out)).warnings == ()
    assert _blocks(_sound(out)) == list(range(0, 400, 20))


@pytest.mark.parametrize("encoder", ["flac", "pcm_s16le"])
def test_gaps_are_filled_where_nothing_needs_conversion(encoder: str, tmp_path: Path) -> None:
    source, out = _clip(tmp_path / "in.mkv", _HOLEY), tmp_path / "out.mkv"
    (sound,) = write_plan(source, out).streams
    run(write_plan(source, out, actions={1: StreamAction(sound.stream, "convert", encoder)}))
    assert _blocks(_sound(out)) == _HOLEY
    with av.open(str(out)) as file:
        samples = sum(frame.samples for frame in file.decode(audio=0))
    assert samples == 900 * _RATE // 1000


def test_sound_that_ends_early_is_found(tmp_path: Path) -> None:
    source = _clip(tmp_path / "in.mkv", _HOLEY)
    plan = write_plan(source, tmp_path / "out.mp4")
    run(plan)

    class Lane:
        """What the source says about the result's sound."""

        def __init__(self, file: Any) -> None:
            (self.action,), self.stream = plan.streams, file.streams[1]
            self.tally: Any = None

    with av.open(plan.destination) as file:
        lane: Any = Lane(file)
        times = [p.pts for p in file.demux(video=0) if p.size]
        base = file.streams.video[0].time_base
        size = 2 * 2 * 900 * _RATE // 1000
        for end, fine in ((0.9, True), (1.4, False)):
            lane.tally = Tally(1, size, Fraction(0), (Fraction(end) - Fraction(1, 50), 640))
            if fine:
                verify(Path(plan.destination), plan, 0, sorted(times), base, [lane])
            else:
                with pytest.raises(VerifyError, match=r"audio stream 1 ends at 0.900 s instead of"):
                    verify(Path(plan.destination), plan, 0, sorted(times), base, [lane])

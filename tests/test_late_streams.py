"""Streams that begin late in program and transport streams: carried, or named."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from synth import make_clip

import vsr
from pipelines.upscale import plan_upscale
from vsr.errors import VsrError
from vsr.media.demux import depth
from vsr.media.demux.depth import demuxed, later_streams
from vsr.media.probe import probe
from vsr.media.source import open_source
from vsr.media.write.template import dvd_subtitle_template

RATE, SAMPLES = 48000, 1152


def record(path: Path, kind: str, seconds: int, *late: float) -> Path:
    """Video, and a sound that begins at each of ``late`` seconds, 0 before those."""
    with av.open(str(path), "w", format=kind) as out:
        video = out.add_stream("mpeg2video", rate=25)
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        begins = (0.0, *late)
        sounds = [out.add_stream("mp2", rate=RATE, layout="stereo") for _ in begins]
        at = [int(begin * RATE / SAMPLES) for begin in begins]
        for index in range(25 * seconds):
            picture = np.full((32, 32, 3), index % 256, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(video.encode(frame))
            for number, sound in enumerate(sounds):
                while at[number] * SAMPLES * 25 < index * RATE:
                    silence = np.zeros((1, 2 * SAMPLES), np.int16)
                    samples = av.AudioFrame.from_ndarray(silence, format="s16", layout="stereo")
                    samples.sample_rate, samples.time_base = RATE, Fraction(1, RATE)
                    samples.pts = at[number] * SAMPLES
                    out.mux(sound.encode(samples))
                    at[number] += 1
        for stream in (video, *sounds):
            out.mux(stream.encode(None))
    return path


def counted(path: Path) -> dict[int, int]:
    """Packets of each stream, as FFmpeg finds them if it looks into all of the file."""
    options = {"probesize": "100000000", "analyzeduration": "1000000000"}
    with av.open(str(path), options=options) as container:
        found = dict.fromkeys(range(len(container.streams)), 0)
        for packet in container.demux():
            found[packet.stream.index] += packet.size > 0
    return found


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of recordings whose second sound begins at 9 s: in a list, or not in any."""
    folder = tmp_path_factory.mktemp("late")
    record(folder / "listed.ts", "mpegts", 11, 9.0)
    record(folder / "listed.vob", "vob", 11, 9.0)
    first = record(folder / "first.mpg", "mpeg", 9)
    second = record(folder / "second.mpg", "mpeg", 2, 0.0)
    # FFmpeg also looks at the end, for the length.
    parts = (first, second, first)
    (folder / "unlisted.mpg").write_bytes(b"".join(part.read_bytes() for part in parts))
    return folder


@pytest.mark.parametrize("name", ["listed.ts", "listed.vob", "unlisted.mpg"])
def test_a_late_sound_is_carried(late: Path, tmp_path: Path, name: str) -> None:
    path = late / name
    with av.open(str(path)) as container:
        known = [s for s in container.streams.audio if s.codec_context.sample_rate]
        assert len(known) == 1, "FFmpeg alone does not see it"
    info = probe(str(path))
    assert [(s.kind, s.sample_rate, s.channels) for s in info.streams[1:]] == [
        ("audio", RATE, 2),
        ("audio", RATE, 2),
    ]
    report = vsr.upscale(str(path), str(tmp_path / "out.mkv"), model="bicubic", device="cpu")
    packets = counted(path)
    assert report.frames_out == packets[0] == (500 if name == "unlisted.mpg" else 275)
    assert counted(tmp_path / "out.mkv") == packets
    assert not any("stayed behind" in warning for warning in report.warnings)


def test_it_is_there_for_a_cut_too(late: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.mkv"
    vsr.upscale(
        str(late / "listed.ts"), str(cut), model="bicubic", device="cpu", start=8.0, frames=50
    )
    with av.open(str(cut)) as container:
        sounds: list[list[float]] = [[], []]
        for packet in container.demux(audio=(0, 1)):
            if packet.pts is not None:
                sounds[packet.stream.index - 1].append(float(packet.pts * packet.time_base))
    assert abs(sounds[0][0]) < 0.05
    assert abs(sounds[1][0] - 1) < 0.05


def test_what_begins_too_far_behind_is_named(
    late: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(depth, "LOOK", 4096)
    monkeypatch.setattr(depth, "_KNOWN", {})
    path = late / "unlisted.mpg"
    report = vsr.upscale(str(path), str(tmp_path / "out.mkv"), model="bicubic", device="cpu")
    assert report.frames_out == 500
    [warning] = [w for w in report.warnings if "stayed behind" in w]
    assert warning.startswith("One stream begins further into the file")


def test_a_sound_of_which_nothing_is_known_is_left_out(
    late: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(depth, "LOOK", 4096)
    monkeypatch.setattr(depth, "_KNOWN", {})
    path, out = str(late / "listed.ts"), str(tmp_path / "out.mkv")
    plan = plan_upscale(path, out, model="bicubic", device="cpu")
    assert [action.action for action in plan.streams] == ["copy", "drop"]
    assert any(
        "nothing that was seen of it tells its sample rate" in loss for loss in plan.given_up
    )
    assert vsr.upscale(path, out, model="bicubic", device="cpu").frames_out == 275
    with pytest.raises(VsrError, match="tells its sample rate"):
        vsr.upscale(path, str(tmp_path / "b.mkv"), model="bicubic", device="cpu", strict=True)


def test_others_are_opened_as_usual(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mkv", frames=3, audio="aac").path
    with open_source(str(path)) as container:
        assert depth.open_options(str(path), str(path), container) == {}
        assert later_streams(container) == 0
    short = record(tmp_path / "short.mpg", "mpeg", 1)
    with open_source(str(short)) as container:
        assert depth.open_options(str(short), str(short), container) == {}


def test_an_error_of_its_own_is_not_swallowed(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.ts", frames=3).path

    class Broken:
        def __init__(self, container: av.container.InputContainer) -> None:
            self._container = container

        def demux(self, *streams: Any) -> object:
            yield from self._container.demux(*streams)
            raise IndexError

        def __getattr__(self, name: str) -> object:
            return getattr(self._container, name)

    with av.open(str(path)) as container, pytest.raises(IndexError):
        list(demuxed(Broken(container), []))  # type: ignore[arg-type]


def dvd(path: Path, size: tuple[int, int], first: int) -> Path:
    """A program stream with DVD subtitles, of which the first is at frame ``first``."""
    # Size of the packet and place of its commands, four bytes of picture, and the commands: show
    # it, colours, contrast, place, where the fields are; then none, and the end.
    commands = bytes.fromhex("0000 0008 01 03 3210 04 fff0 05 000001 000001 06 0004 0006 ff")
    packet = (8 + len(commands)).to_bytes(2, "big") + b"\0\x08" + b"\x40\x40\x40\x40" + commands
    with (
        dvd_subtitle_template(b"palette: 000000\n") as template,
        av.open(str(path), "w", format="vob") as out,
    ):
        video = out.add_stream("mpeg2video", rate=25)
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        lines = out.add_stream_from_template(template, opaque=True)
        noise = np.random.default_rng(0)  # the muxer puts two lines into one packet else
        for index in range(first + 30):
            picture = noise.integers(0, 256, (size[1], size[0], 3), np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(video.encode(frame))
            if index in (first, first + 10):
                line = av.Packet(packet)
                line.stream, line.time_base = lines, Fraction(1, 25)
                line.pts = line.dts = index
                line.duration = 5
                out.mux(line)
        out.mux(video.encode(None))
    return path


@pytest.mark.parametrize(
    ("size", "first", "canvas"), [((96, 64), 240, b"96x64"), ((32, 480), 5, b"720x480")]
)
def test_dvd_subtitles_say_what_picture_they_are_in(
    tmp_path: Path, size: tuple[int, int], first: int, canvas: bytes
) -> None:
    path = dvd(tmp_path / "a.vob", size, first)
    report = vsr.upscale(str(path), str(tmp_path / "out.mkv"), model="bicubic", device="cpu")
    assert report.frames_out == first + 30
    with av.open(str(tmp_path / "out.mkv")) as container:
        context = container.streams.subtitles[0].codec_context
        assert context.name == "dvdsub"
        assert b"size: " + canvas + b"\n" in (context.extradata or b"")
        packets = [p for p in container.demux(subtitles=0) if p.size]
    with av.open(str(path), options={"probesize": "100000000"}) as container:
        own = [p for p in container.demux(subtitles=0) if p.size]
    assert len(packets) == 2
    assert [bytes(p) for p in packets] == [bytes(p) for p in own]
    # What says so already is left as it is.
    again = str(tmp_path / "again.mkv")
    vsr.upscale(str(tmp_path / "out.mkv"), again, model="bicubic", device="cpu")
    with av.open(again) as container:
        assert container.streams.subtitles[0].codec_context.extradata == context.extradata

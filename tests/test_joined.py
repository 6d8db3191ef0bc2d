"""Recordings that were joined: timestamps begin anew, and go on in what is read of them."""

from __future__ import annotations

import shutil
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from independent import decode_frames
from synth import make_clip

import vsr
from pipelines.upscale import plan_upscale, upscale
from vsr.media.demux.continuity import Continuity
from vsr.media.probe import probe
from vsr.media.read.part import Part, locate
from vsr.media.read.reader import ReadRequest, open_reader
from vsr.media.read.scan import scan_frames
from vsr.media.read.timestamps import shown_times, snap_trim
from vsr.types import FrameBatch, SidePacket, Trim

FRAMES = 40
Read = tuple[list[int], list[Any], list[str]]
STEP = 3600  # ticks of 90 kHz at 25 frames/s


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transport stream with B-frames, key frames every ten, and sound."""
    path = tmp_path_factory.mktemp("joined") / "part.ts"
    make_clip(path, frames=FRAMES, audio="aac", options={"g": "10", "bf": "2"})
    return path


@pytest.fixture(scope="module")
def joined(part: Path) -> Path:
    """Three of it, one behind the other."""
    path = part.with_name("joined.ts")
    with path.open("wb") as out:
        for _ in range(3):
            out.write(part.read_bytes())
    return path


def read(path: Path, trim: Trim | None = None) -> Read:
    """Timestamps of the frames, side packets, and warnings."""
    info = probe(str(path))
    streams = tuple(s.index for s in info.streams if s.kind == "audio")
    request = ReadRequest(
        str(path), info.videos[0], batch=4, trim=trim or Trim(), side_streams=streams
    )
    pts: list[int] = []
    side: list[Any] = []
    with open_reader("pyav", request) as reader:
        for item in reader:
            if isinstance(item, FrameBatch):
                pts += item.pts
            elif isinstance(item, SidePacket):
                side.append(item.packet)
        return pts, side, reader.stats.warnings


def test_frames_and_sound_go_on(part: Path, joined: Path) -> None:
    alone, sound, warnings = read(part)
    assert not any("begin anew" in warning for warning in warnings)
    pts, side, warnings = read(joined)
    assert pts == list(range(alone[0], alone[0] + 3 * FRAMES * STEP, STEP))
    assert any("begin anew at 2 places" in warning for warning in warnings)
    assert len(side) == 3 * len(sound)
    times = [packet.pts * packet.time_base for packet in side]
    assert times == sorted(times)
    # Each part's sound is where it is beside its pictures when it is alone.
    move = FRAMES * STEP * Fraction(1, 90000)
    own = [packet.pts * packet.time_base for packet in sound]
    assert times == [time + n * move for n in range(3) for time in own]


@pytest.mark.parametrize("first", [0, 7, 38, 39, 40, 41, 75, 100, 119])
def test_a_part_is_the_same_frames_and_sound(joined: Path, first: int) -> None:
    pts, side, _ = read(joined)
    tick = Fraction(1, 90000)
    count = min(9, 3 * FRAMES - first)
    trim = snap_trim(str(joined), probe(joined).videos[0], start=first * STEP * tick, frames=count)
    found, packets, _ = read(joined, trim)
    assert found == pts[first : first + count]
    begin = pts[first] * tick
    end = pts[first + count] * tick if first + count < len(pts) else Fraction(10**6)
    times = [p.pts for p in side if not first or p.pts * tick >= begin]
    wanted = [pts for pts in times if pts * tick < end]
    assert [packet.pts for packet in packets] == wanted


def test_the_pixels_are_those_of_the_place(joined: Path, part: Path) -> None:
    info = probe(str(joined))
    trim = snap_trim(str(joined), info.videos[0], start=Fraction(FRAMES + 13, 25), frames=1)
    request = ReadRequest(str(joined), info.videos[0], trim=trim)
    with open_reader("pyav", request) as reader:
        (batch,) = [item for item in reader if isinstance(item, FrameBatch)]
    with av.open(str(part)) as alone:
        frame = [f.to_ndarray()[:48] for f in alone.decode(video=0)][13]
    np.testing.assert_array_equal(batch.planes[0][0].numpy(), frame)


def test_who_scans_sees_the_same_times(joined: Path) -> None:
    pts, _, _ = read(joined)
    video = probe(str(joined)).videos[0]
    assert list(shown_times(str(joined), video)[0]) == pts
    scan = scan_frames(str(joined), video, Trim())
    assert list(scan.pts) == pts
    assert scan.problem == "timestamps begin anew in the middle of the file"
    assert any("begin anew at 2 places" in note for note in scan.notes)
    assert scan_frames(str(joined), video, Trim(frames=5)).problem  # the others may mislead a seek
    assert locate(str(joined), video, Part(first=70, stop=80)) is None


def test_upscaled_whole_and_cut(joined: Path, tmp_path: Path) -> None:
    report = vsr.upscale(str(joined), str(tmp_path / "whole.mkv"), model="bicubic", device="cpu")
    assert report.frames_out == 3 * FRAMES
    assert any("begin anew" in warning for warning in report.warnings)
    times = decode_frames(tmp_path / "whole.mkv").times
    assert {round(1000 * (b - a)) for a, b in pairwise(times)} == {40}
    cut = vsr.upscale(
        str(joined), str(tmp_path / "cut.mp4"), model="bicubic", device="cpu", start=2.0, frames=50
    )
    assert cut.frames_out == 50
    with av.open(str(tmp_path / "cut.mp4")) as result:
        sound = sum(frame.samples for frame in result.decode(audio=0))
        rate = result.streams.audio[0].rate
    assert abs(sound / rate - 2.0) < 0.1
    assert plan_upscale(str(joined), str(tmp_path / "x.mkv")).trim == Trim()


def test_other_formats_are_left_alone(part: Path, tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mkv", frames=3).path
    for file, possible in ((path, False), (part, True)):
        with av.open(str(file)) as container:
            assert Continuity(container, 0).possible == possible


def test_a_recording_with_its_sound_far_behind(part: Path, tmp_path: Path) -> None:
    """Streams end and begin at different places of the file."""
    late = tmp_path / "late.ts"
    with av.open(str(part)) as source, av.open(str(late), "w") as out:
        streams = [out.add_stream_from_template(stream) for stream in source.streams]
        for packet in source.demux():
            if packet.size:
                if packet.stream.type == "audio":
                    packet.pts += 30000
                    packet.dts += 30000
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    twice = tmp_path / "twice.ts"
    with twice.open("wb") as whole:
        for _ in range(2):
            with late.open("rb") as one:
                shutil.copyfileobj(one, whole)
    alone, sound, _ = read(late)
    pts, side, _ = read(twice)
    assert pts == list(range(alone[0], alone[0] + 2 * FRAMES * STEP, STEP))
    assert len(side) == 2 * len(sound)
    move = FRAMES * STEP
    own = [packet.pts for packet in sound]
    assert [packet.pts for packet in side] == own + [time + move for time in own]


def test_sound_from_before_time_zero_is_not_a_day_late(tmp_path: Path) -> None:
    """Its first packet has a time just below 2**33 ticks."""
    path = make_clip(tmp_path / "long.ts", frames=300, audio="aac").path
    with av.open(str(path)) as container:
        raw = [packet.pts for packet in container.demux(audio=0) if packet.size]
    assert raw[0] > 1 << 32 > raw[1]
    _, side, _ = read(path)
    times = [packet.pts for packet in side]
    assert times == [raw[0] - (1 << 33), *raw[1:]]
    assert times == sorted(times)


def _later(part: Path, seconds: int) -> Path:
    """A copy of the recording whose clock stands so much later."""
    path = part.with_name(f"later{seconds}.ts")
    with av.open(str(part)) as old, av.open(str(path), "w") as new:
        streams = [new.add_stream_from_template(s, opaque=True) for s in old.streams]
        for packet in old.demux():
            if packet.size and packet.pts is not None:
                ticks = round(seconds / packet.time_base)
                packet.pts, packet.dts = packet.pts + ticks, (packet.dts or 0) + ticks
                packet.stream = streams[packet.stream_index]
                new.mux(packet)
    return path


def test_a_jump_forward_is_said_and_is_no_matter_of_the_frame_rate(
    part: Path, tmp_path: Path
) -> None:
    path = tmp_path / "jump.ts"
    path.write_bytes(part.read_bytes() + _later(part, 100).read_bytes())
    video = probe(path).videos[0]
    assert (video.average_rate, video.variable_rate) == (25, False)
    assert (video.frames, video.frames_exact) == (2 * FRAMES, True)
    report = upscale(path, tmp_path / "out.mkv", 2, model="bicubic")
    # One after the other, 40 frames of 40 ms would take 1.6 s of the hundred.
    assert report.warnings == (
        "The timestamps jump at one place; at the file's frame rate about 2460 frames, 98.40 s, "
        "are missing there.",
    )


def test_what_begins_is_the_first_part_and_not_the_one_of_the_earliest_clock(
    part: Path, tmp_path: Path
) -> None:
    path, later = tmp_path / "back.ts", _later(part, 100)
    path.write_bytes(later.read_bytes() + part.read_bytes())
    video, alone = probe(path).videos[0], probe(later).videos[0]
    assert video.start == alone.start
    assert (video.average_rate, video.variable_rate) == (25, False)
    assert (video.frames, video.frames_exact) == (2 * FRAMES, True)
    out = tmp_path / "out.mkv"
    upscale(path, out, 2, model="bicubic")
    with av.open(str(out)) as file:
        times = [frame.pts for frame in file.decode(video=0)]
    with av.open(str(out)) as file:
        sound = [packet.pts for packet in file.demux(audio=0) if packet.size]
    # Its clock stood at more than ten seconds, so that the result begins at zero.
    assert (times[0] or 0) < 100
    # FFmpeg takes the second part's times, a minute and more below, for a day later.
    assert {b - a for a, b in pairwise(times)} == {40}
    assert abs((sound[-1] or 0) - (times[-1] or 0)) < 100

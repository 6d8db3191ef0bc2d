"""Recordings whose clock stood anywhere when they began: results begin at zero."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest
from media_factory import media, plan_for, stream, video
from synth import make_clip

import vsr
from vsr.types import Trim

TICKS = Fraction(1, 90_000)
HOURS = 50_000 * 90_000


def recording(folder: Path, seconds: int) -> Path:
    """A second of pictures and sound whose clock begins at so many seconds."""
    plain = folder / "plain.ts"
    make_clip(plain, frames=25, audio="aac", options={"g": "10", "bf": "2"})
    late = folder / "late.ts"
    options = {"output_ts_offset": str(seconds)}
    with av.open(str(plain)) as source, av.open(str(late), "w", options=options) as target:
        copies = {s.index: target.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = copies[packet.stream.index]
                target.mux(packet)
    return late


def starts(path: Path) -> tuple[Fraction, Fraction]:
    """When pictures and sound begin, in seconds."""
    with av.open(str(path)) as container:
        first = {}
        for packet in container.demux():
            if packet.pts is not None:
                at = packet.pts * packet.time_base
                kind = packet.stream.type
                first[kind] = min(first.get(kind, at), at)
    return first["video"], first["audio"]


@pytest.mark.parametrize("ending", ["mkv", "mp4"])
def test_the_result_of_a_late_clock_begins_at_zero(ending: str, tmp_path: Path) -> None:
    source = recording(tmp_path, 50_000)
    shown, heard = starts(source)
    assert min(shown, heard) >= 50_000
    out = tmp_path / f"out.{ending}"
    report = vsr.upscale(str(source), str(out), model="bicubic")
    assert report.frames_out == 25
    video_at, sound_at = starts(out)
    assert min(video_at, sound_at) >= 0
    # Pictures and sound lie to each other as they did, to a packet of sound that primes it.
    assert abs((video_at - sound_at) - (shown - heard)) < Fraction(3, 100)
    assert max(video_at, sound_at) == pytest.approx(abs(shown - heard), abs=0.002)
    with av.open(str(out)) as container:
        assert container.duration / 1e6 == pytest.approx(1, abs=0.2)


def test_a_start_that_somebody_may_have_meant_stays(tmp_path: Path) -> None:
    source = recording(tmp_path, 3)
    out = tmp_path / "out.mkv"
    vsr.upscale(str(source), str(out), model="bicubic")
    assert starts(out)[0] == pytest.approx(float(starts(source)[0]), abs=0.001)


def test_the_first_of_all_streams_begins_at_zero() -> None:
    late = video(start=HOURS, time_base=TICKS)
    sound = stream(1, "audio", "aac", start=48_000 * 50_000 - 4800)
    # A stream of another clock does not count.
    other = stream(2, "subtitle", "dvb_subtitle", start=48)
    info = media(late, sound, other, container="mpegts", path="in.ts")
    plan = plan_for(info, destination="out.mkv")
    assert plan.time_shift == -(HOURS - 9000) * TICKS
    assert any(r.topic == "start" and "clock" in r.why for r in plan.reasons)
    trimmed = plan_for(info, destination="out.mkv", trim=Trim(start=HOURS + 900))
    assert trimmed.time_shift == -(HOURS + 900) * TICKS


@pytest.mark.parametrize("container", ["matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "flv"])
def test_files_of_other_kinds_keep_their_times(container: str) -> None:
    info = media(video(start=HOURS, time_base=TICKS), container=container)
    assert plan_for(info).time_shift == 0


def test_what_begins_a_little_before_a_picture_below_zero_is_kept() -> None:
    info = media(video(start=-9000), stream(1, "audio", "aac", start=-5760))
    assert plan_for(info).time_shift == Fraction(12, 100)
    info = media(video(start=-9000), stream(1, "audio", "aac", start=-12 * 48000))
    assert plan_for(info).time_shift == Fraction(1, 10)  # another clock

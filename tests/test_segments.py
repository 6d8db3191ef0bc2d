"""Jobs in segments: the result is the same however it was made, and however often that failed."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from dying import dies
from independent import decode_frames
from segment_jobs import assert_same, plan_for
from synth import make_clip, picture, video_frame

from pipelines.events import Event, Warned
from pipelines.segments.cut import cut_job
from pipelines.segments.devices import parse_devices
from pipelines.segments.ledger import ledger_folder
from pipelines.segments.pool import Pool
from pipelines.segments.worker import make_segment
from pipelines.upscale import run_upscale, upscale
from vsr.errors import BackendError, UsageError, VerifyError
from vsr.media.segments.packet_file import PacketFile
from vsr.types import Segment

LOSSLESS = [
    ("ffv1", ".mkv", {}),
    ("h264", ".mp4", {"quality": 0, "speed": "ultrafast"}),
    ("hevc", ".mp4", {"speed": "ultrafast", "options": (("x265-params", "lossless=1"),)}),
    ("vp9", ".webm", {"quality": 0, "options": (("lossless", "1"), ("deadline", "realtime"))}),
]


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(("codec", "ending", "wishes"), LOSSLESS, ids=[c[0] for c in LOSSLESS])
def test_joined_segments_equal_one_encode(
    codec: str, ending: str, wishes: dict[str, Any], tmp_path: Path
) -> None:
    # Irregular times, B-frames and a late beginning: what decoding times are easily wrong with.
    pts = [40 + 7 * i + (i * i) % 5 for i in range(30)]
    clip = make_clip(
        tmp_path / "in.mkv",
        frames=30,
        pts=pts,
        time_base=Fraction(1, 100),
        audio="libopus",
        options={"g": "9", "bf": "2"},
    )
    results = []
    for name, resume in (("joined", True), ("through", False)):
        plan = plan_for(clip.path, tmp_path / f"{name}{ending}", codec=codec, **wishes)
        report = run_upscale(plan, resume=resume)
        assert (report.segments > 1) == resume
        assert (report.frames_in, report.frames_out, report.verified) == (30, 30, True)
        results.append(Path(plan.destination))
    assert_same(*results, "a:0")
    assert decode_frames(results[0]).times == clip.times
    assert not list(tmp_path.glob("*.vsr"))


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(("codec", "ending"), [("av1", ".mp4"), ("prores", ".mov")])
def test_other_codecs_are_joined_too(codec: str, ending: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mkv", frames=20, width=64, height=64)
    report = run_upscale(plan_for(clip.path, tmp_path / f"out{ending}", codec=codec))
    assert (report.segments, report.frames_out) == (3, 20)
    found = decode_frames(tmp_path / f"out{ending}")
    assert found.times == clip.times
    assert len(set(found.hashes)) == 20


@pytest.mark.usefixtures("short")
def test_a_part_of_a_file_is_cut_as_well(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=60, audio="aac", options={"g": "10", "bf": "2"})
    results = []
    for name, resume in (("joined", True), ("through", False)):
        wishes = {"start": Fraction("0.52"), "end": Fraction("2.1"), "frames": 33, "quality": 0}
        plan = plan_for(clip.path, tmp_path / f"{name}.mp4", **wishes)
        assert run_upscale(plan, resume=resume).frames_out == 33
        results.append(Path(plan.destination))
    assert_same(*results, "a:0")


@pytest.mark.usefixtures("short")
def test_interlaced_video_is_deinterlaced_across_borders(tmp_path: Path) -> None:
    clip = make_clip(
        tmp_path / "in.mkv",
        frames=25,
        codec="libx264",
        options={"x264-params": "tff=1", "g": "10"},
    )
    results = []
    for name, resume in (("joined", True), ("through", False)):
        plan = plan_for(clip.path, tmp_path / f"{name}.mkv", codec="ffv1")
        assert plan.deinterlace
        assert (run_upscale(plan, resume=resume).segments > 1) == resume
        results.append(Path(plan.destination))
    assert_same(*results)


def test_borders_are_key_frames_where_there_are_any(tmp_path: Path) -> None:
    # At one frame a second a segment is about ten frames.
    options = {"x264-params": "keyint=11:min-keyint=11:scenecut=0:open-gop=0"}
    clip = make_clip(tmp_path / "in.mp4", frames=60, rate=1, options=options)
    plan = plan_for(clip.path, tmp_path / "out.mp4")
    cut = cut_job(plan)
    assert [segment.first for segment in cut.segments] == [0, 11, 22, 33, 44, 55]
    assert sum(segment.frames or 0 for segment in cut.segments) == cut.frames == 60
    ends = [segment.end for segment in cut.segments]
    assert ends == [*(segment.start for segment in cut.segments[1:]), None]


def test_a_file_with_a_single_key_frame_is_not_sought(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=90, rate=1, options={"g": "1000"})
    plan = plan_for(clip.path, tmp_path / "out.mp4")
    assert {segment.how for segment in cut_job(plan).segments} == {"count"}
    assert run_upscale(plan).frames_out == 90


def test_three_workers_give_what_one_gives(slow_clip: Path, tmp_path: Path) -> None:
    one, three = tmp_path / "one.mp4", tmp_path / "three.mp4"
    upscale(slow_clip, one, 2, model="bicubic")
    report = upscale(slow_clip, three, 2, model="bicubic", devices="cpu:3x1")
    assert (report.workers, report.segments, report.frames_out) == (3, 4, 100)
    assert_same(one, three, "a:0")
    assert [stage.busy > 0 for stage in report.stages] == [True] * 3


def test_a_worker_that_is_killed_is_started_anew(slow_clip: Path, tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed.mp4", tmp_path / "whole.mp4"
    told: list[str] = []
    pools: list[Pool] = []
    begin = Pool._start

    def listen(event: Event) -> None:
        if isinstance(event, Warned):
            told.append(event.message)
        elif pools and not told:
            process = pools[0]._workers[0].process
            os.kill(process.pid or 0, signal.SIGKILL)
            told.append("killed")

    def remember(self: Pool, spec: Any) -> None:
        pools.append(self)
        begin(self, spec)

    plan = plan_for(slow_clip, killed, speed="ultrafast")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pool, "_start", remember)
        report = run_upscale(plan, on_event=listen, devices=parse_devices("cpu:1x1"))
    assert any("ended by SIGKILL" in message for message in told)
    assert report.frames_out == 100
    run_upscale(plan_for(slow_clip, whole, speed="ultrafast"))
    assert_same(killed, whole, "a:0")


def test_segments_that_are_read_again_are_given_out_again(slow_clip: Path, tmp_path: Path) -> None:
    broken = tmp_path / "in.mkv"
    with av.open(str(slow_clip)) as clip, av.open(str(broken), "w") as out:
        stream = out.add_stream_from_template(clip.streams.video[0], opaque=True)
        for index, packet in enumerate(clip.demux(video=0)):
            if packet.size:
                # A slice of nothing, in two segments: the last one, and another.
                data = b"\0\0\0\x08\x41\0\0\0\0\0\0\0" if index in (45, 95) else bytes(packet)
                copy = av.Packet(data)
                copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
                copy.time_base, copy.is_keyframe = packet.time_base, packet.is_keyframe
                copy.stream = stream
                out.mux(copy)
    one, shared = tmp_path / "one.mp4", tmp_path / "shared.mp4"
    report = upscale(broken, one, 2, model="bicubic")
    assert (report.segments, report.frames_out, report.corrupt_packets) == (4, 98, 2)
    # A process of its own: what waits for ever is ended with it.
    command = [sys.executable, "-m", "vsr", "upscale", str(broken), "-o", str(shared), "-s", "2"]
    command += ["--model", "bicubic", "--devices", "cpu:1x1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert told[-1]["report"]["corrupt_packets"] == 2
    assert_same(one, shared)


def test_identical_frames_are_repeated_in_the_result(tmp_path: Path) -> None:
    path = tmp_path / "in.mkv"
    fmt = plan_for(make_clip(tmp_path / "a.mkv").path, tmp_path / "b.mkv").video.format
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for index in range(12):
            out.mux(stream.encode(video_frame(picture(index // 4, fmt, 32, 32), "yuv420p")))
        out.mux(stream.encode(None))
    report = upscale(path, tmp_path / "out.mkv", 2, model="bicubic", codec="ffv1", batch=2)
    assert (report.frames_out, report.repeated_frames) == (12, 9)
    hashes = decode_frames(tmp_path / "out.mkv").hashes
    assert [hashes.index(h) for h in hashes] == [0] * 4 + [4] * 4 + [8] * 4


def test_one_segment_is_made_by_a_plain_function(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=20)
    plan = plan_for(clip.path, tmp_path / "out.mp4")
    segment = Segment(index=4, first=5, frames=6, start=5 * 512, end=11 * 512)
    assert pickle.loads(pickle.dumps(segment)) == segment
    file = make_segment(plan, segment, tmp_path)
    part = PacketFile(file)
    part.check()
    assert sorted(part.times) == [512 * i for i in range(5, 11)]
    assert (part.tally.index, part.tally.read.frames) == (4, 6)
    assert [packet.pts for packet in part] == list(part.times)
    assert next(iter(part)).key
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(VerifyError, match="damaged"):
        PacketFile(file)


@pytest.mark.parametrize("text", ["gpu", "cpu:0x1", "cuda:", "cpu,cuda:0", ""])
def test_devices_that_make_no_sense(text: str) -> None:
    with pytest.raises(UsageError):
        parse_devices(text)


@pytest.mark.usefixtures("short")
def test_a_segment_that_fails_three_times_ends_the_job(
    slow_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_for(slow_clip, tmp_path / "out.mp4")
    told: list[Event] = []
    monkeypatch.setattr("pipelines.segments.pool.serve", dies)
    with pytest.raises(BackendError, match="ended with code 9"):
        run_upscale(plan, on_event=told.append, devices=parse_devices("cpu:1x1"))
    assert str(told).count("started anew") == 2
    assert not ledger_folder(plan.destination).exists()

"""Jobs in segments: the result is the same however it was made, and however often that failed."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from dying import dies
from independent import decode_frames, packet_hashes
from synth import make_clip, picture, video_frame

from pipelines.events import Event, Progress, Warned
from pipelines.segments import cut as cutting
from pipelines.segments.cut import cut_job
from pipelines.segments.devices import parse_devices
from pipelines.segments.ledger import Ledger, ledger_folder
from pipelines.segments.pool import Pool
from pipelines.segments.worker import make_segment, segment_path
from pipelines.upscale import plan_upscale, run_upscale, upscale
from vsr.cli.entry import run
from vsr.engine.upscaler import Upscaler
from vsr.errors import BackendError, ModelError, OutputError, UsageError, VerifyError
from vsr.media.segments.packet_file import PacketFile
from vsr.types import FrameBatch, Plan, Segment

HERE = Path(__file__).parent


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of about eight frames."""
    monkeypatch.setattr(cutting, "segment_length", lambda _: 8)


@pytest.fixture(scope="module")
def slow_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 frames at two a second: three segments without any patching, so in any process."""
    path = tmp_path_factory.mktemp("source") / "in.mp4"
    options = {"g": "12", "bf": "3"}
    make_clip(path, frames=100, rate=2, width=32, height=32, audio="aac", options=options)
    return path


def plan_for(source: Path, destination: Path, **wishes: Any) -> Plan:
    return plan_upscale(str(source), str(destination), scale=2, model="bicubic", **wishes)


def assert_same(one: Path, other: Path, *streams: str) -> None:
    assert decode_frames(one) == decode_frames(other)
    for stream in streams:
        assert packet_hashes(one, stream) == packet_hashes(other, stream)


class Stop(KeyboardInterrupt):
    """Ctrl-C at a chosen moment."""


def stop_at(monkeypatch: pytest.MonkeyPatch, pts: int, error: BaseException) -> None:
    """Fail before the frame at ``pts`` goes through the network, once."""
    original = Upscaler.upscale
    armed = [True]

    def failing(self: Upscaler, batch: FrameBatch, *rest: Any) -> FrameBatch:
        if armed and batch.pts[-1] >= pts:
            armed.clear()
            raise error
        return original(self, batch, *rest)

    monkeypatch.setattr(Upscaler, "upscale", failing)


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


@pytest.mark.usefixtures("short")
def test_a_file_without_presentation_times_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip(
        tmp_path / "in.avi", frames=30, codec="mpeg4", options={"g": "12"}, audio="mp3"
    )
    joined, through = tmp_path / "joined.mkv", tmp_path / "through.mkv"
    plan = plan_for(clip.path, joined, codec="ffv1")
    assert {segment.how for segment in cut_job(plan).segments} == {"count"}
    with monkeypatch.context() as patch:
        stop_at(patch, 19, Stop())
        with pytest.raises(Stop):
            run_upscale(plan)
    report = run_upscale(plan)
    assert (report.resumed_frames, report.frames_in, report.frames_out) == (16, 30, 30)
    run_upscale(plan_for(clip.path, through, codec="ffv1"), resume=False)
    assert_same(joined, through, "a:0")


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


def test_killed_at_twenty_random_moments(slow_clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    killed, whole = folder / "out.mp4", tmp_path / "whole.mp4"
    arguments = [str(HERE / "zygote.py"), str(slow_clip), str(killed), "20", "7"]
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=HERE.parent,
    )
    assert json.loads(done.stdout)["kills"] == 20
    # What the last kill may have left of a finished job goes with the next run.
    Ledger(str(killed)).remove()
    run_upscale(plan_for(slow_clip, whole, speed="ultrafast"))
    assert_same(killed, whole, "a:0")
    assert [path.name for path in folder.iterdir()] == ["out.mp4"]


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


@pytest.mark.usefixtures("short")
def test_ctrl_c_keeps_what_is_finished_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=30, rate=25, options={"g": "8"})
    out = tmp_path / "out.mp4"
    command = ["upscale", str(clip.path), "-o", str(out), "--model", "bicubic"]
    with monkeypatch.context() as patch:
        stop_at(patch, 20 * 512, KeyboardInterrupt())
        assert run(command) == 130
    told = capsys.readouterr().err
    assert "2 of 4 segments (16 frames" in told
    assert "out.mp4.vsr" in told
    assert "--fresh" in told
    assert not out.exists()
    kept = sorted(path.name for path in ledger_folder(str(out)).iterdir())
    assert kept == ["000000.segment", "000001.segment", "job.json", "lock"]

    assert run(command) == 0
    text, told = capsys.readouterr()
    assert "16 of them from a run that was stopped" in text
    assert "2 of 4 segments (16 frames) are finished" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


@pytest.mark.usefixtures("short")
def test_a_changed_setting_begins_anew_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=30, options={"g": "8"})
    out = tmp_path / "out.mp4"
    told: list[Event] = []

    def stopped(**wishes: Any) -> None:
        with monkeypatch.context() as patch:
            stop_at(patch, 20 * 512, Stop())
            with pytest.raises(Stop):
                run_upscale(plan_for(clip.path, out, overwrite=True, **wishes))

    def finished(fresh: bool = False, **wishes: Any) -> int:
        told.clear()
        plan = plan_for(clip.path, out, overwrite=True, **wishes)
        return run_upscale(plan, on_event=told.append, fresh=fresh).resumed_frames

    stopped()
    assert finished(quality=30) == 0
    assert "encode.options.crf changed" in str(told)
    stopped()
    os.utime(clip.path, ns=(1, 1))
    assert finished() == 0
    assert "source.changed changed" in str(told)
    stopped()
    assert finished(fresh=True) == 0
    stopped()
    assert finished(verify=False) == 16
    assert not ledger_folder(str(out)).exists()


@pytest.mark.usefixtures("short")
def test_killed_between_the_name_and_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=30)
    plan = plan_for(clip.path, tmp_path / "out.mp4")
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "remove", lambda _: None)
        run_upscale(plan)
    assert ledger_folder(plan.destination).is_dir()
    with pytest.raises(OutputError, match="already exists"):
        run_upscale(plan)
    assert not ledger_folder(plan.destination).exists()


@pytest.mark.usefixtures("short")
def test_a_name_that_was_taken_meanwhile_costs_no_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=30)
    plan, out = plan_for(clip.path, tmp_path / "out.mp4"), tmp_path / "out.mp4"
    joined = Ledger.joined

    def interfere(self: Ledger, file: Path) -> None:
        joined(self, file)
        out.write_bytes(b"somebody's")

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "joined", interfere)
        with pytest.raises(OutputError, match="already exists"):
            run_upscale(plan)
    with pytest.raises(OutputError, match="already exists"):
        run_upscale(plan)
    assert out.read_bytes() == b"somebody's"
    out.unlink()
    assert run_upscale(plan).resumed_frames == 30


@pytest.mark.usefixtures("short")
def test_a_damaged_segment_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=30, options={"g": "8"})
    out, whole = tmp_path / "out.mp4", tmp_path / "whole.mp4"
    with monkeypatch.context() as patch:
        stop_at(patch, 20 * 512, Stop())
        with pytest.raises(Stop):
            run_upscale(plan_for(clip.path, out))
    file = segment_path(ledger_folder(str(out)), 1)
    data = bytearray(file.read_bytes())
    data[100] ^= 1
    file.write_bytes(data)
    told: list[Event] = []
    report = run_upscale(plan_for(clip.path, out), on_event=told.append)
    assert "segment 1 is damaged" in str(told)
    assert report.resumed_frames == 8
    run_upscale(plan_for(clip.path, whole))
    assert_same(out, whole)


@pytest.mark.usefixtures("short")
def test_progress_counts_what_was_finished_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=30, options={"g": "8"})
    plan = plan_for(clip.path, tmp_path / "out.mp4")
    with monkeypatch.context() as patch:
        stop_at(patch, 20 * 512, Stop())
        with pytest.raises(Stop):
            run_upscale(plan)
    events: list[Event] = []
    run_upscale(plan, on_event=events.append)
    progress = [event for event in events if isinstance(event, Progress)]
    assert [event.frames for event in progress] == list(range(17, 31))
    assert {event.total for event in progress} == {30}


@pytest.mark.usefixtures("short")
def test_nothing_is_kept_of_what_is_not_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=30, options={"g": "8"})
    stop_at(monkeypatch, 3 * 512, ModelError("broken on purpose"))
    with pytest.raises(ModelError):
        run_upscale(plan_for(clip.path, tmp_path / "out.mp4"))
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.usefixtures("short")
def test_two_runs_of_one_job_exclude_each_other(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=30)
    plan = plan_for(clip.path, tmp_path / "out.mp4")
    with Ledger(plan.destination) as ledger:
        ledger.begin({}, cut_job(plan))
        with pytest.raises(OutputError, match="another vsr"):
            run_upscale(plan)


@pytest.mark.usefixtures("short")
def test_a_folder_of_somebody_else_is_not_touched(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=30)
    folder = tmp_path / "out.mp4.vsr"
    folder.mkdir()
    (folder / "diary.txt").write_text("dear")
    with pytest.raises(OutputError, match="in the way"):
        run_upscale(plan_for(clip.path, tmp_path / "out.mp4"))
    assert (folder / "diary.txt").read_text() == "dear"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_ends_cleanly_and_goes_on_later(
    slow_clip: Path, small_disk: Path, tmp_path: Path
) -> None:
    out, whole = small_disk / "out.mp4", tmp_path / "whole.mp4"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(160_000))
    plan = plan_for(slow_clip, out, quality=20)
    with pytest.raises(OutputError, match="disk is full"):
        run_upscale(plan)
    assert not out.exists()
    left = sorted(path.name for path in ledger_folder(str(out)).iterdir())
    assert "000000.segment" in left
    assert not [name for name in left if "part" in name]
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    ballast.unlink()
    report = run_upscale(plan)
    assert report.resumed_frames > 0
    run_upscale(plan_for(slow_clip, whole, quality=20))
    assert_same(out, whole, "a:0")
    assert [path.name for path in small_disk.iterdir()] == ["out.mp4"]


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

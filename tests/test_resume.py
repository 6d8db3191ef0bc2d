"""A run that was stopped, however, goes on; and what it keeps until then."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from segment_jobs import Stop, assert_same, plan_for, stop_at
from synth import make_clip

from pipelines.events import Event, Progress, Warned
from pipelines.segments.cut import cut_job
from pipelines.segments.ledger import Ledger, ledger_folder
from pipelines.segments.worker import segment_path
from pipelines.upscale import run_upscale
from vsr.cli.entry import run
from vsr.errors import ModelError, OutputError

HERE = Path(__file__).parent


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
    with Ledger(str(killed)) as ledger:
        ledger.remove()
    run_upscale(plan_for(slow_clip, whole, speed="ultrafast"))
    assert_same(killed, whole, "a:0")
    assert [path.name for path in folder.iterdir()] == ["out.mp4"]


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
    assert "16 of them from a run that was stopped" in " ".join(text.split())  # lines are wrapped
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
    assert finished(frames=20) == 0
    assert "Begun anew: trim.frames changed" in str(told)
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
def test_a_short_trial_costs_no_finished_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=30, options={"g": "8"})
    other = make_clip(tmp_path / "other.mp4", frames=3)
    command = ["upscale", str(clip.path), "--model", "bicubic"]
    with monkeypatch.context() as patch:
        stop_at(patch, 20 * 512, KeyboardInterrupt())
        assert run(command) == 130
    capsys.readouterr()
    folder = ledger_folder(str(tmp_path / "in_x2.mp4"))
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert len([name for name in kept if name.endswith(".segment")]) == 2

    for trial in ([*command, "--frames", "4"], [*command, "--frames", "4", "-y"]):
        assert run(trial) == 4
        told = " ".join(capsys.readouterr().err.split())
        assert "2 finished segments of another job" in told
        assert "what differs: trim.frames Name" in told
        assert "--fresh" in told
    assert run(["upscale", str(other.path), "-o", str(tmp_path / "in_x2.mp4")]) == 4
    assert "what differs: source.changed" in " ".join(capsys.readouterr().err.split())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == kept
    assert not (tmp_path / "in_x2.mp4").exists()

    assert run([*command, "--frames", "4", "-o", str(tmp_path / "trial.mp4")]) == 0
    assert run(command) == 0
    assert "2 of 4 segments (16 frames) are finished" in capsys.readouterr().err


@pytest.mark.usefixtures("short")
def test_a_short_run_after_all_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=30, options={"g": "8"})
    out = tmp_path / "out.mp4"
    told: list[Event] = []

    def stopped() -> None:
        with monkeypatch.context() as patch:
            stop_at(patch, 20 * 512, Stop())
            with pytest.raises(Stop):
                run_upscale(plan_for(clip.path, out, overwrite=True))

    stopped()
    plan = plan_for(clip.path, out, frames=4, overwrite=True)
    assert run_upscale(plan, on_event=told.append, fresh=True).frames_out == 4
    assert not ledger_folder(str(out)).exists()
    assert not [event for event in told if isinstance(event, Warned)]
    # The file that the segments were made from is no more: they are of no use to anybody.
    stopped()
    make_clip(clip.path, frames=4)
    plan = plan_for(clip.path, out, overwrite=True)
    assert run_upscale(plan, on_event=told.append).frames_out == 4
    (warning,) = [event.message for event in told if isinstance(event, Warned)]
    assert warning.startswith("Begun anew: source.changed, source.ends, source.size")
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
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.EIO])
def test_a_disk_without_locks(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    clip = make_clip(tmp_path / "in.mp4", frames=30)
    plan = plan_for(clip.path, tmp_path / "out.mp4")
    with pytest.raises(OutputError, match="cannot be locked") as raised:
        run_upscale(plan)
    assert "--no-resume" in raised.value.remedy
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]
    assert run_upscale(plan, resume=False).frames_out == 30


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

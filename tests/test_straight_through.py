"""Results made straight through: what is kept of another run for them, and who makes them."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from independent import decode_frames
from segment_jobs import Stop, plan_for, stop_at
from synth import make_clip

from pipelines.events import Event, Warned
from pipelines.segments.cut import cut_job
from pipelines.segments.devices import parse_devices
from pipelines.segments.ledger import Ledger, ledger_folder
from pipelines.upscale import run_upscale
from vsr.cli.entry import run
from vsr.engine.upscaler import Upscaler
from vsr.errors import OutputError

pytestmark = pytest.mark.usefixtures("short")


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source whose job for ``out.mp4`` was stopped with two of four segments finished."""
    clip = make_clip(tmp_path / "in.mp4", frames=30, options={"g": "8"})
    with monkeypatch.context() as patch:
        stop_at(patch, 20 * 512, Stop())
        with pytest.raises(Stop):
            run_upscale(plan_for(clip.path, tmp_path / "out.mp4"))
    return clip.path


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def warnings(told: list[Event]) -> list[str]:
    return [event.message for event in told if isinstance(event, Warned)]


def test_what_is_kept_of_the_same_job_goes_with_the_result(
    stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.mp4"
    told: list[Event] = []
    plan, before = plan_for(stopped, out), files(tmp_path)
    with monkeypatch.context() as patch:
        stop_at(patch, 20 * 512, Stop())
        with pytest.raises(Stop):
            run_upscale(plan, resume=False)
    assert files(tmp_path) == before  # a run that has made nothing has taken nothing away

    report = run_upscale(plan, resume=False, on_event=told.append)
    assert (report.resumed_frames, report.segments, report.frames_out) == (0, 1, 30)
    (warning,) = warnings(told)
    assert (
        warning
        == f"What is kept in {ledger_folder(str(out))} is not used, and goes with the result."
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


def test_what_is_kept_of_another_job_is_neither_lost_nor_forgotten(
    stopped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(tmp_path)
    trial = ["upscale", str(stopped), "-o", str(tmp_path / "out.mp4"), "--model", "bicubic"]
    trial += ["--frames", "4", "--no-resume"]
    assert run(trial) == 4
    told = " ".join(capsys.readouterr().err.split())
    assert "2 finished segments of another job for this result" in told
    assert "what differs: trim.frames Name another result" in told
    assert files(tmp_path) == before

    assert run([*trial, "--fresh"]) == 0
    assert len(decode_frames(tmp_path / "out.mp4").times) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


def test_fresh_removes_at_once_what_is_kept(
    stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.mp4"
    out.write_bytes(b"precious")
    before = files(tmp_path)
    with pytest.raises(OutputError, match="already"):
        run_upscale(plan_for(stopped, out), resume=False, fresh=True)
    assert files(tmp_path) == before
    plan = plan_for(stopped, out, overwrite=True)
    stop_at(monkeypatch, 20 * 512, Stop())
    with pytest.raises(Stop):
        run_upscale(plan, resume=False, fresh=True)
    assert not ledger_folder(str(out)).exists()


def test_a_job_that_is_at_work_is_not_overtaken(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=30)
    plan = plan_for(clip.path, tmp_path / "out.mp4")
    with Ledger(plan.destination) as ledger:
        ledger.begin({}, cut_job(plan))
        with pytest.raises(OutputError, match="another vsr"):
            run_upscale(plan, resume=False)


def test_what_is_not_ours_or_cannot_be_locked_is_left_alone(
    stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    (tmp_path / "other.mp4.vsr").mkdir()
    (tmp_path / "other.mp4.vsr" / "diary.txt").write_text("dear")
    before = files(tmp_path)
    monkeypatch.setattr("fcntl.flock", refuse)
    for name in ("out.mp4", "other.mp4"):
        told: list[Event] = []
        plan = plan_for(stopped, tmp_path / name)
        assert run_upscale(plan, resume=False, on_event=told.append).frames_out == 30
        (warning,) = warnings(told)
        assert warning == f"{tmp_path / name}.vsr is not ours or cannot be locked, and stays."
        (tmp_path / name).unlink()
    assert files(tmp_path) == before


def test_one_worker_in_place_of_several_says_so_and_has_its_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=4)
    plan = plan_for(clip.path, tmp_path / "out.mp4", overwrite=True)
    original = Upscaler.upscale
    threads: set[int] = set()

    def upscale(self: Upscaler, *given: Any, **how: Any) -> Any:
        threads.add(torch.get_num_threads())
        return original(self, *given, **how)

    monkeypatch.setattr(Upscaler, "upscale", upscale)
    before = torch.get_num_threads()
    told: list[Event] = []
    run_upscale(plan, devices=parse_devices("cpu:2x3"), on_event=told.append)
    assert warnings(told) == ["One worker does it straight through, in place of 2: it is short."]
    assert threads == {3}
    assert torch.get_num_threads() == before
    told.clear()
    threads.clear()
    run_upscale(plan, devices=parse_devices("cpu"), on_event=told.append)
    assert (warnings(told), threads) == ([], {before})


def test_the_command_line_says_that_one_worker_does_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=4)
    command = ["upscale", str(clip.path), "-o", str(tmp_path / "out.mp4"), "--model", "bicubic"]
    assert run([*command, "--devices", "cpu:2x1", "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (warning,) = [event for event in events if event["event"] == "warning"]
    assert "in place of 2: it is short" in warning["message"]

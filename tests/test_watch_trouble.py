"""``vsr watch`` where something around the files is wrong: it goes on, and blames nobody."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from synth import make_clip
from watching import watcher

from pipelines.batch import upscale_all
from pipelines.queue.job import Job
from pipelines.queue.ledger import Ledger
from pipelines.queue.messages import Failed, Finished, Message, Order, Outcome
from pipelines.queue.process import Worker
from pipelines.queue.room.share import Room
from pipelines.queue.run import Runner
from vsr.errors import UsageError

Events = list[Any]


def run(folder: Path, events: Events | None = None, **more: Any) -> tuple[int, dict[str, Job]]:
    """Exit code and jobs after one look."""
    with watcher(folder, events, **more) as one:
        return one.run(), one.ledger.known()


def outcomes(events: Events, kind: type) -> list[str]:
    """Sources that ended so, as the listener heard it."""
    return [
        event[0].path for event in events if isinstance(event, tuple) and type(event[1]) is kind
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    return tmp_path


def test_a_result_that_is_taken_away_at_once_was_done(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.mkv", "b.mkv"):
        make_clip(folder / "in" / name, frames=2 if name == "a.mkv" else 3)
    record = Runner._record

    def take_away(self: Runner, job: Job, order: Order, outcome: Outcome) -> None:
        if isinstance(outcome, Finished) and job.path == "a.mkv":
            Path(outcome.destination).rename(folder / "taken.mkv")
        record(self, job, order, outcome)

    monkeypatch.setattr(Runner, "_record", take_away)
    code, jobs = run(folder)
    assert code == 0
    assert [(job.state, job.completions) for job in jobs.values()] == [("done", 1)] * 2
    assert jobs["a.mkv"].result is None
    assert run(folder)[1]["a.mkv"].completions == 1  # and is not done again


def test_twins_that_meet_are_both_done_by_one_look(folder: Path) -> None:
    make_clip(folder / "in" / "a.mkv", frames=12)
    for name in ("b.mkv", "c.mkv"):
        shutil.copy(folder / "in" / "a.mkv", folder / "in" / name)
    events: Events = []
    code, jobs = run(folder, events, workers=3)
    assert code == 0
    assert [job.state for job in jobs.values()] == ["done"] * 3
    results = [folder / "out" / name for name in jobs]
    assert all(results[0].samefile(path) for path in results)
    assert sorted(outcomes(events, Finished)) == ["a.mkv", "b.mkv", "c.mkv"]


def test_a_name_that_is_too_long_for_its_result_stops_no_other(folder: Path) -> None:
    long = "n" * 251 + ".mts"  # 255 bytes, the most there is; the result wants to end in .mkv
    make_clip(folder / "in" / "a.mkv", frames=2).path.rename(folder / "in" / long)
    make_clip(folder / "in" / "b.mkv", frames=3)
    code, jobs = run(folder)
    assert jobs["b.mkv"].state == "done"
    assert (jobs[long].state == "done") == (code == 0)


def test_a_preset_that_breaks_meanwhile_is_not_the_files_fault(folder: Path) -> None:
    preset = folder / "mine.toml"
    preset.write_text('description = "mine"\n[model]\nname = "bicubic"\n')
    make_clip(folder / "in" / "a.mkv", frames=2)
    events: Events = []
    with watcher(folder, events, wishes={"preset": str(preset)}) as one:
        preset.write_text("[model\n")
        assert one.run() == 2
        (job,) = one.ledger.jobs()
    assert (job.state, job.attempts, job.error) == ("failed", 0, "PresetError")
    assert outcomes(events, Failed) == ["a.mkv"]


@pytest.mark.parametrize("broken", ["out/sub", "out/.vsr-watch/logs"])
def test_a_place_that_cannot_be_written_is_not_the_files_fault(folder: Path, broken: str) -> None:
    (folder / "in" / "sub").mkdir()
    source = make_clip(folder / "in" / "sub" / "a.mkv", frames=2).path
    make_clip(folder / "in" / "b.mkv", frames=3)
    wall = folder / broken
    wall.parent.mkdir(exist_ok=True)
    wall.write_text("a file where a folder is to be")
    code, jobs = run(folder)
    job = jobs["sub/a.mkv"]
    assert (code, job.state, job.attempts, job.error) == (4, "failed", 0, "OutputError")
    assert source.exists()
    assert (jobs["b.mkv"].state == "done") == (broken == "out/sub")
    wall.unlink()
    code, jobs = run(folder, later=60.0)
    assert [job.state for job in jobs.values()] == ["done", "done"]
    assert code == 0


def test_a_file_that_was_cut_off_too_often_is_told_of(folder: Path) -> None:
    make_clip(folder / "in" / "a.mkv", frames=2)
    events: Events = []
    with watcher(folder, events) as one:
        found = one.ledger.add("a.mkv", identity(folder / "in" / "a.mkv"), now=1.0)
        one.ledger.set(found, interruptions=6)
        assert one.run() == 1
        (job,) = one.ledger.jobs()
    assert (job.state, job.error) == ("quarantined", "Interrupted")
    assert outcomes(events, Failed) == ["a.mkv"]


def identity(path: Path) -> Any:
    """As the ledger has it."""
    from pipelines.queue.job import identify

    return identify(path)


def test_quarantine_is_not_the_watched_folder(folder: Path) -> None:
    with pytest.raises(UsageError, match="come back into the watched folder"):
        watcher(folder, quarantine=folder / "in")


def test_two_ledgers_of_one_destination_keep_their_logs_apart(folder: Path) -> None:
    make_clip(folder / "in" / "a.mkv", frames=2)
    logs = []
    for name in ("one", "two"):
        _, jobs = run(folder, ledger=folder / f"{name}.sqlite")
        logs.append(jobs["a.mkv"].log)
        assert Path(logs[-1]).read_text().count("a.mkv") > 0
    assert logs[0] != logs[1]


def test_a_ledger_is_read_where_nothing_may_be_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clip(folder / "in" / "a.mkv", frames=2)
    run(folder)
    monkeypatch.setattr(os, "access", lambda *_: False)
    path = folder / "out" / ".vsr-watch" / "ledger.sqlite"
    before = sorted(path.parent.iterdir())
    with Ledger(path, read_only=True) as ledger:
        assert [job.state for job in ledger.jobs()] == ["done"]
        assert sorted(path.parent.iterdir()) == before


@pytest.mark.parametrize("gone", [False, True])
def test_what_replaces_a_source_during_its_last_attempt_is_tried(
    gone: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, sound = folder / "in" / "a.mkv", folder / "sound.mkv"
    source.write_bytes(b"half an upload" * 100)
    make_clip(sound, frames=2)
    do = Worker.do

    def doing(self: Worker, order: Order) -> Iterator[Message]:
        for message in do(self, order):
            if isinstance(message, Failed):
                source.unlink()
                if not gone:
                    sound.rename(source)
            yield message

    monkeypatch.setattr(Worker, "do", doing)
    events: Events = []
    code, jobs = run(folder, events)
    assert (code, jobs["a.mkv"].state) == (3, "gone")
    assert jobs["a.mkv"].reason.endswith("the source has changed or vanished meanwhile")
    assert outcomes(events, Failed) == ["a.mkv"]
    if gone:
        sound.rename(source)
    code, jobs = run(folder)
    assert (code, jobs["a.mkv"].state, jobs["a.mkv"].completions) == (0, "done", 1)
    assert not (folder / "in" / "vsr-quarantine").exists()


@pytest.mark.parametrize("where", ["before it is begun", "in the middle", "when it is over"])
def test_a_bug_that_one_file_meets_stops_no_other(
    where: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name = {
        "before it is begun": (Runner, "_order"),
        "in the middle": (Room, "reserve"),
        "when it is over": (Runner, "_record"),
    }[where]
    for number, file in enumerate(("a.mkv", "b.mkv")):
        make_clip(folder / "in" / file, frames=2 + number)
    original = getattr(owner, name)

    def broken(self: Any, job: Job, need: Any, *rest: Any) -> Any:
        if job.path == "a.mkv" and need is not None:
            raise ZeroDivisionError("nobody thought of this")
        return original(self, job, need, *rest)

    monkeypatch.setattr(owner, name, broken)
    events: Events = []
    code, jobs = run(folder, events)
    assert (code, jobs["a.mkv"].state, jobs["a.mkv"].error) == (
        *(1, "quarantined", "ZeroDivisionError"),
    )
    assert outcomes(events, Failed) == ["a.mkv"]
    log = Path(jobs["a.mkv"].log).read_text()
    assert "Traceback" in log
    assert "ZeroDivisionError: nobody thought of this" in log
    assert (jobs["b.mkv"].state, jobs["b.mkv"].completions) == ("done", 1)


def test_a_bug_in_one_of_several_files_is_told_with_its_traceback(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``vsr upscale a b``, which keeps no logs."""

    def broken(self: Runner, job: Job, destination: Path) -> Order:
        raise ZeroDivisionError("nobody thought of this")

    monkeypatch.setattr(Runner, "_order", broken)
    source = str(make_clip(folder / "in" / "a.mkv", frames=2).path)
    (result,) = upscale_all([source], folder / "out", {"model": "bicubic"})
    assert (result.exit_code, result.failed and result.failed.kind) == (1, "ZeroDivisionError")
    assert "Traceback" in capsys.readouterr().err


def test_a_result_that_gets_its_name_as_the_run_is_stopped_is_done_and_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clip(folder / "in" / "a.mkv", frames=2)
    result = make_clip(folder / "out" / "a.mkv", frames=2).path

    def interrupted(self: Worker, order: Order) -> Iterator[Message]:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(Worker, "do", interrupted)
    monkeypatch.setattr(Worker, "last", lambda _: Finished(str(result), None))
    events: Events = []
    with watcher(folder, events) as one:
        one._look()
        with pytest.raises(KeyboardInterrupt):
            one._runners[0].run_next()
        (job,) = one.ledger.jobs()
    assert (job.state, job.completions) == ("done", 1)
    assert outcomes(events, Finished) == ["a.mkv"]


def test_a_name_with_eight_question_marks(folder: Path) -> None:
    """It is cut off as well, so that temporary files with its name are looked for."""
    name = "What????????.mkv"
    make_clip(folder / "in" / name, frames=2)
    with watcher(folder) as one:
        one._look()
        assert one.ledger.claim(now=time.time()) is not None
    code, jobs = run(folder)
    assert (code, jobs[name].state, jobs[name].interruptions) == (0, "done", 1)


def test_no_file_is_blamed_if_no_process_can_be_begun(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_clip(folder / "in" / "a.mkv", frames=2).path

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(subprocess, "Popen", refuse)
    code, jobs = run(folder)
    assert (code, jobs["a.mkv"].state, jobs["a.mkv"].attempts) == (1, "failed", 0)
    assert source.exists()


def test_a_link_that_comes_to_the_name_of_a_result_is_left_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leads to a drive that is not mounted; the result gets another name."""
    make_clip(folder / "in" / "a.mkv", frames=2)
    link = folder / "out" / "a.mkv"
    order = Runner._order

    def late(self: Runner, job: Job, destination: Path) -> Order:
        if not link.is_symlink():
            link.symlink_to("/nowhere/a.mkv")
        return order(self, job, destination)

    monkeypatch.setattr(Runner, "_order", late)
    job = run(folder)[1]["a.mkv"]
    assert (job.state, job.attempts, Path(job.destination).name) == ("done", 0, "a (2).mkv")
    assert link.is_symlink()


def test_results_in_the_watched_folder_under_another_name_are_no_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a bind mount, of which names tell nothing: here a link that nobody sees through."""
    monkeypatch.setattr(os.path, "realpath", os.path.abspath)
    (tmp_path / "in" / "results").mkdir(parents=True)
    (tmp_path / "out").symlink_to(tmp_path / "in" / "results", target_is_directory=True)
    make_clip(tmp_path / "in" / "a.mkv", frames=2)
    for _ in range(2):
        code, jobs = run(tmp_path)
        assert (code, list(jobs)) == (0, ["a.mkv"])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".vsr-watch", "a.mkv"]

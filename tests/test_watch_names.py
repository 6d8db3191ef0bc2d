"""Names of results under ``vsr watch``: which files are its own, and what it leaves there."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from independent import decode_frames
from segment_jobs import Stop, plan_for, stop_at
from synth import make_clip

from pipelines.events import Progress
from pipelines.queue.job import Identity, Job
from pipelines.queue.ledger import Ledger, LedgerError
from pipelines.queue.messages import Failed, Made, Message, Order, Planned, failed_by
from pipelines.queue.process import Worker
from pipelines.queue.result.own import Own
from pipelines.queue.run import Policy
from pipelines.segments.ledger import Ledger as Kept
from pipelines.upscale import run_upscale
from pipelines.watch.request import WatchRequest
from pipelines.watch.watcher import Watcher
from vsr.errors import NameTakenError
from vsr.media.write.atomic import AtomicFile


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    return tmp_path


def watcher(
    folder: Path, heard: Any = None, *, out: str = "out", ledger: Path | None = None, **wishes: Any
) -> Watcher:
    """A watcher that looks once."""
    request = WatchRequest(
        source=folder / "in",
        destination=folder / out,
        wishes={"model": "bicubic", **wishes},
        settle=0,
        once=True,
        policy=Policy(attempts=1, delay=0),
        ledger=ledger,
    )
    return Watcher(request, on_event=heard, written=lambda _: False)


def run(folder: Path, heard: Any = None, **more: Any) -> Job:
    """The job of the only source after one look."""
    with watcher(folder, heard, **more) as one:
        one.run()
        (job,) = one.ledger.jobs()
        return job


def cut_off(folder: Path, name: str) -> Job:
    """Leave the only source as a watcher does that is killed while it makes ``out/name``."""
    with watcher(folder) as one:
        one._look()
        job = one.ledger.claim(now=2e9)
        assert job is not None
        assert one.ledger.take_destination(job, folder / "out" / name)
        return job


def frames(path: Path) -> int:
    return len(decode_frames(path).times)


def names(folder: Path) -> list[str]:
    """What is in a folder, but the watcher's own."""
    return sorted(path.name for path in folder.iterdir() if path.name != ".vsr-watch")


def test_a_file_that_came_after_a_cut_off_is_somebody_elses(folder: Path) -> None:
    """Also if its pictures have the size of the result's."""
    source, other = folder / "in" / "a.mkv", folder / "out" / "a.mkv"
    make_clip(source, frames=2, width=32, height=16)
    cut_off(folder, "a.mkv")
    make_clip(other, frames=3, width=64, height=32)
    before = other.read_bytes()
    for count in (2, 4):
        if count != 2:  # it has changed
            make_clip(source, frames=count, width=32, height=16)
        job = run(folder)
        assert (job.state, Path(job.destination).name) == ("done", "a (2).mkv")
        assert frames(folder / "out" / "a (2).mkv") == count
    assert other.read_bytes() == before


def test_a_result_that_was_named_and_not_recorded_is_the_jobs_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clip(folder / "in" / "a.mkv", frames=2)

    def broken(*_: object, **__: object) -> None:
        raise LedgerError("the machine goes down")

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "done", broken)
        with pytest.raises(LedgerError):
            run(folder)
    before = (folder / "out" / "a.mkv").stat()
    job = run(folder)
    assert (job.state, job.completions, job.made) == ("done", 1, None)
    assert (folder / "out" / "a.mkv").stat() == before
    assert job.result == Identity(before.st_size, before.st_mtime_ns)
    assert names(folder / "out") == ["a.mkv"]


def test_a_worker_that_dies_when_its_result_is_there_has_done_it(folder: Path) -> None:
    """As when the pictures for the page bring it down: they are made of the result."""
    make_clip(folder / "in" / "a.mkv", frames=2)
    with watcher(folder) as one:
        (runner,) = one._runners
        do = runner.worker.do

        def dies(order: Order) -> Iterator[Message]:
            for message in do(order):
                if isinstance(message, Made | Progress | Planned):
                    yield message
            yield Failed("WorkerDied", "the process that did it was ended by SIGSEGV")

        runner.worker.do = dies  # type: ignore[method-assign]
        assert one.run() == 0
        (job,) = one.ledger.jobs()
    assert (job.state, job.completions, job.attempts) == ("done", 1, 0)
    assert job.reason == "then: the process that did it was ended by SIGSEGV"
    assert frames(folder / "out" / "a.mkv") == 2


def test_temporary_files_of_other_ledgers_are_left_alone(folder: Path) -> None:
    make_clip(folder / "in" / "a.mkv", frames=2)
    job, wanted = cut_off(folder, "a.mkv"), str(folder / "out" / "a.mkv")
    live = AtomicFile(wanted, overwrite=False).path
    with watcher(folder) as one:
        mark = one._queue.own.mark(job)
    left = AtomicFile(wanted, overwrite=False, mark=mark).path
    assert run(folder).state == "done"
    assert names(folder / "out") == [live.name, "a.mkv"]
    assert not left.exists()
    with Ledger(None) as other:
        assert Own(other, lambda _: "", None).mark(job) != mark


def test_results_go_with_their_folder(folder: Path) -> None:
    source = folder / "in" / "a.mkv"
    make_clip(source, frames=2)
    run(folder)
    (folder / "out").rename(folder / "moved")
    make_clip(source, frames=5)
    job = run(folder, out="moved")
    assert (job.state, job.completions) == ("done", 2)
    assert job.destination == str(folder / "moved" / "a.mkv")
    assert frames(folder / "moved" / "a.mkv") == 5  # its own earlier result is replaced
    assert names(folder / "moved") == ["a.mkv"]
    assert not (folder / "out").exists()


def test_another_folder_of_results_gets_what_is_done_from_then_on(folder: Path) -> None:
    source, ledger = folder / "in" / "a.mkv", folder / "one.sqlite"
    make_clip(source, frames=2)
    run(folder, ledger=ledger)
    job = run(folder, ledger=ledger, out="other")
    assert (job.completions, job.destination) == (1, str(folder / "out" / "a.mkv"))
    make_clip(source, frames=5)
    job = run(folder, ledger=ledger, out="other")
    assert (job.completions, job.destination) == (2, str(folder / "other" / "a.mkv"))
    assert frames(folder / "other" / "a.mkv") == 5
    assert frames(folder / "out" / "a.mkv") == 2


def test_the_same_folder_under_another_name_is_no_other(folder: Path) -> None:
    source = folder / "in" / "a.mkv"
    make_clip(source, frames=2)
    run(folder)
    (folder / "link").symlink_to(folder / "out", target_is_directory=True)
    make_clip(source, frames=5)
    assert run(folder, out="link").completions == 2
    assert names(folder / "out") == ["a.mkv"]


def test_a_reserved_name_has_the_ending_of_the_preset_at_hand(folder: Path) -> None:
    make_clip(folder / "in" / "a.mp4", frames=2)
    cut_off(folder, "a.mp4")
    job = run(folder, codec="prores")
    assert (job.state, Path(job.destination).name) == ("done", "a.mkv")
    assert names(folder / "out") == ["a.mkv"]


@pytest.fixture
def kept(folder: Path, monkeypatch: pytest.MonkeyPatch, short: None) -> Path:
    """The only source has been begun and cut off; two of its segments are finished."""
    make_clip(folder / "in" / "a.mkv", frames=30, rate=25, options={"g": "8"}, codec="mpeg4")
    cut_off(folder, "a.mkv")
    with monkeypatch.context() as patch:
        stop_at(patch, 700, Stop())
        with pytest.raises(Stop):
            run_upscale(plan_for(folder / "in" / "a.mkv", folder / "out" / "a.mkv"))
    found = folder / "out" / "a.mkv.vsr"
    assert len(list(found.glob("*.segment"))) == 2
    return found


def fail(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = Failed("DecodeError", "it is broken", exit_code=3)
    monkeypatch.setattr(Worker, "do", lambda _worker, _order: iter([failed]))


def test_what_is_given_up_leaves_nothing_behind(
    folder: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(monkeypatch)
    job = run(folder)
    assert job.state == "quarantined"
    assert names(folder / "out") == []
    assert f"2 finished segments in {kept} have been removed" in Path(job.log).read_text()


def test_a_source_that_is_deleted_leaves_nothing_behind(folder: Path, kept: Path) -> None:
    with watcher(folder) as one:
        (folder / "in" / "a.mkv").unlink()
        one.run()
        (job,) = one.ledger.jobs()
    assert job.state == "gone"
    assert job.reason == (
        f"the source is not there any more; 2 finished segments in {kept} have been removed"
    )
    assert names(folder / "out") == []


def test_what_is_finished_outlives_a_disk_that_is_not_mounted(folder: Path, kept: Path) -> None:
    """What is seen then is the empty folder that it is mounted on, on another disk."""
    with watcher(folder) as one:
        (job,) = one.ledger.jobs()
        one.ledger.set(job, device=str(job.identity.device + 1))
        (folder / "in" / "a.mkv").unlink()
        one.run()
        (job,) = one.ledger.jobs()
    assert (job.state, job.reason) == ("gone", "the source is not there any more")
    assert len(list(kept.glob("*.segment"))) == 2


def test_what_somebody_else_is_at_work_on_stays(
    folder: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(monkeypatch)
    with Kept(str(folder / "out" / "a.mkv")):
        job = run(folder)
    assert job.state == "quarantined"
    assert f"{kept} stays there: another vsr is at work" in Path(job.log).read_text()
    assert len(list(kept.glob("*.segment"))) == 2


def test_segments_of_another_source_stay(
    folder: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = (kept / "job.json").read_text()
    (kept / "job.json").write_text(told.replace("in/a.mkv", "elsewhere/a.mkv"))
    fail(monkeypatch)
    assert run(folder).state == "quarantined"
    assert len(list(kept.glob("*.segment"))) == 2


def test_a_name_that_is_taken_during_the_run_costs_no_run(folder: Path) -> None:
    make_clip(folder / "in" / "a.mkv", frames=2)
    wanted, begun = folder / "out" / "a.mkv", []

    def take(event: Any) -> None:
        message = event[1] if isinstance(event, tuple) else None
        if isinstance(message, Planned):
            begun.append(message)
        if isinstance(message, Progress) and message.frames == message.total:
            wanted.write_text("somebody else's")  # all frames are written, and no name is given yet

    job = run(folder, take)
    assert (job.state, job.attempts, job.completions, len(begun)) == ("done", 0, 1, 1)
    assert job.destination == str(folder / "out" / "a (2).mkv")
    assert frames(folder / "out" / "a (2).mkv") == 2
    assert wanted.read_text() == "somebody else's"
    assert names(folder / "out") == ["a (2).mkv", "a.mkv"]
    pictures = folder / "out" / ".vsr-watch" / "pictures"
    assert names(pictures) == ["1-after.jpg", "1-before.jpg"]


def test_a_name_that_is_taken_in_the_last_moment_is_not_the_files_fault(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clip(folder / "in" / "a.mkv", frames=2)
    wanted, name = folder / "out" / "a.mkv", Own.name

    def late(self: Own, job: Job, order: Order, made: Made) -> str:
        named = name(self, job, order, made)
        if not wanted.exists():
            wanted.write_text("somebody else's")
        return named

    monkeypatch.setattr(Own, "name", late)
    job = run(folder)
    assert (job.state, job.attempts, job.completions) == ("done", 0, 1)
    assert names(folder / "out") == ["a (2).mkv", "a.mkv"]
    assert wanted.read_text() == "somebody else's"


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("resume", [True, False])
def test_a_run_can_be_told_another_name_at_its_end(resume: bool, tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mkv", frames=20, rate=25, options={"g": "8"}).path
    taken, free = tmp_path / "out.mkv", tmp_path / "free.mkv"

    def named(file: Path) -> str:
        assert file.stat().st_size > 0
        taken.write_text("somebody else's")
        return str(free)

    report = run_upscale(plan_for(source, taken), resume=resume, before_commit=named)
    assert report.destination == str(free)
    assert frames(free) == 20
    assert taken.read_text() == "somebody else's"
    assert names(tmp_path) == ["free.mkv", "in.mkv", "out.mkv"]
    taken.unlink()

    def too_late(_file: Path) -> None:
        taken.write_text("somebody else's")

    with pytest.raises(NameTakenError) as caught:
        run_upscale(plan_for(source, taken), resume=resume, before_commit=too_late)
    assert failed_by(caught.value).name_taken
    assert taken.read_text() == "somebody else's"


def test_a_ledger_of_an_earlier_version_is_read_and_gone_on_with(folder: Path) -> None:
    make_clip(folder / "in" / "a.mkv", frames=2)
    run(folder)
    path = folder / "out" / ".vsr-watch" / "ledger.sqlite"
    old = sqlite3.connect(path)
    for column in ("made_size", "made_mtime_ns"):
        old.execute(f"ALTER TABLE jobs DROP COLUMN {column}")
    old.execute("PRAGMA user_version = 1")
    old.commit()
    old.close()
    with Ledger(path, read_only=True) as ledger:
        (job,) = ledger.jobs()
    assert (job.state, job.made) == ("done", None)
    make_clip(folder / "in" / "a.mkv", frames=5)
    assert run(folder).completions == 2
    assert frames(folder / "out" / "a.mkv") == 5


def test_names_that_meet_in_another_folder_are_chosen_anew() -> None:
    with Ledger(None) as ledger:
        one, other = (ledger.add(name, Identity(1, 1), now=0.0) for name in ("a.mp4", "a.mkv"))
        assert ledger.take_destination(one, Path("/new/a.mkv"))
        assert ledger.take_destination(other, Path("/old/a.mkv"))
        ledger.move_destinations({other.id: Path("/new/a.mkv")})
        assert [job.destination for job in ledger.known().values()] == ["/new/a.mkv", ""]
        ledger.move_destinations({one.id: Path("/newer/a.mkv")})
        assert ledger.known()["a.mp4"].destination == "/newer/a.mkv"

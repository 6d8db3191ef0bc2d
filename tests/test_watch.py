"""``vsr watch`` on real files: each done once, whatever happens in between."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from independent import decode_frames
from synth import make_clip

from pipelines.queue.job import Job
from pipelines.queue.ledger import Ledger
from pipelines.queue.run import Policy
from pipelines.watch.request import WatchRequest, ledger_path
from pipelines.watch.watcher import Watcher
from vsr.cli.entry import run
from vsr.errors import InputError, UsageError

ROOT = Path(__file__).resolve().parent.parent
QUICK = {"model": "bicubic"}
OPTIONS = ["--settle", "0", "--model", "bicubic", "--retry-delay", "0"]

Captured = pytest.CaptureFixture[str]


def request_for(folder: Path, *, wishes: Mapping[str, Any] = QUICK, **more: Any) -> WatchRequest:
    """Look once at ``folder/in``, for ``folder/out``."""
    source, destination = folder / "in", folder / "out"
    return WatchRequest(
        source=source, destination=destination, wishes=wishes, settle=0, once=True, **more
    )


def once(folder: Path, *, policy: Policy | None = None, **wishes: Any) -> dict[str, Job]:
    """One look at ``folder/in``, everything done; the ledger's jobs by path."""
    policy = policy or Policy(attempts=2, delay=0)
    request = request_for(folder, wishes={**QUICK, **wishes}, policy=policy)
    with Watcher(request, written=lambda _: False) as watcher:
        watcher.run()
        return watcher.ledger.known()


def files(folder: Path) -> list[str]:
    """All files below, but the watcher's own."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and ".vsr-watch" not in path.parts
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path


def test_folders_are_mirrored_and_names_kept_apart(folder: Path, capsys: Captured) -> None:
    (folder / "in" / "sub").mkdir()
    make_clip(folder / "in" / "sub" / "a.mp4", frames=4)
    make_clip(folder / "in" / "b.avi", frames=3, codec="ffv1")
    make_clip(folder / "in" / "b.mkv", frames=2)
    (folder / "in" / "note.txt").write_text("no video")
    (folder / "out").mkdir()
    (folder / "out" / "b.mkv").write_text("somebody else's")
    options = ["watch", str(folder / "in"), str(folder / "out"), "--once", *OPTIONS]
    assert run(options) == 0
    assert files(folder / "out") == ["b (2).mkv", "b.avi.mkv", "b.mkv", "sub/a.mp4"]
    assert (folder / "out" / "b.mkv").read_text() == "somebody else's"
    assert len(decode_frames(folder / "out" / "sub" / "a.mp4").times) == 4
    assert len(decode_frames(folder / "out" / "b (2).mkv").times) == 2
    capsys.readouterr()
    assert run([*options, "--json"]) == 0  # again: there is nothing to do
    assert capsys.readouterr().out == ""
    assert run(["watch", "status", str(folder / "out")]) == 0
    assert "  3 done" in capsys.readouterr().out
    assert run(["watch", "status", str(folder / "out"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["counts"]["done"] == 3
    assert {job["completions"] for job in found["jobs"]} == {1}
    pictures = sorted(path.name for path in (folder / "out/.vsr-watch/pictures").iterdir())
    assert pictures == [f"{n}-{which}.jpg" for n in (1, 2, 3) for which in ("after", "before")]


def test_bad_files_are_quarantined_with_their_log_and_may_come_back(folder: Path) -> None:
    bad = folder / "in" / "sub" / "bad.mp4"
    bad.parent.mkdir()
    bad.write_bytes(b"no video" * 100)
    job = once(folder)["sub/bad.mp4"]
    assert (job.state, job.attempts, job.error, job.exit_code) == (
        "quarantined",
        2,
        "InputError",
        3,
    )
    assert "no valid media data" in job.reason
    aside = folder / "in" / "vsr-quarantine" / "sub" / "bad.mp4"
    assert (job.moved_to, job.log) == (str(aside), f"{aside}.log")
    assert files(folder / "in") == [f"vsr-quarantine/sub/bad.mp4{end}" for end in ("", ".log")]
    assert Path(job.log).read_text().count("InputError") >= 2  # both attempts
    assert files(folder / "out") == []
    assert not (folder / "out" / "sub").exists()

    make_clip(bad, frames=2)  # mended
    job = once(folder)["sub/bad.mp4"]
    assert (job.state, job.attempts, job.moved_to) == ("done", 0, "")
    aside.rename(bad)  # the old one again, as it is
    assert once(folder)["sub/bad.mp4"].state == "quarantined"
    assert files(folder / "in/vsr-quarantine/sub") == [
        *("bad (2).mp4", "bad (2).mp4.log", "bad.mp4.log")
    ]


def test_a_changed_source_replaces_its_own_result_only(folder: Path) -> None:
    source, result = folder / "in" / "a.mkv", folder / "out" / "a.mkv"
    make_clip(source, frames=2)
    assert once(folder)["a.mkv"].completions == 1
    make_clip(source, frames=5)
    assert once(folder)["a.mkv"].completions == 2
    assert len(decode_frames(result).times) == 5
    result.write_text("touched by somebody")
    make_clip(source, frames=3)
    job = once(folder)["a.mkv"]
    assert (job.completions, Path(job.destination).name) == (3, "a (2).mkv")
    assert result.read_text() == "touched by somebody"


def test_the_same_content_is_done_once_under_each_of_its_names(folder: Path) -> None:
    make_clip(folder / "in" / "a.mkv", frames=2)
    (folder / "in" / "b.mkv").hardlink_to(folder / "in" / "a.mkv")
    shutil.copy(folder / "in" / "a.mkv", folder / "in" / "c.mkv")
    jobs = once(folder)
    assert [job.state for job in jobs.values()] == ["done"] * 3
    assert jobs["b.mkv"].reason == "has the same content as a.mkv: its result"
    result = folder / "out" / "a.mkv"
    assert all(result.samefile(folder / "out" / name) for name in ("b.mkv", "c.mkv"))
    (folder / "in" / "a.mkv").rename(folder / "in" / "d.mkv")
    jobs = once(folder)
    assert jobs["d.mkv"].reason.startswith("has the same content as")
    assert jobs["a.mkv"].completions == 1
    assert result.samefile(folder / "out" / "d.mkv")


def test_results_inside_the_watched_folder_are_no_sources(tmp_path: Path) -> None:
    make_clip(tmp_path / "a.mkv", frames=2)
    request = WatchRequest(
        source=tmp_path, destination=tmp_path / "big", wishes=QUICK, settle=0, once=True
    )
    for _ in range(2):
        with Watcher(request, written=lambda _: False) as watcher:
            assert watcher.run() == 0
            assert list(watcher.ledger.known()) == ["a.mkv"]


def test_a_full_disk_is_waited_for(folder: Path) -> None:
    make_clip(folder / "in" / "a.mkv", frames=2)
    job = once(folder, policy=Policy(keep_free=10**18))["a.mkv"]
    assert (job.state, job.attempts) == ("queued", 0)
    assert job.reason.startswith("waits for room on the disk: needs 1e+09 GB, ")
    assert job.next_try > time.time()
    assert files(folder / "out") == []
    command = ["watch", str(folder / "in"), str(folder / "out"), "--once", *OPTIONS]
    assert run(command) == 4  # nor is it time to look again


def test_a_worker_that_is_killed_fails_its_file_only(folder: Path) -> None:
    """As when the system is out of memory: the next attempt gets a new process."""
    make_clip(folder / "in" / "a.mkv", frames=30, width=160, height=120)
    make_clip(folder / "in" / "b.mkv", frames=2)
    request = request_for(folder, policy=Policy(attempts=2, delay=0))
    killed: list[str] = []

    def kill(event: Any) -> None:
        if isinstance(event, tuple) and not killed:
            job, _ = event
            killed.append(job.path)
            (worker,) = (runner.worker for runner in watcher._runners)
            assert worker._process is not None
            worker._process.kill()

    with Watcher(request, on_event=kill, written=lambda _: False) as watcher:
        watcher.run()
        jobs = watcher.ledger.known()
    assert killed == ["a.mkv"]
    assert [job.state for job in jobs.values()] == ["done", "done"]
    assert (jobs["a.mkv"].attempts, jobs["b.mkv"].attempts) == (1, 0)
    assert files(folder / "out") == ["a.mkv", "b.mkv"]  # no temporary file is left


def test_a_result_that_was_there_before_the_crash_is_not_made_twice(folder: Path) -> None:
    make_clip(folder / "in" / "a.mkv", frames=2)
    job = once(folder)["a.mkv"]
    before = (folder / "out" / "a.mkv").stat()
    with Ledger(ledger_path(folder / "out")) as ledger:  # as if the watcher had died in between
        ledger.set(job, state="running", completions=0, result_size=None, result_mtime_ns=None)
        ledger.made(job, job.result)
    job = once(folder)["a.mkv"]
    assert (job.state, job.completions, job.interruptions) == ("done", 1, 1)
    assert (folder / "out" / "a.mkv").stat() == before
    assert files(folder / "out") == ["a.mkv"]


def test_a_second_watcher_is_refused(folder: Path) -> None:
    request = WatchRequest(source=folder / "in", destination=folder / "out", once=True)
    with (
        Watcher(request),
        pytest.raises(UsageError, match=f"another watcher .* process {os.getpid()} on"),
    ):
        Watcher(request)
    (folder / "other").mkdir()
    with pytest.raises(UsageError, match="this ledger is about the folder"):
        Watcher(WatchRequest(source=folder / "other", destination=folder / "out"))


def until(reached: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait for something to become true, which must not take for ever."""
    for _ in range(2400):
        if reached():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("it does not happen")


class Session:
    """Watchers in processes of their own, one after the other, over one folder."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.options = options
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "vsr", "watch"]
        command += [str(self.folder / "in"), str(self.folder / "out"), *OPTIONS, *self.options]
        self.process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        return self.process

    def counts(self) -> dict[str, int]:
        path = ledger_path(self.folder / "out")
        if not path.is_file():
            return {}
        try:
            with Ledger(path, read_only=True) as ledger:
                return {str(state): count for state, count in ledger.counts().items()}
        except InputError:  # it is just being made
            return {}

    def ended(self) -> int:
        counts = self.counts()
        return counts.get("done", 0) + counts.get("quarantined", 0)


@pytest.fixture
def session(folder: Path) -> Iterator[Session]:
    found = Session(folder)
    yield found
    if found.process is not None and found.process.poll() is None:
        found.process.kill()
        found.process.communicate()


def test_new_files_are_noticed_and_sigterm_ends_well(folder: Path, session: Session) -> None:
    process = session.start()
    until(lambda: bool(session.counts()), process)
    make_clip(folder / "slow.mkv", frames=2)
    data = (folder / "slow.mkv").read_bytes()
    with (folder / "in" / "slow.mkv").open("wb") as slow:
        slow.write(data[:1000])
        slow.flush()
        make_clip(folder / "moved.mkv", frames=3)
        (folder / "moved.mkv").rename(folder / "in" / "moved.mkv")
        (folder / "deep").mkdir()
        (folder / "deep" / "linked.mkv").hardlink_to(folder / "in" / "moved.mkv")
        shutil.move(folder / "deep", folder / "in" / "deep")
        until(lambda: session.counts()["done"] == 2, process)
        slow.write(data[1000:])
    until(lambda: session.counts()["done"] == 3, process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert files(folder / "out") == ["deep/linked.mkv", "moved.mkv", "slow.mkv"]
    assert "failed" not in err


def test_sigterm_inside_a_file_leaves_it_for_the_next_watcher(
    folder: Path, session: Session
) -> None:
    make_clip(folder / "in" / "long.mkv", frames=200, rate=2, width=320, height=180)
    process = session.start()
    kept = folder / "out" / "long.mkv.vsr"
    until(lambda: bool(list(kept.glob("*.segment"))), process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    assert process.returncode == 0, err
    with Ledger(ledger_path(folder / "out"), read_only=True) as ledger:
        (job,) = ledger.jobs()
    assert (job.state, job.attempts, job.interruptions) == ("queued", 0, 0)
    assert job.reason == "was stopped, and goes on"
    assert list(kept.glob("*.segment"))
    once(folder)
    assert files(folder / "out") == ["long.mkv"]
    assert len(decode_frames(folder / "out" / "long.mkv").times) == 200


@pytest.mark.slow
def test_two_hundred_files_with_ten_bad_ones_and_three_restarts(
    folder: Path, session: Session
) -> None:
    rng = random.Random(7)
    bad = set(rng.sample(range(200), 10))
    make_clip(folder / "clip.mkv", frames=2, width=32, height=16)
    clip = (folder / "clip.mkv").read_bytes()
    for number in range(200):
        path = folder / "in" / f"{number % 7}" / f"{number:03}.mkv"
        path.parent.mkdir(exist_ok=True)
        # Bytes behind the last cluster make each file's content its own.
        void = b"\xec\x84" + number.to_bytes(4, "big")
        path.write_bytes(b"bad %d" % number if number in bad else clip + void)
    session.options = ("--attempts", "2", "--max-concurrent", "2")
    for how, after in (("SIGKILL", 40), ("SIGTERM", 90), ("SIGKILL", 140)):
        process = session.start()
        until(lambda enough=after: session.ended() >= enough, process)  # type: ignore[misc]
        process.send_signal(getattr(signal, how))
        _, err = process.communicate()
        assert process.returncode == (0 if how == "SIGTERM" else -signal.SIGKILL), err
        assert session.ended() < 200
        # Its workers notice that it is gone; until they have, nobody else gets the lock.
        until_free(ledger_path(folder / "out"))
    process = session.start()
    until(lambda: session.ended() == 200, process)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 0

    with Ledger(ledger_path(folder / "out"), read_only=True) as ledger:
        jobs = ledger.known()
    assert len(jobs) == 200
    for path, job in jobs.items():
        number = int(Path(path).stem)
        if number in bad:
            assert (job.state, job.completions, job.attempts) == ("quarantined", 0, 2)
            assert job.reason
            assert Path(job.moved_to).read_bytes() == b"bad %d" % number
            assert Path(job.log).parent == Path(job.moved_to).parent
        else:
            assert (job.state, job.completions) == ("done", 1)
    good = sorted(f"{n % 7}/{n:03}.mkv" for n in range(200) if n not in bad)
    assert files(folder / "out") == good  # each under its first choice of a name, nothing else
    assert len({path.stat().st_ino for path in (folder / "out").rglob("[0-9]*.mkv")}) == 190


def until_free(ledger: Path) -> None:
    """Wait until whoever had the lock of the ledger is gone."""
    from pipelines.queue.lock import Lock

    for _ in range(1200):
        try:
            Lock(ledger).release()
        except UsageError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("a worker does not end")


def test_several_at_a_time_and_an_event_that_breaks_is_no_secret(folder: Path) -> None:
    for name in "abcd":
        make_clip(folder / "in" / f"{name}.mkv", frames=ord(name) - 95)
    threads = set()

    def heard(event: Any) -> None:
        threads.add(threading.current_thread().name)
        if isinstance(event, tuple) and event[0].path == "d.mkv":
            raise ZeroDivisionError("the listener broke")

    request = request_for(folder, workers=2)
    with (
        Watcher(request, on_event=heard, written=lambda _: False) as watcher,
        pytest.raises(ZeroDivisionError),
    ):
        watcher.run()
    assert once(folder)["d.mkv"].completions == 1

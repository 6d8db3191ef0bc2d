"""The ledger of a queue: what it remembers, whom it lets write, and that no job is given twice."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.queue.job import Identity, identify
from pipelines.queue.ledger import Ledger
from pipelines.queue.lock import Lock
from pipelines.queue.names import candidates, leftovers
from pipelines.queue.run import Policy
from vsr.errors import InputError, OutputError, UsageError
from vsr.media.write.atomic import AtomicFile

ONE = Identity(100, 1, 7, 1)


def test_jobs_are_given_in_order_and_once() -> None:
    with Ledger(None) as ledger:
        for name in ("b", "a", "c"):
            ledger.add(name, ONE, now=1.0)
        given_out = [ledger.claim(now=2.0) for _ in range(4)]
        assert [job and job.path for job in given_out] == ["b", "a", "c", None]
        assert ledger.counts()["running"] == 3


def test_a_retry_waits_for_its_time_and_comes_after_new_files() -> None:
    with Ledger(None) as ledger:
        job = ledger.add("late", ONE, now=0.0)
        ledger.set(job, state="failed", next_try=50.0, reason="no")
        assert ledger.claim(now=49.9) is None
        assert ledger.next_time() == 50.0
        ledger.add("new", ONE, now=1.0)
        paths = [job.path for job in iter(lambda: ledger.claim(now=60.0), None)]
        assert paths == ["new", "late"]


def test_no_job_is_given_twice_to_many_threads() -> None:
    with Ledger(None) as ledger:
        for number in range(200):
            ledger.add(str(number), ONE, now=0.0)
        got: list[int] = []

        def take() -> None:
            while (job := ledger.claim(now=1.0)) is not None:
                got.append(job.id)

        threads = [threading.Thread(target=take) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(got) == list(range(1, 201))


def test_everything_survives_a_process_that_never_closes(tmp_path: Path) -> None:
    path = tmp_path / "new" / "ledger.sqlite"
    first = Ledger(path)
    job = first.add("sub/a.mp4", Identity(5, 2**62, 2**64 - 1, 3), now=1.5)
    assert first.claim(now=2.0) is not None
    first.set(job, frames=3, total=9, fps=1.5, eta=4.0)
    with Ledger(path, read_only=True) as seen, sqlite3.connect(path) as raw:
        assert seen.at("sub/a.mp4") == first.job(job.id)
        assert seen.jobs()[0].identity == Identity(5, 2**62, 2**64 - 1, 3)
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    raw.close()
    with Ledger(path) as second:  # the first one still lives, as after SIGKILL its files do
        assert [job.path for job in second.recover()] == ["sub/a.mp4"]
        again = second.claim(now=3.0)
        assert again is not None
        assert (again.interruptions, again.attempts, again.frames) == (1, 0, 0)
    first.close()


def test_a_changed_source_is_queued_anew_and_keeps_its_result() -> None:
    with Ledger(None) as ledger:
        job = ledger.add("a", ONE, now=0.0)
        assert ledger.take_destination(job, Path("/out/a.mkv"))
        ledger.claim(now=1.0)
        ledger.done(job, Identity(9, 9), now=2.0)
        renewed = ledger.add("a", Identity(101, 2), now=3.0)
        assert (renewed.id, renewed.state, renewed.completions) == (job.id, "queued", 1)
        assert (renewed.destination, renewed.result) == ("/out/a.mkv", Identity(9, 9))


def test_two_jobs_never_have_one_name() -> None:
    with Ledger(None) as ledger:
        a, b = (ledger.add(name, ONE, now=0.0) for name in "ab")
        assert ledger.take_destination(a, Path("/out/Clip.mkv"))
        assert not ledger.take_destination(b, Path("/out/clip.MKV"))
        assert ledger.take_destination(b, Path("/out/clip (2).mkv"))
        ledger.free_destination(a)
        assert ledger.take_destination(b, Path("/out/clip.mkv"))


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="file names are text there")
def test_names_that_are_no_text_are_kept(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.mp4")
    with Ledger(tmp_path / "l.sqlite") as ledger:
        job = ledger.add(name, ONE, now=0.0)
        assert ledger.take_destination(job, tmp_path / name)
        assert ledger.at(name) == ledger.job(job.id)
        found = ledger.job(job.id)
        assert found is not None
        assert (found.path, found.destination) == (name, str(tmp_path / name))


def test_what_is_no_ledger_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no ledger here"):
        Ledger(tmp_path / "none", read_only=True)
    (tmp_path / "empty").touch()
    sqlite3.connect(tmp_path / "another").execute("CREATE TABLE films (name)").connection.close()
    for name in ("empty", "another"):
        with pytest.raises(InputError, match="there is no ledger here"):
            Ledger(tmp_path / name, read_only=True)
    (tmp_path / "text").write_text("this is a text, and long enough to be taken for a header" * 9)
    with pytest.raises(InputError, match="cannot be used: file is not a database"):
        Ledger(tmp_path / "text", read_only=True)
    newer = sqlite3.connect(tmp_path / "newer")
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(OutputError, match="has the form 99"):
        Ledger(tmp_path / "newer")


def test_only_one_has_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with Lock(path), pytest.raises(UsageError, match=rf"process {os.getpid()} on .*, or a worker"):
        Lock(path)
    with Lock(path):
        pass


def test_waiting_doubles_up_to_its_limit() -> None:
    policy = Policy(delay=60, longest=3600)
    assert [policy.wait(n) for n in range(1, 9)] == [60, 120, 240, 480, 960, 1920, 3600, 3600]


@given(st.from_regex(r"[a-c. ]{0,3}[a-c](\.(mp4|mkv|avi))?", fullmatch=True))
def test_names_never_repeat_and_keep_the_folder(name: str) -> None:
    names = [
        path for path, _ in zip(candidates(Path("x/y") / name, ".mkv"), range(6), strict=False)
    ]
    assert len(set(names)) == 6
    assert {path.parent for path in names} == {Path("x/y")}
    assert {path.suffix for path in names} == {".mkv"}


def test_names_say_whose_result_it_is() -> None:
    names = candidates(Path("s/a.mp4"), ".mkv")
    assert [str(next(names)) for _ in range(4)] == [
        "s/a.mkv",
        "s/a.mp4.mkv",
        "s/a (2).mkv",
        "s/a (3).mkv",
    ]


def test_only_own_temporary_files_are_left_over(tmp_path: Path) -> None:
    wanted = tmp_path / "a (2).mkv"
    left = AtomicFile(str(wanted), overwrite=False).path
    other = AtomicFile(str(tmp_path / "a.mkv"), overwrite=False).path
    wanted.write_bytes(b"")
    assert list(leftovers(wanted)) == [left]
    assert list(leftovers(tmp_path / "a.mkv")) == [other]
    assert list(leftovers(tmp_path / "none" / "a.mkv")) == []


def test_identity_sees_changes_but_no_new_inode(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12")
    first = identify(path)
    (tmp_path / "b").hardlink_to(path)
    assert identify(tmp_path / "b").same_file(first)
    assert first.same_content(Identity(first.size, first.mtime_ns, 1, 1))
    os.utime(path, ns=(0, first.mtime_ns + 1))
    assert not identify(path).same_content(first)

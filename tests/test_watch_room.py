"""Room on the disk: a ledger, a log or a run that finds none, and runs that would share it."""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from synth import make_clip
from watching import watcher

import pipelines.watch.watcher
from pipelines.queue.job import Identity, Job
from pipelines.queue.ledger import Ledger, LedgerFullError
from pipelines.queue.messages import Message, Order, Planned, Stopped
from pipelines.queue.process import Worker
from pipelines.queue.room.space import space_needed
from pipelines.queue.room.stream import log_stream
from pipelines.queue.run import Policy, Queue, Runner
from pipelines.upscale import prepare_upscale
from pipelines.watch.watcher import Said, Watcher
from vsr.cli.queue import json_listener, text_listener

LONG = "n" * 200


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    return tmp_path


def fill(ledger: Ledger, *, free: int) -> None:
    """Let the database have room for ``free`` more pages, as on a disk that is full after that."""
    (pages,) = ledger._connection.execute("PRAGMA page_count").fetchone()
    ledger._connection.execute(f"PRAGMA max_page_count = {pages + free}").fetchone()


def many(number: int) -> list[tuple[str, Identity]]:
    return [(f"{LONG}{n}.mkv", Identity(n + 1, 1)) for n in range(number)]


def test_what_the_ledger_has_no_room_for_is_written_when_there_is(tmp_path: Path) -> None:
    asked: list[int] = []

    def full() -> bool:
        asked.append(sum(ledger.counts().values()))  # readers go on
        if len(asked) == 2:
            fill(ledger, free=1000)
        return True

    with Ledger(tmp_path / "ledger.sqlite", full=full) as ledger:
        fill(ledger, free=0)
        jobs = ledger.add_all(many(100), now=1.0)
        assert [job.path for job in jobs] == [path for path, _ in many(100)]
        assert asked == [0, 0]  # all of it or nothing
        assert ledger.counts()["queued"] == 100


def test_a_ledger_that_nobody_waits_for_stays_usable(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        job = ledger.add("a.mkv", Identity(1, 1), now=0.0)
        fill(ledger, free=0)
        with pytest.raises(LedgerFullError, match="full"):
            ledger.add_all(many(100), now=1.0)
        ledger.set(job, reason="room for this there is")
        assert ledger.counts()["queued"] == 1


def test_a_watcher_waits_for_room_for_its_ledger(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines.watch.watcher, "_FULL_SECONDS", 0.0)
    for name, _ in many(60):
        (folder / "in" / name).write_bytes(b"x")
    waited = 0
    wait = Watcher._wait_for_room

    def waiting(self: Watcher) -> bool:
        nonlocal waited
        waited += 1
        if waited == 3:
            fill(self.ledger, free=1000)
        return wait(self)

    monkeypatch.setattr(Watcher, "_wait_for_room", waiting)
    events: list[Any] = []
    with watcher(folder, events, once=False) as one:
        fill(one.ledger, free=0)
        one._look()
        assert one.ledger.counts()["queued"] == 60
    said = f"no room for the ledger {folder / 'out/.vsr-watch/ledger.sqlite'}: waiting for it"
    assert events == [Said(said, warning=True)]  # once
    assert waited == 3


@pytest.mark.parametrize("once", [False, True])
def test_it_does_not_wait_when_it_is_to_end(folder: Path, once: bool) -> None:
    for name, _ in many(60):
        (folder / "in" / name).write_bytes(b"x")
    events: list[Any] = []
    with watcher(folder, events, once=once) as one:
        fill(one.ledger, free=0)
        one._on_event = lambda event: (events.append(event), one.stop())
        with pytest.raises(LedgerFullError):
            one._look()
    assert len(events) == (0 if once else 1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("kind", ["text", "json"])
def test_a_log_on_a_full_disk_ends_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, listen = ("stderr", text_listener()) if kind == "text" else ("stdout", json_listener())
    full = Path("/dev/full").open("w")  # noqa: SIM115 - closing it fails
    monkeypatch.setattr(sys, name, full)
    listen(Said("one"))
    listen(Said("two", warning=True))
    room = io.StringIO()
    monkeypatch.setattr(sys, name, room)
    with suppress(OSError):
        full.close()
    listen(Said("three"))
    listen(Said("four"))
    lines = room.getvalue().splitlines()
    assert "of 2 messages before this some may be missing" in lines[0]
    assert ["three" in lines[1], "four" in lines[2], len(lines)] == [True, True, 3]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_the_log_of_a_run_leaves_out_what_has_no_room(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        descriptor = os.dup(log.fileno())
        stream = log_stream(descriptor)
        print("one", file=stream)
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, descriptor)
        for text in ("two", "x" * 100_000):
            print(text, file=stream)
        os.dup2(log.fileno(), descriptor)
        print("three\nfour", file=stream)
        stream.close()
        os.close(descriptor)
        os.close(full)
    gap = "\n(the disk was full: something is missing here)\n"
    assert (tmp_path / "log").read_text() == f"one\n{gap}three\nfour\n"


def test_what_is_finished_of_a_job_needs_no_room_again(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mkv", frames=40, rate=2, width=32, height=16).path
    plan, _ = prepare_upscale(str(source), str(tmp_path / "b.mkv"), model="bicubic", codec="ffv1")
    whole = space_needed(plan)
    kept = tmp_path / "b.mkv.vsr"
    kept.mkdir()
    (kept / "0.segment").write_bytes(bytes(5000))
    assert space_needed(plan) == whole - 5000
    (kept / "1.segment").write_bytes(bytes(whole))
    assert space_needed(plan) == 0


def test_two_that_begin_at_once_do_not_share_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second is weighed when it is known what the first needs, however long that takes."""
    ordered, running = threading.Barrier(2, timeout=60), threading.Barrier(2, timeout=60)
    order, kept = Runner._order, []

    def ordering(self: Runner, job: Job, destination: Path) -> Order:
        made = order(self, job, destination)
        ordered.wait()  # both have their orders before either is planned
        return made

    def do(self: Worker, given: Order) -> Iterator[Message]:
        kept.append(given.keep_free)
        yield Planned(None, 100, None)  # type: ignore[arg-type] - nobody looks at it
        running.wait()
        yield Stopped()

    monkeypatch.setattr(Runner, "_order", ordering)
    monkeypatch.setattr(Worker, "do", do)
    with Ledger(None) as ledger:
        for name in "ab":
            ledger.add(name, Identity(1, 1), now=0.0)
        queue = Queue(
            ledger,
            Path(),
            destination=lambda job: Path(f"{job.path}.mkv"),
            wishes={},
            policy=Policy(keep_free=7),
            clock=time.time,
        )
        threads = [threading.Thread(target=Runner(queue).run_next) for _ in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert kept == [7, 107]
        assert queue.room.reserved() == 0

"""When ``vsr watch`` looks, waits and stops; what it says, and what it takes for its own."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from synth import make_clip
from watchfiles import Change
from watching import watcher

import pipelines.queue.run
import pipelines.watch.watcher
from pipelines.playlist import expand
from pipelines.queue.job import Identity, Job
from pipelines.queue.ledger import Ledger
from pipelines.queue.log import begin_anew
from pipelines.queue.messages import Failed, Message, Order
from pipelines.queue.policy import Blameless
from pipelines.queue.process import Worker
from pipelines.queue.run import Policy, Runner
from pipelines.watch.find import Found, Settling
from pipelines.watch.notify import Notifier
from pipelines.watch.request import WatchRequest, ledger_path
from pipelines.watch.watcher import Said, Watcher
from vsr.cli.entry import run
from vsr.cli.queue import status_json, text_listener
from vsr.errors import InputError

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    return tmp_path


def test_a_look_ends_when_the_watcher_is_to_stop(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(9):
        (folder / "in" / f"{number}.mkv").write_bytes(b"x")
    looked: list[str] = []
    with watcher(folder, []) as one:

        def settled(_root: Path, found: Found) -> bool:
            looked.append(found.path)
            if len(looked) == 3:
                one.stop()
            return True

        monkeypatch.setattr(one._settling, "settled", settled)
        one._look()
        assert looked == ["0.mkv", "1.mkv", "2.mkv"]
        assert one.ledger.known() == {}  # the next watcher finds them


def test_many_new_files_are_queued_together(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(450):
        (folder / "in" / f"{number}.mkv").write_bytes(b"x")
    sizes: list[int] = []
    add_all = Ledger.add_all

    def counted(self: Ledger, sources: Any, *, now: float) -> list[Job]:
        sizes.append(len(sources))
        return add_all(self, sources, now=now)

    monkeypatch.setattr(Ledger, "add_all", counted)
    with watcher(folder, []) as one:
        one._look()
        assert one.ledger.counts()["queued"] == 450
    assert sizes == [200, 200, 50]


def fail(_worker: Worker, order: Order) -> Iterator[Message]:
    """As a worker does with what is no video."""
    yield Failed("InputError", "no video in it", order.source, "", 3)


def test_a_time_by_a_clock_that_was_wrong_is_not_waited_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Worker, "do", fail)
    (folder / "in" / "bad.mkv").write_bytes(b"no video" * 100)
    with watcher(folder, [], later=10 * 86400, policy=Policy()) as one:
        one.run()
    with watcher(folder, [], policy=Policy()) as one:
        one.run()
        (job,) = one.ledger.jobs()
    assert (job.state, job.attempts) == ("failed", 1)
    assert job.next_try <= time.time() + 3600
    with watcher(folder, [], later=3601, policy=Policy()) as one:
        one.run()
        (job,) = one.ledger.jobs()
    assert job.attempts == 2


def test_an_empty_file_is_not_settled_yet() -> None:
    settling = Settling(0, clock=lambda: 0.0, written=lambda _: False)
    assert not settling.settled(Path(), Found("a.mkv", Identity(0, 5)))
    assert settling.wait() is None  # and nobody looks all the time
    assert settling.settled(Path(), Found("a.mkv", Identity(1, 6)))


def test_an_empty_file_is_left_where_it_is(folder: Path) -> None:
    (folder / "in" / "a.mkv").touch()
    with watcher(folder, []) as one:
        assert one.run() == 0
        assert one.ledger.known() == {}
    assert (folder / "in" / "a.mkv").exists()


def test_changes_behind_links_wake_nobody(folder: Path) -> None:
    (folder / "elsewhere" / "deep").mkdir(parents=True)
    (folder / "in" / "link").symlink_to(folder / "elsewhere", target_is_directory=True)
    (folder / "in" / "sub").mkdir()
    (folder / "in" / "film.mkv").symlink_to(folder / "elsewhere" / "film.mkv")
    notifier = Notifier(
        folder / "in", skip=[folder / "out"], changed=lambda: None, failed=lambda _: None
    )
    notifier.stop()
    inside = (folder / "in").resolve()
    seen = {
        name: notifier._matters(Change.added, str(inside / name))
        for name in ("link/deep/a.mkv", "link/a.mkv", "link", "sub/a.mkv", "film.mkv", "a.mkv")
    }
    assert seen == {
        "link/deep/a.mkv": False,
        "link/a.mkv": False,
        "link": True,
        "sub/a.mkv": True,
        "film.mkv": True,
        "a.mkv": True,
    }


def test_what_is_nobodys_fault_waits_longer_each_time() -> None:
    policy = Policy(delay=10, longest=3600)
    waits = [policy.wait(n, blameless=True) for n in (1, 2, 3, 8, 9999)]
    assert waits == [30, 60, 120, 3600, 3600]
    slow = Policy(delay=7200)
    assert [slow.wait(1), slow.wait(2), slow.wait(1, blameless=True)] == [7200, 7200, 7200]
    assert Policy(delay=0).wait(5) == 0
    counter = Blameless()
    job = Job(id=1, path="a", identity=Identity(1, 1), state="running")
    again = Job(id=1, path="a", identity=Identity(1, 1), state="running", error="ModelError")
    assert [counter.times(one) for one in (job, again, again, job, again)] == [1, 2, 3, 1, 2]


def test_a_preset_that_stays_broken_is_met_less_and_less(folder: Path) -> None:
    make_clip(folder / "in" / "a.mkv", frames=2)
    preset = folder / "mine.toml"
    preset.write_text('description = "mine"\n[model]\nname = "bicubic"\n')
    now = [1000.0]
    request = WatchRequest(
        source=folder / "in",
        destination=folder / "out",
        wishes={"preset": str(preset)},
        settle=0,
        once=True,
        policy=Policy(delay=50),
    )
    waits = []
    with Watcher(request, written=lambda _: False, clock=lambda: now[0]) as one:
        preset.write_text("[model\n")
        one._look()
        for _ in range(3):
            assert one._runners[0].run_next()
            (job,) = one.ledger.jobs()
            waits.append(job.next_try - now[0])
            now[0] = job.next_try
    assert waits == [50, 100, 200]
    assert job.attempts == 0


def test_a_log_has_an_end(tmp_path: Path) -> None:
    log = tmp_path / "1.log"
    begin_anew(log)
    assert not log.exists()
    log.write_text("x" * 1_000_000)
    begin_anew(log)
    assert log.stat().st_size == 1_000_000
    log.write_text("x" * 1_000_001)
    begin_anew(log)
    assert log.read_text() == "what earlier attempts have written was too much, and is dropped\n"


def test_a_ledger_on_a_network_drive_is_told_of(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def kind(place: Path) -> str | None:
        asked.append(place)
        return "nfs4" if place.name == ".vsr-watch" else None

    monkeypatch.setattr(pipelines.watch.watcher, "network_file_system", kind)
    events: list[Any] = []
    with watcher(folder, events) as one:
        one.run()
    (said,) = events
    assert said.warning
    assert "is on a network drive (nfs4)" in said.text
    assert "--ledger" in said.text


def test_status_says_that_no_watcher_runs(folder: Path, capsys: Captured) -> None:
    out = str(folder / "out")
    with watcher(folder, []) as one:
        one.ledger.add("a.mkv", Identity(1, 1), now=1.0)
        job = one.ledger.claim(now=2.0)
        assert job is not None
        one.ledger.set(job, frames=3, total=9, fps=2.0, eta=3.0)
        assert run(["watch", "status", out]) == 0
        running = capsys.readouterr().out
        assert status_json(one.ledger)["watcher"] is True
    assert "1 running\n" in running
    assert "3/9 frames, 2 fps, 3.0 s left" in running
    assert run(["watch", "status", out]) == 0
    alone = capsys.readouterr().out
    assert "1 cut off; no watcher runs\n" in alone
    assert "\ncut off\n" in alone
    assert "3/9 frames; the next watcher goes on" in alone
    assert run(["watch", "status", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["watcher"] is False


def test_a_name_begins_no_line_of_its_own(folder: Path, capsys: Captured) -> None:
    name = "a\ndone: b.mkv -> c.mkv\n.mkv"
    text_listener()(Said(f"{name} was cut off, and goes on"))
    assert capsys.readouterr().err == "a?done: b.mkv -> c.mkv?.mkv was cut off, and goes on\n"
    with Ledger(ledger_path(folder / "out")) as ledger:
        ledger.add(name, Identity(1, 1), now=1.0)
    assert run(["watch", "status", str(folder / "out")]) == 0
    assert not [line for line in capsys.readouterr().out.splitlines() if line.startswith("done")]


def test_what_was_moved_away_as_the_watcher_was_killed_is_quarantined(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "in" / "bad.mkv").write_bytes(b"no video" * 100)
    monkeypatch.setattr(Worker, "do", fail)
    set_aside = pipelines.queue.run.set_aside

    class Killed(BaseException):
        pass

    def killed(*arguments: Any) -> None:
        set_aside(*arguments)
        raise Killed

    with watcher(folder, []) as one, monkeypatch.context() as now:
        now.setattr(pipelines.queue.run, "set_aside", killed)
        now.setattr(Runner, "_again", lambda *_: None)  # nothing is written after the kill
        one._look()
        with pytest.raises(Killed):
            one._runners[0].run_next()
        assert one.ledger.counts()["running"] == 1
    events: list[Any] = []
    with watcher(folder, events) as one:
        assert one.run() == 3
        (job,) = one.ledger.jobs()
    aside = folder / "in" / "vsr-quarantine" / "bad.mkv"
    assert (job.state, job.moved_to, job.log) == ("quarantined", str(aside), f"{aside}.log")
    assert (job.error, job.attempts) == ("InputError", 1)
    aside.rename(folder / "in" / "bad.mkv")
    with watcher(folder, []) as one:
        one.run()
        (job,) = one.ledger.jobs()
    assert (job.state, Path(job.moved_to).name) == ("quarantined", "bad (2).mkv")


def test_a_file_whose_name_begins_like_a_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home.mp4").write_text("b.mp4\n")
    assert expand(["@home.mp4"]) == ["b.mp4"]
    (tmp_path / "@home.mp4").write_bytes(b"a video")
    assert expand(["@home.mp4", "a.mp4"]) == ["@home.mp4", "a.mp4"]
    assert expand(["@./home.mp4"]) == ["b.mp4"]
    with pytest.raises(InputError, match=r"cannot read the list(.|\n)*name it \./@none\.mp4"):
        expand(["@none.mp4"])

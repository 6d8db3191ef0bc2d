"""What a watcher takes for a source, and when."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.queue.job import Identity
from pipelines.watch.find import Filter, Found, Settling, find, has_writer
from vsr.cli.entry import run


@pytest.mark.parametrize(
    ("path", "taken"),
    [
        ("a.mp4", True),
        ("deep/er/A.MKV", True),
        ("a.txt", False),
        ("a.mp4.part", False),
        ("a.mkv.crdownload", False),
        ("a.tmp", False),
        ("a.mp4~", False),
        (".a.mp4", False),
        (".vsr-watch/a.mp4", False),
        ("mp4", False),
    ],
)
def test_videos_are_taken_and_unfinished_files_are_not(path: str, taken: bool) -> None:
    assert Filter().takes(path) is taken


def test_patterns() -> None:
    some = Filter(include=("*.MKV", "shows/*"), exclude=("*sample*", "shows/old/*"))
    taken = ["a.mkv", "x/b.Mkv", "shows/c.anything", "shows/new/d.mp4"]
    left = ["a.mp4", "shows/c-Sample.mkv", "shows/old/d.mkv", "shows/c.part", "x/.b.mkv"]
    assert [path for path in taken + left if some.takes(path)] == taken


def test_find_goes_everywhere_but_where_it_must_not(tmp_path: Path) -> None:
    for name in ("b.mp4", "a/c.mkv", "a/no.txt", ".h/d.mp4", "out/e.mp4", "q/f.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "link.mp4").symlink_to(tmp_path / "b.mp4")
    (tmp_path / "broken.mp4").symlink_to(tmp_path / "nowhere")
    found = find(tmp_path, Filter(), skip=(tmp_path / "out", tmp_path / "a" / ".." / "q"))
    assert [item.path for item in found] == ["a/c.mkv", "b.mp4", "link.mp4"]


def test_what_cannot_be_looked_at_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(find(tmp_path / "none", Filter()))
    told: list[OSError] = []
    assert list(find(tmp_path / "none", Filter(), problem=told.append)) == []
    assert told[0].filename == str(tmp_path / "none")


def test_a_folder_that_cannot_be_told_from_others_now_ends_the_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A drive that does not answer: its results might be taken for sources."""
    (tmp_path / "a.mp4").write_bytes(b"x")
    original = os.stat

    def stat(path: str | Path, **more: Any) -> os.stat_result:
        if Path(path).name == "out":
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return original(path, **more)

    monkeypatch.setattr(os, "stat", stat)
    told: list[OSError] = []
    skip = (tmp_path / "out",)
    assert list(find(tmp_path, Filter(), skip=skip, problem=told.append)) == []
    assert [error.filename for error in told] == [str(tmp_path / "out")]


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_file_settles_when_nothing_changes_for_long_enough() -> None:
    clock, writing = Clock(), {Path("in/a.mp4"): False}
    settling = Settling(10, clock=clock, written=lambda path: writing[path])

    def look(size: int, after: float) -> bool:
        clock.now += after
        return settling.settled(Path("in"), Found("a.mp4", Identity(size, 5)))

    assert not look(1, 0)
    assert not look(1, 9.9)
    assert settling.wait() == pytest.approx(
        0.5
    )  # it is nearly there, but not looked at all the time
    assert not look(2, 5)  # it grew: from the beginning
    assert settling.wait() == pytest.approx(10)
    writing[Path("in/a.mp4")] = True
    assert not look(2, 50)  # somebody has it open
    writing[Path("in/a.mp4")] = False
    assert look(2, 0)
    assert settling.wait() is None
    assert not look(2, 0)  # asked again, it is new


def test_files_that_go_away_are_forgotten() -> None:
    settling = Settling(10, clock=Clock(), written=lambda _: False)
    settling.settled(Path(), Found("a", Identity(1, 1)))
    settling.keep({"b"})
    assert settling.wait() is None


def test_no_settling_takes_files_at_once() -> None:
    settling = Settling(0, clock=Clock(), written=lambda _: False)
    assert settling.settled(Path(), Found("a", Identity(1, 1)))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_linux_tells_of_writers(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with path.open("wb"):
        assert has_writer(path)
    assert not has_writer(path)
    with path.open("rb"):
        assert not has_writer(path)
    assert not has_writer(tmp_path / "none")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["none", "out"], 3, "none: there is no such folder"),
        (["in", "in"], 2, "results cannot go into the watched folder itself"),
        (["in", "out", "--preset", "x9"], 2, "x9"),
        (["in", "out", "--codec", "xyz"], 2, "xyz"),
        (["in"], 2, "Missing argument 'OUT'"),
        (["in", "out", "--serve", "8080"], 2, "'8080' is no HOST:PORT"),
        (["in", "out", "--serve-anyone"], 2, "--serve-anyone goes with --serve"),
        (["in", "out", "--keep-free", "much"], 2, "'much' is not a size"),
        (["in", "out", "--serve", "0.0.0.0:0"], 2, "can be reached from other machines"),
        (["status", "in"], 3, "there is no ledger here"),
    ],
)
def test_wrong_requests(
    arguments: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path)
    assert run(["watch", *arguments]) == code
    assert message in capsys.readouterr().err

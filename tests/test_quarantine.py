"""What is moved to the quarantine, or copied as a twin's result: only what is meant, over nothing.

What other programs do in between is done here by the very call that it comes before or after.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.queue.job import identify
from pipelines.queue.quarantine import Aside, set_aside
from pipelines.queue.twins import share
from vsr.errors import OutputError
from vsr.media.write.atomic import AtomicFile

BROKEN, SOUND, NEWEST = b"broken", b"the sound file, uploaded anew", b"and another one after that"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "log").write_text("what went wrong")
    path = tmp_path / "in" / "a.mp4"
    path.write_bytes(BROKEN)
    return path


def upload(source: Path, data: bytes) -> None:
    """Replace a file as a program does that writes it elsewhere first."""
    new = source.parent / ".new"
    new.write_bytes(data)
    os.rename(new, source)  # noqa: PTH104 - os.replace is what tests stand in for


def aside(source: Path) -> Aside | None:
    """Have it moved, as what it is when this is called."""
    folder = source.parent.parent
    return set_aside(source, identify(source), source.name, folder / "quarantine", folder / "log")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def around(
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    *,
    before: Callable[[], object] | None = None,
    after: Callable[[], object] | None = None,
) -> None:
    """Let something happen right before or after the first call of ``owner.name``."""
    original = getattr(owner, name)

    def called(*arguments: Any, **more: Any) -> Any:
        monkeypatch.setattr(owner, name, original)
        if before is not None:
            before()
        result = original(*arguments, **more)
        if after is not None:
            after()
        return result

    monkeypatch.setattr(owner, name, called)


def elsewhere(monkeypatch: pytest.MonkeyPatch, source: Path) -> None:
    """Let the quarantine be on another disk than ``source``."""
    for name in ("rename", "replace"):
        original = getattr(os, name)

        def moved(path: Path, target: Path, original: Any = original) -> None:
            if Path(path) == source and Path(target).parent != source.parent:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            original(path, target)

        monkeypatch.setattr(os, name, moved)


@pytest.mark.parametrize("far", [False, True])
def test_what_failed_is_moved_with_its_log(
    far: bool, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quarantine = source.parent.parent / "quarantine"
    if far:
        elsewhere(monkeypatch, source)
    for number, name in enumerate(("a.mp4", "a (2).mp4", "a (3).mp4")):
        source.write_bytes(BROKEN * (number + 1))
        moved = aside(source)
        assert moved == Aside(quarantine / name, quarantine / f"{name}.log")
        assert moved.source.read_bytes() == BROKEN * (number + 1)
        assert moved.log.read_text() == "what went wrong"
    assert contents(source.parent) == {}
    assert len(contents(quarantine)) == 6  # no temporary file is left


def test_another_file_is_not_moved(source: Path) -> None:
    folder = source.parent.parent
    failed = identify(source)
    upload(source, SOUND)
    assert set_aside(source, failed, "a.mp4", folder / "quarantine", folder / "log") is None
    source.unlink()
    assert set_aside(source, failed, "a.mp4", folder / "quarantine", folder / "log") is None
    assert not (folder / "quarantine").exists()


def test_a_file_that_comes_as_the_other_is_moved_is_put_back(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    around(monkeypatch, os, "replace", before=lambda: upload(source, SOUND))
    assert aside(source) is None
    assert contents(source.parent) == {"a.mp4": SOUND}
    assert contents(source.parent.parent / "quarantine") == {}


def test_a_file_that_cannot_be_put_back_is_kept(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    around(
        monkeypatch,
        os,
        "replace",
        before=lambda: upload(source, SOUND),
        after=lambda: upload(source, NEWEST),
    )
    moved = aside(source)
    assert moved is not None
    assert moved.source.read_bytes() == SOUND
    assert contents(source.parent) == {"a.mp4": NEWEST}


def test_a_file_that_comes_while_the_other_is_copied_stays(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere(monkeypatch, source)
    around(monkeypatch, shutil, "copy2", after=lambda: upload(source, SOUND))
    assert aside(source) is None
    assert contents(source.parent) == {"a.mp4": SOUND}
    assert contents(source.parent.parent / "quarantine") == {}


def test_a_file_that_comes_when_the_other_is_copied_stays(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere(monkeypatch, source)
    around(monkeypatch, AtomicFile, "commit", after=lambda: upload(source, SOUND))
    moved = aside(source)
    assert moved is not None
    assert moved.source.read_bytes() == BROKEN
    assert contents(source.parent) == {"a.mp4": SOUND}


def test_no_copy_is_left_of_what_cannot_be_removed(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere(monkeypatch, source)
    original = os.unlink

    def unlink(path: Path, **more: Any) -> None:
        if Path(path) == source:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        original(path, **more)

    monkeypatch.setattr(os, "unlink", unlink)
    with pytest.raises(OSError, match="Read-only"):
        aside(source)
    assert contents(source.parent) == {"a.mp4": BROKEN}
    assert contents(source.parent.parent / "quarantine") == {}


def test_a_file_that_gets_the_name_in_the_quarantine_is_kept(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quarantine = source.parent.parent / "quarantine"
    around(monkeypatch, os, "open", before=lambda: (quarantine / "a.mp4").write_bytes(NEWEST))
    moved = aside(source)
    assert moved is not None
    assert moved.source.name == "a (2).mp4"
    assert (quarantine / "a.mp4").read_bytes() == NEWEST


def test_a_log_that_cannot_be_copied_stays_where_it_is(source: Path) -> None:
    folder = source.parent.parent
    (folder / "log").unlink()
    moved = aside(source)
    assert moved == Aside(folder / "quarantine" / "a.mp4", folder / "log")


def test_the_copy_of_a_result_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are no hard links: somebody's file comes while the result is copied."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    result, mine = tmp_path / "r.mkv", tmp_path / "out" / "x.mkv"
    result.write_bytes(b"result")
    share(result, mine)
    assert contents(mine.parent) == {"x.mkv": b"result"}
    mine.unlink()
    around(monkeypatch, shutil, "copy2", after=lambda: mine.write_bytes(b"somebody's own"))
    with pytest.raises((OSError, OutputError)):
        share(result, mine)
    assert contents(mine.parent) == {"x.mkv": b"somebody's own"}

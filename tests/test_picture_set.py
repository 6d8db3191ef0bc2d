"""Pictures get their names together or not at all, and what was there before is never lost."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from vsr.errors import OutputError
from vsr.media.write.pictures import MANIFEST, PictureSet

CALLS = ("mkdir", "rename", "replace", "link", "unlink")
NUMBERS = range(3)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, delivered as a system call returns."""


def interrupt(monkeypatch: pytest.MonkeyPatch, at: int) -> list[str]:
    """Interrupt after the ``at``-th call that changes a folder; returns the calls, as they come."""
    calls: list[str] = []
    for name in CALLS:
        original = getattr(os, name)

        def called(*args: Any, name: str = name, original: Any = original, **more: Any) -> None:
            original(*args, **more)
            calls.append(name)
            if len(calls) == at:
                raise Interrupted

        monkeypatch.setattr(os, name, called)
    return calls


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def pictures(folder: Path, template: str, data: bytes) -> dict[str, bytes]:
    names = [template % number for number in NUMBERS]
    names.append(str(Path(template).with_name(MANIFEST if "/" in template else "f.json")))
    return {name: data + name.encode() for name in names}


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("template", ["f_%06d.png", "frames/%06d.png"])
def test_an_interruption_at_any_moment_loses_nothing(
    template: str, links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there was something before, and where there was nothing."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    for overwrite in (True, False):
        ended = False
        for at in range(1, 100):
            folder = tmp_path / f"{overwrite}-{at}"
            (folder / template).parent.mkdir(parents=True)
            old, new = (pictures(folder, template, data) for data in (b"old", b"new"))
            if overwrite:
                for name, data in old.items():
                    (folder / name).write_bytes(data)
            before = contents(folder)
            where = folder / (template if "/" not in template else "frames")
            writing = PictureSet(str(where), overwrite=overwrite)
            for name, data in new.items():
                writing.add(Path(name).name, data)
            with monkeypatch.context() as patches:
                calls = interrupt(patches, at)
                try:
                    writing.commit()
                except Interrupted:
                    pass
                else:
                    ended = len(calls) < at
            writing.discard()
            assert contents(folder) in ((new,) if ended else (before, new)), (at, calls)
            assert not list(folder.glob(".*"))
            if ended:
                break
        assert ended


def test_what_cannot_be_put_back_is_kept_and_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = pictures(tmp_path, "f_%06d.png", b"old")
    for name, data in old.items():
        (tmp_path / name).write_bytes(data)
    writing = PictureSet(str(tmp_path / "f_%06d.png"), overwrite=True)
    for name in old:
        writing.add(name, b"new")
    original = os.link

    def link(path: Path, target: Path, **more: Any) -> None:
        if Path(target).name == "f_000001.png":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        original(path, target, **more)

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(OutputError, match="cannot be put back") as raised:
        writing.commit()
    writing.discard()
    (kept,) = tmp_path.glob(".f.*.old")
    assert str(kept) in raised.value.remedy
    assert contents(kept) == {"f_000001.png": old.pop("f_000001.png")}
    assert {name: (tmp_path / name).read_bytes() for name in old} == old


def test_a_picture_that_comes_meanwhile_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing = PictureSet(str(tmp_path / "f_%06d.png"), overwrite=False)
    for name in pictures(tmp_path, "f_%06d.png", b""):
        writing.add(name, b"new")
    look = PictureSet._look

    def looked(self: PictureSet, names: Any) -> None:
        look(self, names)
        (tmp_path / "f_000002.png").write_bytes(b"somebody's")

    monkeypatch.setattr(PictureSet, "_look", looked)
    with pytest.raises(OutputError, match="cannot give the pictures their names"):
        writing.commit()
    writing.discard()
    assert contents(tmp_path) == {"f_000002.png": b"somebody's"}


@pytest.mark.parametrize("name", ["f_%06d.png", "frames"])
def test_a_link_that_leads_nowhere_is_in_the_way(name: str, tmp_path: Path) -> None:
    link = tmp_path / (name if "%" not in name else "f.json")
    link.symlink_to(tmp_path / "not mounted")
    with pytest.raises(OutputError, match=r"already exists|not there"):
        PictureSet(str(tmp_path / name), overwrite=False)
    assert list(tmp_path.iterdir()) == [link]

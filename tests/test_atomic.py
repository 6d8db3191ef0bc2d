"""Files that appear only when they are complete."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from vsr.errors import OutputError
from vsr.media.write.atomic import AtomicFile


def test_commit_gives_the_name_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    file = AtomicFile(str(target), overwrite=False)
    assert file.path.parent == tmp_path
    assert file.path.suffix == ".mp4"
    file.path.write_bytes(b"12345")
    assert not target.exists()
    assert file.commit() == 5
    file.discard()
    assert target.read_bytes() == b"12345"
    assert list(tmp_path.iterdir()) == [target]


def test_result_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    usual = tmp_path / "usual"
    usual.touch()
    file = AtomicFile(str(tmp_path / "a.mp4"), overwrite=False)
    file.commit()
    assert (tmp_path / "a.mp4").stat().st_mode == usual.stat().st_mode


def test_discard_leaves_nothing(tmp_path: Path) -> None:
    file = AtomicFile(str(tmp_path / "a.mp4"), overwrite=False)
    file.discard()
    file.discard()
    assert list(tmp_path.iterdir()) == []


def test_existing_file_is_refused_or_replaced(tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    target.write_bytes(b"old")
    with pytest.raises(OutputError, match="already exists"):
        AtomicFile(str(target), overwrite=False)
    file = AtomicFile(str(target), overwrite=True)
    file.path.write_bytes(b"new")
    assert target.read_bytes() == b"old"
    file.commit()
    assert target.read_bytes() == b"new"


def test_name_taken_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    file = AtomicFile(str(target), overwrite=False)
    target.write_bytes(b"somebody else's")
    with pytest.raises(OutputError, match="already exists"):
        file.commit()
    file.discard()
    assert target.read_bytes() == b"somebody else's"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("taken", [False, True])
def test_file_systems_without_hard_links(
    taken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    target = tmp_path / "a.mp4"
    file = AtomicFile(str(target), overwrite=False)
    file.path.write_bytes(b"new")
    if taken:
        target.write_bytes(b"old")
        with pytest.raises(OutputError, match="already exists"):
            file.commit()
        file.discard()
    else:
        file.commit()
    assert target.read_bytes() == (b"old" if taken else b"new")
    assert list(tmp_path.iterdir()) == [target]


def test_source_is_never_replaced(tmp_path: Path) -> None:
    source = tmp_path / "a.mp4"
    source.write_bytes(b"video")
    other_name = tmp_path / "b.mp4"
    other_name.symlink_to(source)
    with pytest.raises(OutputError, match="made from"):
        AtomicFile(str(other_name), overwrite=True, source=str(source))


def test_folders_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="does not exist"):
        AtomicFile(str(tmp_path / "missing" / "a.mp4"), overwrite=False)
    with pytest.raises(OutputError, match="folder"):
        AtomicFile(str(tmp_path), overwrite=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="permission denied"):
        AtomicFile(str(tmp_path / "a.mp4"), overwrite=False)

"""Files that appear only when they are complete."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from vsr.errors import OutputError
from vsr.media.write.atomic import AtomicFile, is_temporary


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


@pytest.mark.parametrize("somebody", [False, True])
def test_a_claim_that_comes_to_nothing_is_withdrawn(
    somebody: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without hard links: interrupted between claiming the name and giving it."""
    target = tmp_path / "a.mp4"

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    def interrupted(*_: object) -> None:
        if somebody:
            target.write_bytes(b"somebody else's")
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "replace", interrupted)
    file = AtomicFile(str(target), overwrite=False)
    file.path.write_bytes(b"new")
    with pytest.raises(KeyboardInterrupt):
        file.commit()
    file.discard()
    left = [(path.name, path.read_bytes()) for path in tmp_path.iterdir()]
    assert left == ([("a.mp4", b"somebody else's")] if somebody else [])


def test_a_link_that_leads_nowhere_has_the_name(tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    target.symlink_to(tmp_path / "not mounted" / "a.mp4")
    with pytest.raises(OutputError, match="a link to something that is not there"):
        AtomicFile(str(target), overwrite=False)
    assert list(tmp_path.iterdir()) == [target]
    file = AtomicFile(str(target), overwrite=True)
    file.path.write_bytes(b"new")
    file.commit()
    assert not target.is_symlink()
    assert target.read_bytes() == b"new"


def test_source_is_never_replaced(tmp_path: Path) -> None:
    source = tmp_path / "a.mp4"
    source.write_bytes(b"video")
    other_name = tmp_path / "b.mp4"
    other_name.symlink_to(source)
    with pytest.raises(OutputError, match="made from"):
        AtomicFile(str(other_name), overwrite=True, source=str(source))


def test_a_source_from_elsewhere_is_compared_with_nothing(tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    target.write_bytes(b"old")
    for source in ("https://example.org/a.mp4", str(tmp_path / "gone.mp4")):
        with pytest.raises(OutputError, match="already exists"):
            AtomicFile(str(target), overwrite=False, source=source)
        AtomicFile(str(target), overwrite=True, source=source).discard()
    assert target.read_bytes() == b"old"


@pytest.mark.parametrize("stem", ["\N{CLAPPER BOARD}" * 60, "映" * 83, "a" * 251, "ä" * 20])
def test_every_name_that_may_be(stem: str, tmp_path: Path) -> None:
    target = tmp_path / f"{stem}.mp4"
    file = AtomicFile(str(target), overwrite=False)
    assert stem.startswith(file.path.name.split(".")[1])
    assert len(os.fsencode(file.path.name)) <= 255
    file.path.write_bytes(b"new")
    file.commit()
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("name", ["What????????.mp4", "????????", "a.part.????????.mp4"])
def test_temporary_files_are_known_whatever_the_name(name: str, tmp_path: Path) -> None:
    file = AtomicFile(str(tmp_path / name), overwrite=False)
    assert is_temporary(file.path.name, tmp_path / name)
    assert not is_temporary(name, tmp_path / name)


def test_temporary_files_of_names_that_begin_alike_are_told_apart(tmp_path: Path) -> None:
    lecture = "Introduction to the Philosophy of Science - Autumn Semester 2023 - Lecture "
    one, two = tmp_path / f"{lecture}01.mp4", tmp_path / f"{lecture}02.mp4"
    file = AtomicFile(str(one), overwrite=False)
    assert is_temporary(file.path.name, one)
    assert not is_temporary(file.path.name, two)


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="longer than its file system takes") as raised:
        AtomicFile(str(tmp_path / f"{'a' * 252}.mp4"), overwrite=True)
    assert "shorter" in raised.value.remedy
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EACCES])
@pytest.mark.parametrize("call", ["open", "fsync"])
def test_a_folder_that_cannot_be_flushed_costs_no_result(
    call: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fail_for_folders(monkeypatch, call, number)
    file = AtomicFile(str(tmp_path / "a.mp4"), overwrite=False)
    file.path.write_bytes(b"new")
    assert file.commit() == 3
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"new"]


def test_a_disk_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.mp4"
    _fail_for_folders(monkeypatch, "fsync", errno.EIO)
    with pytest.raises(OutputError, match="input/output error"):
        AtomicFile(str(target), overwrite=False).commit()
    target.unlink()

    def broken(_: int) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", broken)  # of the file itself: its bytes may not be there
    file = AtomicFile(str(target), overwrite=False)
    with pytest.raises(OutputError, match="cannot finish the file"):
        file.commit()
    assert not target.exists()


def _fail_for_folders(monkeypatch: pytest.MonkeyPatch, call: str, number: int) -> None:
    """Let ``os.open`` or ``os.fsync`` fail where it is about a folder."""
    original = getattr(os, call)

    def failing(what: int | Path, *rest: int) -> int | None:
        found = os.fstat(what) if isinstance(what, int) else what.stat()
        if stat.S_ISDIR(found.st_mode):
            raise OSError(number, os.strerror(number))
        result: int | None = original(what, *rest)
        return result

    def opening(what: Path, flags: int, *rest: int) -> int | None:
        # A file that is only being made is not there yet.
        return original(what, flags, *rest) if flags & os.O_CREAT else failing(what, flags, *rest)

    monkeypatch.setattr(os, call, opening if call == "open" else failing)


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

"""Where files go that cannot be done, with the log beside them."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from pipelines.queue.job import Identity, identify
from pipelines.queue.names import remove_leftovers
from vsr.errors import OutputError
from vsr.media.write.atomic import AtomicFile, claimed, copy_whole, give_name

__all__ = ["Aside", "already_aside", "set_aside"]


@dataclass(frozen=True, slots=True)
class Aside:
    """Where a file and its log are now."""

    source: Path
    log: Path


def set_aside(
    source: Path, identity: Identity, relative: str, folder: Path, log: Path
) -> Aside | None:
    """Move ``source`` to ``folder/relative`` and put its log beside it as ``<name>.log``.

    A file that is there already is kept; the new one gets a number.

    Args:
        source: what failed, as long as it is what ``identity`` says: its name may have got
            another file meanwhile, which nobody has tried.
        identity: see there.
        relative: path of the source in its folder.
        folder: the quarantine.
        log: the log, which stays where it is if it cannot be copied.

    Returns:
        ``None`` if the source is gone or is another one; nothing has been moved then.

    Raises:
        OSError, OutputError: the file cannot be moved; it is then where it was.
    """
    if not _is(source, identity):
        return None
    first = folder / relative
    first.parent.mkdir(parents=True, exist_ok=True)
    for target, beside in _places(first):
        if os.path.lexists(target) or os.path.lexists(beside):
            continue
        try:
            moved = _move(source, target, identity)
        except FileExistsError:
            continue  # somebody was quicker
        return Aside(target, _beside(log, beside)) if moved else None
    raise AssertionError("numbers do not end")


def already_aside(identity: Identity, relative: str, folder: Path, log: Path) -> Aside | None:
    """Where :func:`set_aside` has moved a source, if what called it was cut off before it knew.

    Args:
        identity, relative, folder, log: as there; ``log`` counts if there is none beside it.

    Returns:
        ``None`` if it is not there.

    Raises:
        OSError: the folder cannot be looked at.
    """
    for target, beside in _places(folder / relative):
        if _is(target, identity):
            return Aside(target, beside if beside.is_file() else log)
        if not os.path.lexists(target) and not os.path.lexists(beside):
            return None
    raise AssertionError("numbers do not end")


def _places(first: Path) -> Iterator[tuple[Path, Path]]:
    """Names for a source and its log, without end, in the order in which they are tried."""
    for number in count(1):
        target = first if number == 1 else first.with_stem(f"{first.stem} ({number})")
        yield target, target.with_name(f"{target.name}.log")


def _beside(log: Path, beside: Path) -> Path:
    try:
        copy_whole(log, beside)
    except (OSError, OutputError):
        return log
    return beside


def _is(source: Path, identity: Identity) -> bool:
    try:
        return identify(source).same_content(identity)
    except FileNotFoundError:
        return False


def _move(source: Path, target: Path, identity: Identity) -> bool:
    """Whether it was moved: not if ``source`` is gone, or another one."""
    remove_leftovers(target)
    with claimed(target):
        try:
            entry = source.lstat()
            if not _is(source, identity):
                return False
            if not _renamed(source, target):
                return _copied(source, target, identity)
            return _is_entry(target, entry) or not _put_back(target, source)
        except FileNotFoundError:
            return False


def _renamed(source: Path, target: Path) -> bool:
    """Whether that could be done: not to another disk."""
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False
    return True


def _is_entry(path: Path, entry: os.stat_result) -> bool:
    # Not identify(): the target of a link need not be found from another folder.
    found = path.lstat()
    return (found.st_size, found.st_mtime_ns) == (entry.st_size, entry.st_mtime_ns)


def _put_back(moved: Path, source: Path) -> bool:
    """Whether what came between look and move is again where it came to."""
    try:
        give_name(moved, source)
    except OSError:
        return False  # yet another one has come: this one is safe where it is
    return True


def _copied(source: Path, claim: Path, identity: Identity) -> bool:
    """Whether it was copied: the copy gets its name when it is whole, then the source goes."""
    copy = AtomicFile(str(claim), overwrite=True)
    try:
        shutil.copy2(source, copy.path)
        if not _is(source, identity):
            return False
        copy.commit()
    finally:
        copy.discard()
    if _is(source, identity):
        try:
            source.unlink()
        except OSError:
            claim.unlink()
            raise
    return True

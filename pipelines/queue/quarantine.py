"""Where files go that cannot be done, with the log beside them."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

__all__ = ["set_aside"]


def set_aside(source: Path, relative: str, folder: Path, log: Path) -> tuple[Path | None, Path]:
    """Move ``source`` to ``folder/relative`` and put its log beside it as ``<name>.log``.

    A file that is there already is kept; the new one gets a number.

    Returns:
        Where the source is now, ``None`` if it is gone; and where its log is.

    Raises:
        OSError: the file cannot be moved; it is then where it was.
    """
    target = folder / relative
    target.parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while os.path.lexists(target) or os.path.lexists(_log_of(target)):
        number += 1
        target = (folder / relative).with_stem(f"{(folder / relative).stem} ({number})")
    moved: Path | None = target
    try:
        _move(source, target)
    except FileNotFoundError:
        moved = None
    if log.is_file():
        shutil.copyfile(log, _log_of(target))
    return moved, _log_of(target)


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.log")


def _move(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # Another disk: the copy gets its name when it is whole; then the source is removed.
        part = target.with_name(f".{target.name}.part")
        try:
            shutil.copy2(source, part)
            part.rename(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        source.unlink()

"""A run's folder: one process at a time works in it, on the run that it has always been."""

from __future__ import annotations

import re
from pathlib import Path

from pipelines.queue.lock import Lock
from vsr.errors import InputError, NameTakenError, OutputError, UsageError
from vsr.models.weights import unwritable, write_file
from vsr.training.data.images import CURVES, DATA, SETTINGS
from vsr.training.loop import CHECKPOINT, LOG
from vsr.training.settings import TrainSettings

__all__ = ["claim", "opened"]

#: Locked while a process works at the run.
LOCK = ".lock"


class _RunLock(Lock):
    """The right to work at a run, whose processes would else write over each other's files."""

    called, user, rest, option = "run", "`vsr train`", "", "--out"


def opened(folder: Path) -> _RunLock:
    """Make the run's folder, and let nobody else work in it until the end."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the run's folder cannot be made ({error.strerror})",
            where=str(folder),
            remedy="Choose another folder for --out.",
        ) from error
    return _RunLock(folder, folder / LOCK)


def claim(
    folder: Path, settings: TrainSettings, sources: dict[str, tuple[str, str]], weights: str
) -> None:
    """Begin a run in the folder, or see that the run in it is this one, made from the same."""
    _tidy(folder, weights)
    path, data_path = folder / SETTINGS, folder / DATA
    if not path.is_file():
        _check_new(folder, weights)
        write_file(data_path, "".join(f"{line}\n" for line, _ in sources.values()).encode("ascii"))
        settings.save(path)
        return
    before = TrainSettings.load(path)
    if changed := before.differences(settings):
        raise UsageError(
            f"the run in this folder has other settings ({'; '.join(changed)})",
            where=str(folder),
            remedy="Repeat its command to go on with it, or choose another folder for --out. "
            "To build on its weights, name them with --start-from.",
        )
    if not data_path.is_file():
        raise InputError(
            f"the run has lost its {DATA}, which says what it is made from",
            where=str(folder),
            remedy="Choose another folder for --out; to build on its weights, name them with "
            "--start-from.",
        )
    known = data_path.read_text("ascii", "replace").splitlines()
    for name, (line, where) in sources.items():
        if line not in known and (name == "images" or len(known) > 1):
            raise UsageError(
                f"the {name} have changed since the run in {folder} began",
                where=where,
                remedy="Choose another folder for --out; to build on its weights, name them with "
                "--start-from.",
            )


def _check_new(folder: Path, weights: str) -> None:
    """Raise if a new run would go on from a file that is not its own, or replace one."""
    there = [name for name in (CHECKPOINT, weights, LOG, CURVES) if (folder / name).exists()]
    if there:
        raise NameTakenError(
            f"the folder has {' and '.join(there)} and no {SETTINGS} to say of which run",
            where=str(folder),
            remedy="Choose another folder for --out, or take them out of this one.",
        )


def _tidy(folder: Path, weights: str) -> None:
    """Remove what a process that was killed while it wrote has left of the run's files."""
    names = "|".join(map(re.escape, (SETTINGS, DATA, CHECKPOINT, LOG, CURVES, weights)))
    left = re.compile(rf"\.({names})\.[0-9a-f]{{16}}\.part")
    try:
        for path in folder.iterdir():
            if left.fullmatch(path.name):
                path.unlink()
    except OSError as error:
        raise unwritable(folder, error) from error

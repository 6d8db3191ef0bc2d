"""The user's cache of weights: where it is, what is in it, and how something gets there.

Each file's name holds the SHA-256 of its content, ``SET/MODEL_xSCALE-SHA256.ENDING`` (torch.hub has
the same convention), so that content and what it must be appear together, in one rename. Whoever
reads meanwhile finds the old file or the new one. If both are there because somebody was stopped in
between, the newer one counts.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from vsr.errors import OutputError
from vsr.models.weights import writing
from vsr.types import WeightsFile, is_set_name

__all__ = ["cache_folder", "cache_path", "install", "installed", "new_file"]

WINDOWS = os.name == "nt"

_FILE = re.compile(r"(?P<model>.+)_x(?P<scale>\d)-(?P<sha256>[0-9a-f]{64})\.(?:safetensors|pt)")


def cache_folder() -> Path:
    """Where installed weights are: ``vsr/weights`` in the user's cache; it need not exist.

    ``XDG_CACHE_HOME`` is the cache, by default ``~/.cache`` or, on macOS, ``~/Library/Caches``
    (XDG Base Directory Specification: a relative path is ignored). On Windows it is
    ``LOCALAPPDATA``.
    """
    given = os.environ.get("LOCALAPPDATA" if WINDOWS else "XDG_CACHE_HOME", "")
    if Path(given).is_absolute():
        return Path(given) / "vsr" / "weights"
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home() raises where there is none
    own = Path("Library/Caches") if sys.platform == "darwin" else Path(".cache")
    return home / own / "vsr" / "weights"


def cache_path(name: str, model: str, scale: int, sha256: str, ending: str) -> Path:
    """Where the weights of a set for a model at a scale belong.

    Args:
        name: the set.
        model: row of the model table.
        scale: enlargement.
        sha256: of the file's content.
        ending: ``.safetensors`` or ``.pt``.
    """
    return cache_folder() / name / f"{model}_x{scale}-{sha256}{ending}"


def installed() -> list[WeightsFile]:
    """What is in the cache, sorted; the files are not read."""
    found: dict[tuple[str, str, int], tuple[int, WeightsFile]] = {}
    for path in sorted(cache_folder().glob("*/*")):
        match = _FILE.fullmatch(path.name)
        if match is None or not is_set_name(path.parent.name) or not path.is_file():
            continue
        file = WeightsFile(
            set=path.parent.name,
            model=match["model"],
            scale=int(match["scale"]),
            path=str(path),
            sha256=match["sha256"],
            origin="installed",
        )
        key = (file.set, file.model, file.scale)
        changed = path.stat().st_mtime_ns
        if key not in found or changed >= found[key][0]:
            found[key] = (changed, file)
    return [file for _, file in found.values()]


def install(part: Path, path: Path) -> None:
    """Give a complete file its name in the cache, in place of what was there for its scale.

    Args:
        part: the file, closed and synced, in the folder of ``path``.
        path: one of :func:`cache_path`.
    """
    part.replace(path)
    for other in path.parent.glob(f"{path.name.rpartition('-')[0]}-*"):
        if other != path and _FILE.fullmatch(other.name):
            # Windows does not delete what another process has open; the newer file counts anyway.
            with suppress(PermissionError):
                other.unlink()


@contextmanager
def new_file(folder: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """As :func:`vsr.models.weights.writing`, for a folder of the cache, which is made if need be.

    Raises:
        OutputError: there is no home folder, or the file cannot be created or written.
    """
    if not folder.is_absolute():
        raise OutputError(
            "there is no home folder to keep weights in",
            where=str(folder),
            remedy="Set XDG_CACHE_HOME to the absolute path of a folder.",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make the folder: {error.strerror or error}",
            where=str(folder),
            remedy="Change the permissions, or set XDG_CACHE_HOME to another folder.",
        ) from error
    with writing(folder) as opened:
        yield opened

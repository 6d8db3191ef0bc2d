"""The weights there are: the sets that ship and those in the user's cache, checked before use."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from vsr.errors import ModelError
from vsr.models.cache import installed
from vsr.models.weights import FOLDER, MANIFEST, sha256, shipped
from vsr.plan.weights import CLEAN, find_weights
from vsr.types import WeightsFile

__all__ = ["all_weights", "locate", "manifest", "problem", "shipped_weights"]

_SHIPPED = re.compile(r"(?P<model>.+?)_x(?P<scale>\d)(?:_(?P<set>[A-Za-z0-9-]+))?\.safetensors")
_LINE = re.compile(r"([0-9a-f]{64})[ ][ *](\S.*)")


def manifest() -> dict[str, str]:
    """File name -> SHA-256 of every file that ships, as :data:`MANIFEST` says.

    Raises:
        ModelError: there is no readable manifest.
    """
    try:
        lines = MANIFEST.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _manifest_error(str(error)) from error
    found = {}
    for number, line in enumerate(lines, start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise _manifest_error(f"line {number} is not what sha256sum writes")
        found[match[2]] = match[1]
    return found


def _manifest_error(what: str) -> ModelError:
    return ModelError(
        f"cannot read the list of shipped weights: {what}",
        where=str(MANIFEST),
        remedy="Install the package again.",
    )


def shipped_weights() -> list[WeightsFile]:
    """What ships: the files of the manifest, whether or not they are there, and any beside them.

    Raises:
        ModelError: there is no readable manifest.
    """
    hashes = manifest()
    names = sorted({*hashes, *(path.name for path in shipped())})
    return [
        WeightsFile(
            set=match["set"] or CLEAN,
            model=match["model"],
            scale=int(match["scale"]),
            path=str(FOLDER / match[0]),
            sha256=hashes.get(match[0], ""),
            origin="shipped",
        )
        for match in map(_SHIPPED.fullmatch, names)
        if match is not None
    ]


def all_weights() -> list[WeightsFile]:
    """What ships and what is installed; the files are not read.

    Raises:
        ModelError: there is no readable manifest.
    """
    return [*shipped_weights(), *installed()]


def locate(
    name: str, model: str, scale: int, files: Sequence[WeightsFile] | None = None
) -> WeightsFile:
    """The file of a set for a model at a scale; it is what it must be.

    Args:
        name: the set.
        model: row of the model table.
        scale: enlargement.
        files: where to look; by default :func:`all_weights`.

    Raises:
        ModelError: there is none, or the file is damaged.
    """
    file = find_weights(name, model, scale, all_weights() if files is None else files)
    if wrong := problem(file):
        raise ModelError(wrong, where=file.path, remedy=_mend(file))
    return file


def problem(file: WeightsFile) -> str | None:
    """Why a file may not be used: it is missing or not what it must be; ``None`` if it may."""
    path = Path(file.path)
    if not path.is_file():
        return f"the {file.set} weights for {file.model} at x{file.scale} are missing"
    try:
        found = sha256(path)
    except OSError as error:
        return f"the {file.set} weights cannot be read: {error.strerror or error}"
    if file.sha256 and found != file.sha256:
        return (
            f"the {file.set} weights for {file.model} at x{file.scale} are damaged: their SHA-256 "
            f"is {found[:16]}..., not {file.sha256[:16]}..."
        )
    return None


def _mend(file: WeightsFile) -> str:
    if file.origin == "shipped":
        return "Install the package again."
    if file.set == "authors":
        return "`vsr weights fetch authors` downloads them again."
    return "Delete the file, and import it again with `vsr weights import`."

"""Weights on disk: read and write, hash, and know which ones ship with the package.

Ours are ``.safetensors`` files of the training form's state dictionary. The authors' ``.pt`` files
are read too; nothing in them is executed.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from vsr.errors import ModelError, OutputError
from vsr.models import authors
from vsr.plan.weights import CLEAN
from vsr.types import is_set_name

__all__ = [
    "FOLDER",
    "MANIFEST",
    "missing",
    "read_metadata",
    "read_weights",
    "save_weights",
    "sha256",
    "shipped",
    "shipped_path",
    "to_bytes",
    "unwritable",
    "write_file",
    "writing",
]

#: Where the shipped files and their model card are.
FOLDER = Path(__file__).with_name("weights")

#: The shipped files' hashes, as ``sha256sum`` writes and checks them.
MANIFEST = FOLDER / "SHA256SUMS"


def shipped_path(model: str, scale: int, name: str = CLEAN) -> Path:
    """Where the shipped weights of the set ``name`` for a model at a scale are, if there are any.

    The set is at the end of the file's name, ``MODEL_xSCALE_SET.safetensors``, except for
    ``clean``, the default.
    """
    ending = "" if name == CLEAN else f"_{name}"
    return FOLDER / f"{model}_x{scale}{ending}.safetensors"


def shipped() -> list[Path]:
    """The weights files that ship with the package, sorted by name."""
    return sorted(FOLDER.glob("*.safetensors"))


def sha256(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a weights file into float32 tensors under the training form's names.

    Args:
        path: ours (``.safetensors``) or a PyTorch checkpoint (anything else), the authors' names
            translated.

    Raises:
        ModelError: there is no such file, or it holds no weights.
    """
    if not path.is_file():
        raise missing(path)
    state = _read_safetensors(path) if path.suffix == ".safetensors" else _read_checkpoint(path)
    if authors.is_authors(state):
        state = authors.from_authors(state)
    return {key: value.float() for key, value in state.items()}


def missing(path: Path) -> ModelError:
    """The error for a weights file that is not there."""
    return ModelError(
        "there is no such weights file",
        where=str(path),
        remedy="This is the name of a set, and a file is needed here; `vsr weights --json` gives "
        "the files of sets."
        if is_set_name(str(path))
        else "Check the path.",
    )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        # Not by safe_open(), which takes no path that is not UTF-8.
        return load(path.read_bytes())
    except (SafetensorError, OSError) as error:
        raise _unreadable(path) from error


def _read_checkpoint(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # What torch's reader raises on a file of another kind has no type in common.
        raise _unreadable(path) from error
    if not isinstance(content, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    ):
        raise ModelError(
            f"holds a {type(content).__name__}, not a dictionary of named tensors",
            where=str(path),
            remedy="Save the network's state_dict() alone, or use a .safetensors file",
        )
    return content


def _unreadable(path: Path) -> ModelError:
    # The libraries' own messages are left to the traceback: torch's advises to execute the file.
    return ModelError(
        "is not a readable weights file",
        where=str(path),
        remedy="Give a .safetensors file or a PyTorch checkpoint; a cut download looks like this",
    )


def read_metadata(path: Path) -> dict[str, str]:
    """What a ``.safetensors`` file says about itself: model, scale, training.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, path.stat().st_size)))
        return dict(header.get("__metadata__") or {})
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise _unreadable(path) from error


def save_weights(
    path: Path,
    state: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    *,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a state dictionary as ``.safetensors``, atomically.

    Args:
        path: where to; replaced if it exists.
        state, metadata, dtype: as for :func:`to_bytes`.

    Raises:
        ModelError: a weight is too large for ``dtype``, or is no number.
        OutputError: the file cannot be written.
    """
    write_file(path, to_bytes(state, metadata, dtype=dtype))


def to_bytes(
    state: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    *,
    dtype: torch.dtype = torch.float32,
) -> bytes:
    """A state dictionary as the content of a ``.safetensors`` file.

    Args:
        state: the training form's state dictionary.
        metadata: at least ``model`` and ``scale``; all values are text. What is no Unicode in it
            (of a file's name) is written as an escape.
        dtype: what tensors are stored as, float32 or float16. float16 halves the file and costs
            less than 0.005 dB (see the model card); reading gives float32 either way.

    Raises:
        ModelError: a weight is too large for ``dtype``, or is no number.
    """
    tensors = {key: value.detach().to(dtype).contiguous() for key, value in state.items()}
    broken = [key for key, value in tensors.items() if not value.isfinite().all()]
    if broken:
        raise ModelError(
            f"{broken[0]} has values that {str(dtype).removeprefix('torch.')} cannot hold",
            remedy="Keep float32; if that fails too, they are no finite numbers.",
        )
    said = {k: v.encode(errors="backslashreplace").decode() for k, v in metadata.items()}
    return save(tensors, said)


def write_file(path: Path, content: bytes | memoryview) -> None:
    """Give a file this content; whatever happens, it has all of it or what it had before.

    Raises:
        OutputError: it cannot be written.
    """
    with writing(path.parent, f".{path.name[:40]}") as (part, file):
        file.write(content)
    try:
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise unwritable(path.parent, error) from error


@contextmanager
def writing(folder: Path, name: str = "") -> Iterator[tuple[Path, BinaryIO]]:
    """A new hidden file in ``folder``, open to be written, that never stays behind half-written.

    When the block ends, the file has been flushed to the disk and closed; giving it its name is up
    to the caller. If the block raises, the file is gone. A process that is killed leaves
    ``<name>.<16 hexadecimal digits>.part``.

    Raises:
        OutputError: the file cannot be created or written: no folder, no room, no permission.
    """
    part = folder / f"{name}.{secrets.token_hex(8)}.part"
    try:
        with part.open("xb") as file:
            yield part, file
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        part.unlink(missing_ok=True)
        raise unwritable(folder, error) from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def unwritable(folder: Path, error: OSError) -> OutputError:
    """The error for a folder that a file cannot be written to."""
    return OutputError(
        f"cannot write a file there: {error.strerror or error}",
        where=str(folder),
        remedy="Make room, change the permissions or choose another folder.",
    )

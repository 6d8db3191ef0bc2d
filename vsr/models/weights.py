"""Weights on disk: read and write, hash, and know which ones ship with the package.

Ours are ``.safetensors`` files of the training form's state dictionary. The authors' ``.pt`` files
are read too; nothing in them is executed.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vsr.errors import ModelError
from vsr.models import authors

__all__ = [
    "FOLDER",
    "read_metadata",
    "read_weights",
    "save_weights",
    "sha256",
    "shipped",
    "shipped_path",
]

#: Where the shipped files and their model card are.
FOLDER = Path(__file__).with_name("weights")


def shipped_path(model: str, scale: int) -> Path:
    """Where the shipped weights of a model at a scale are, if it has any."""
    return FOLDER / f"{model}_x{scale}.safetensors"


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
        raise ModelError(
            "there is no such weights file",
            where=str(path),
            remedy="Check the path given to --weights",
        )
    state = _read_safetensors(path) if path.suffix == ".safetensors" else _read_checkpoint(path)
    if authors.is_authors(state):
        state = authors.from_authors(state)
    return {key: value.float() for key, value in state.items()}


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise _unreadable(path) from error


def _read_checkpoint(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise _unreadable(path) from error
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise ModelError(
            f"holds a {type(content).__name__}, not a dictionary of tensors",
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
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise _unreadable(path) from error


def save_weights(path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a state dictionary as float32 ``.safetensors``, atomically.

    Args:
        path: where to; replaced if it exists.
        state: the training form's state dictionary.
        metadata: at least ``model`` and ``scale``; all values are text.
    """
    part = path.with_name(path.name + ".part")
    tensors = {key: value.detach().float().contiguous() for key, value in state.items()}
    save_file(tensors, part, dict(metadata))
    part.replace(path)

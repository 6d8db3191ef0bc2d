"""The library that trains the trunk, where there is one and the processor can run it."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import torch

from vsr import native_build
from vsr.errors import BackendError

__all__ = ["Library", "library", "problem"]

_FOLDER = Path(__file__).parent


class Library:
    """The compiled code; ``native/training/api.cpp`` describes its functions.

    Raises:
        BackendError: it does not load, or the system does not give it the tile unit.
    """

    def __init__(self, path: Path) -> None:
        try:
            self.code = ctypes.CDLL(str(path))
            for name in ("weights", "packed", "tape"):
                getattr(self.code, f"vsr_training_{name}").restype = ctypes.c_long
            ready = self.code.vsr_training_ready()
        except (OSError, AttributeError) as error:
            raise BackendError(f"its library cannot be loaded: {error}", where=str(path)) from error
        if not ready:
            raise BackendError("the system does not give AMX's tile unit", where=str(path))


def _find() -> Library:
    """Load it.

    Raises:
        BackendError: there is none for this processor, and why.
    """
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    if not (capabilities.get("amx_bf16") and capabilities.get("avx512_bf16")):
        raise BackendError("it needs a processor with AMX, and torch knows of none here")
    path = _FOLDER / "libvsr_training.so"
    why = native_build.problem(_FOLDER / native_build.RECORD)
    if not why and not path.is_file():
        why = "it was not built: the C++ compiler does not know AMX"
    if why:
        raise BackendError(why)
    return Library(path)


@cache
def _found() -> tuple[Library | None, str | None]:
    try:
        return _find(), None
    except BackendError as error:
        return None, error.what


def library() -> Library | None:
    """The library, loaded once; ``None`` where the trunk is trained in torch."""
    return _found()[0]


def problem() -> str | None:
    """Why the trunk is trained in torch here; ``None`` where it is in C++."""
    return _found()[1]

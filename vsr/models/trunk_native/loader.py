"""The libraries that train the trunk, where they are and the processor can run them."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import torch

from vsr import native_build
from vsr.errors import BackendError
from vsr.processor import bfloat16_instructions

__all__ = ["INSTRUCTION_SETS", "Library", "file_name", "library", "problem"]

#: What the trunk is computed in -> the instruction sets that there are libraries for, best first.
INSTRUCTION_SETS = {torch.bfloat16: ("AMX", "AVX512-BF16"), torch.float32: ("AVX2",)}
_FOLDER = Path(__file__).parent
#: Of the C interface, the functions that give a long.
_LONG = ("weights", "packed", "tape")


class Library:
    """The compiled code; ``native/training/api.cpp`` describes its functions.

    Attributes:
        code: its functions. name: of the instruction set.
        dtype: of its maps and weights.
        multiple: what the width of an image must be a multiple of.

    Raises:
        BackendError: it does not load, or the system does not give it the tile unit.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        try:
            self.code = ctypes.CDLL(str(path))
            for function in _LONG:
                getattr(self.code, f"vsr_training_{function}").restype = ctypes.c_long
            ready = self.code.vsr_training_ready()
            bytes_of_a_number = self.code.vsr_training_cell()
            self.multiple = int(self.code.vsr_training_multiple())
        except (OSError, AttributeError) as error:
            raise BackendError(f"its library cannot be loaded: {error}", where=str(path)) from error
        self.dtype = torch.bfloat16 if bytes_of_a_number == 2 else torch.float32
        if not ready:
            raise BackendError("the system does not give AMX's tile unit", where=str(path))


def file_name(instruction_set: str) -> str:
    """What the file is called that has the library for an instruction set."""
    return f"libvsr_training_{instruction_set.lower().replace('-', '_')}.so"


def _find(dtype: torch.dtype) -> Library:
    """Load the best one that computes in ``dtype``.

    Raises:
        BackendError: there is none for this processor, and why.
    """
    names = INSTRUCTION_SETS.get(dtype)
    if names is None:
        raise BackendError("it computes in bfloat16 or float32")
    able = [name for name in names if _has(name)]
    if not able:
        raise BackendError(
            f"in {str(dtype).removeprefix('torch.')} it needs a processor with "
            f"{' or '.join(names)}, and torch knows of none here"
        )
    why = native_build.problem(_FOLDER / native_build.RECORD)
    if why:
        raise BackendError(why)
    problems = []
    for name in able:
        path = _FOLDER / file_name(name)
        try:
            if path.is_file():
                found = Library(path, name)
                if found.dtype == dtype:
                    return found
                problems.append(f"its library for {name} computes in {found.dtype}")
                continue
            problems.append(f"it was not built: the C++ compiler does not know {name}")
        except BackendError as error:
            problems.append(error.what)
    raise BackendError("; ".join(problems))


def _has(name: str) -> bool:
    """Whether torch says that the processor has an instruction set, and what comes with it."""
    if name == "AVX2":
        return torch.backends.cpu.get_cpu_capability() in {"AVX2", "AVX512"}
    return name in bfloat16_instructions()


@cache
def _found(dtype: torch.dtype) -> tuple[Library | None, str | None]:
    try:
        return _find(dtype), None
    except BackendError as error:
        return None, error.what


def library(dtype: torch.dtype) -> Library | None:
    """The one that computes in ``dtype``, loaded once; ``None`` where torch trains the trunk."""
    return _found(dtype)[0]


def problem(dtype: torch.dtype) -> str | None:
    """Why the trunk is trained in torch in ``dtype`` here; ``None`` where it is in C++."""
    return _found(dtype)[1]

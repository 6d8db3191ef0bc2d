"""The compiled libraries: which ones fit this processor, and their C interface.

One library is built for each instruction set, so that code compiled for one can never run in place
of another's. On x86-64, which one is loaded follows torch, which also obeys
``ATEN_CPU_CAPABILITY``. The libraries of :data:`BFLOAT16` compute in it, the others in float32.
"""

from __future__ import annotations

import ctypes
import platform
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from vsr import native_build
from vsr.errors import BackendError, OutOfMemoryError
from vsr.models.fdiwn import CHANNELS
from vsr.processor import bfloat16_instructions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

__all__ = [
    "BFLOAT16",
    "INSTRUCTION_SETS",
    "Library",
    "Network",
    "Run",
    "bfloat16_problem",
    "find",
    "library",
    "problem",
]

#: torch's name of an x86-64 processor's capability -> the libraries it can run, best first.
INSTRUCTION_SETS: dict[str, tuple[str, ...]] = {
    "AVX512": ("avx512", "avx2"),
    "AVX2": ("avx2",),
}
#: Systems' names of ARM64, all of whose processors can run the library for NEON.
_ARM64 = ("aarch64", "arm64")
#: The libraries whose products are bfloat16's, best first -> what their instructions are called.
BFLOAT16 = {"amx": "AMX", "avx512_bf16": "AVX512-BF16"}
_FOLDER = Path(__file__).parent
#: What the build says of itself: its libraries, or why there are none.
_RECORD = _FOLDER / native_build.RECORD
#: Of the C interface; a library that was built from other sources is not used.
_INTERFACE = 2


def find(*, bfloat16: bool = False) -> list[tuple[str, Path]]:
    """Instruction sets and paths of the libraries for this processor, best first.

    Args:
        bfloat16: those that compute in bfloat16.

    Raises:
        BackendError: there is none, and why.
    """
    wanted = _with_bfloat16() if bfloat16 else _for_this_processor()
    why = native_build.problem(_RECORD)
    if not why:
        paths = [(name, _FOLDER / f"libvsr_{name}.so") for name in wanted]
        if found := [(name, path) for name, path in paths if path.is_file()]:
            return found
        why = "its library is missing"
    raise BackendError(
        why, remedy="With a C++ compiler and CMake at hand, install the package again."
    )


def _with_bfloat16() -> list[str]:
    """Those of :data:`BFLOAT16` that this processor has the instructions for, best first.

    Raises:
        BackendError: there is none.
    """
    there = bfloat16_instructions()
    if wanted := [library for library, name in BFLOAT16.items() if name in there]:
        return wanted
    names = " or ".join(BFLOAT16.values())
    raise BackendError(f"it computes in bfloat16 with {names}, which this processor has not")


def _for_this_processor() -> tuple[str, ...]:
    """The libraries that compute in float32 and can run here, best first.

    Raises:
        BackendError: there is none.
    """
    if platform.machine().lower() in _ARM64:
        return ("neon",)
    capability = torch.backends.cpu.get_cpu_capability()
    wanted = INSTRUCTION_SETS.get(capability)
    if wanted is None:
        raise BackendError(
            f"it needs AVX2, AVX-512 or ARM64, and torch says of this processor: {capability}"
        )
    return wanted


@cache
def library(*, bfloat16: bool = False) -> Library:
    """The best library for this processor that works, loaded once.

    Args:
        bfloat16: the best that computes in bfloat16.

    Raises:
        BackendError: there is none; or none loads, fits these sources or is given what it needs by
            the system: then what is wrong with the best one.
    """
    first: BackendError | None = None
    for name, path in find(bfloat16=bfloat16):
        try:
            found = Library(name, path)
        except BackendError as error:
            first = first or error
        else:
            found.passed_over = first.what if first else None
            return found
    assert first is not None  # noqa: S101 - find() gives one at least
    raise first


def problem() -> str | None:
    """Why no library can be used here; ``None`` if one can."""
    return _problem_of(bfloat16=False)


def bfloat16_problem() -> str | None:
    """Why no library that computes in bfloat16 can be used here; ``None`` if one can."""
    return _problem_of(bfloat16=True)


def _problem_of(*, bfloat16: bool) -> str | None:
    try:
        library(bfloat16=bfloat16)
    except BackendError as error:
        return f"{error.what}. {error.remedy}" if error.remedy else error.what
    return None


class Library:
    """A loaded library.

    Attributes:
        name: its instruction set. lanes: floats in a vector.
        passed_over: what is wrong with a better one, in whose place it is.

    Raises:
        BackendError: it does not load, was built from other sources, or cannot run here.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.passed_over: str | None = None
        try:
            self._c = ctypes.CDLL(str(path))
            built = self._c.vsr_interface()
        except (OSError, AttributeError) as error:
            raise BackendError(f"its library cannot be loaded: {error}", where=str(path)) from error
        if built != _INTERFACE:
            raise BackendError(
                "its library was built from other sources",
                where=str(path),
                remedy="Install the package again.",
            )
        self.lanes: int = self._c.vsr_lanes()
        pointer, count, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
        for function, result, arguments in (
            ("vsr_error", ctypes.c_char_p, []),
            ("vsr_obstacle", ctypes.c_char_p, []),
            ("vsr_network_new", pointer, [pointer, count]),
            ("vsr_network_free", None, [pointer]),
            ("vsr_run_new", pointer, [number] * 4),
            ("vsr_run_write", None, [pointer, pointer, number, number]),
            ("vsr_run_trunk", number, [pointer, pointer]),
            ("vsr_run_read", None, [pointer, pointer, number, number]),
            ("vsr_run_stage", number, [pointer, ctypes.c_char_p, pointer, count, pointer]),
            ("vsr_run_free", None, [pointer]),
        ):
            entry = getattr(self._c, function)
            entry.restype, entry.argtypes = result, arguments
        obstacle = self._c.vsr_obstacle()
        if obstacle is not None:
            raise BackendError(obstacle.decode(), where=str(path))

    @property
    def c(self) -> ctypes.CDLL:
        """Its functions; ``native/api.cpp`` describes them."""
        return self._c

    def failure(self) -> BackendError:
        """The error of the call that has just failed."""
        said = self._c.vsr_error().decode()
        if said == "out of memory":
            return OutOfMemoryError("out of memory", remedy="Use a smaller picture or float16.")
        return BackendError(f"the native engine failed: {said}")


class Network:
    """A trunk's parameters inside the library.

    Args:
        lib: the library.
        parameters: what :func:`vsr.engine.native.pack.pack_trunk` gives.

    Raises:
        BackendError: the library cannot make sense of them.
    """

    def __init__(self, lib: Library, parameters: NDArray[np.float32]) -> None:
        self._lib = lib
        self.handle = lib.c.vsr_network_new(parameters.ctypes.data, parameters.size)
        if not self.handle:
            raise lib.failure()

    def __del__(self) -> None:
        if getattr(self, "handle", None):
            self._lib.c.vsr_network_free(self.handle)


class Run:
    """The maps of one frame while its trunk is computed. Made by :meth:`open`."""

    def __init__(self, lib: Library, handle: int, width: int) -> None:
        self._lib, self._handle, self._width = lib, handle, width

    @classmethod
    @contextmanager
    def open(
        cls, lib: Library, height: int, width: int, *, threads: int, half: bool
    ) -> Iterator[Run]:
        """Room for a frame of this size; it is given back at the end.

        Args:
            lib: the library.
            height, width: of the frame, at least 1.
            threads: how many compute.
            half: keep maps in half precision rather than float32. The libraries that compute in
                bfloat16 keep them in it in any case.

        Raises:
            OutOfMemoryError: there is no room.
        """
        handle = lib.c.vsr_run_new(height, width, threads, int(half))
        if not handle:
            raise lib.failure()
        try:
            yield cls(lib, handle, width)
        finally:
            lib.c.vsr_run_free(handle)

    def write(self, features: Tensor, top: int) -> None:
        """Put ``(1, 24, lines, width)`` float32 features in from line ``top`` on."""
        planes = features.to("cpu", torch.float32).contiguous()
        self._lib.c.vsr_run_write(self._handle, planes.data_ptr(), top, planes.shape[2])

    def trunk(self, network: Network) -> None:
        """Replace the features by the trunk's result.

        Raises:
            BackendError: a thread cannot be started.
        """
        if self._lib.c.vsr_run_trunk(self._handle, network.handle) != 0:
            raise self._lib.failure()

    def stage(self, name: str, parameters: NDArray[np.float32]) -> NDArray[np.float64]:
        """Run one stage alone and leave its result as the features; for tests.

        Returns:
            ``(2, 24)``, what the stage found out: means and variances, or its gate's slopes and
            offsets.

        Raises:
            BackendError: there is no such stage, or these are not its parameters.
        """
        said = np.zeros((2, CHANNELS))
        count, data = parameters.size, parameters.ctypes.data
        if self._lib.c.vsr_run_stage(self._handle, name.encode(), data, count, said.ctypes.data):
            raise self._lib.failure()
        return said

    def read(self, top: int, lines: int) -> Tensor:
        """``(1, 24, lines, width)`` float32 features from line ``top`` on."""
        # Not what a program has made torch's defaults: C++ writes float32 there.
        shape = (1, CHANNELS, lines, self._width)
        planes = torch.empty(shape, dtype=torch.float32, device="cpu")
        self._lib.c.vsr_run_read(self._handle, planes.data_ptr(), top, lines)
        return planes

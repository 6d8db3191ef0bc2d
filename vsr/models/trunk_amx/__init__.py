"""FDIWN's trunk in training on a processor with AMX: C++, compiled when it is first used.

One call runs a group forward and keeps a tape, one runs it backward; each image is worked on by one
core, in whose caches its features stay. The arithmetic is that of
:mod:`vsr.models.fdiwn_training` in bfloat16, with float32 sums, gradients between units and
statistics.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

__all__ = ["Group", "Library", "library"]

_FOLDER = Path(__file__).parent
_SOURCES = ("trunk.cpp", "kernels.h")
_FLAGS = (
    "-std=c++20", "-O3", "-shared", "-fPIC", "-Wno-psabi", "-mfma", "-mbmi2", "-mavx512f",
    "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512bf16", "-mamx-tile", "-mamx-bf16",
)  # fmt: skip


class Library:
    """The compiled code."""

    def __init__(self, path: Path) -> None:
        self.code = ctypes.CDLL(str(path))
        for name in ("weights", "packed", "tape"):
            getattr(self.code, f"vsr_training_{name}").restype = ctypes.c_long


@cache
def library() -> Library | None:
    """The library, compiled if it has not been; ``None`` where it cannot run or be compiled."""
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    compiler = shutil.which("g++") or shutil.which("clang++") or shutil.which("c++")
    if sys.platform != "linux" or compiler is None:
        return None
    if not (capabilities.get("amx_bf16") and capabilities.get("avx512_bf16")):
        return None
    digest = hashlib.sha256(" ".join((compiler, *_FLAGS)).encode())
    for name in _SOURCES:
        digest.update((_FOLDER / name).read_bytes())
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vsr" / "code"
    path = home / f"trunk_amx-{digest.hexdigest()[:32]}.so"
    if not path.is_file() and not _compiled(compiler, path):
        return None
    found = Library(path)
    return found if found.code.vsr_training_ready() else None


def _compiled(compiler: str, path: Path) -> bool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            new = Path(folder) / path.name
            source = str(_FOLDER / _SOURCES[0])
            done = subprocess.run(  # noqa: S603 - a compiler from the path, our own source
                [compiler, *_FLAGS, source, "-o", str(new)], capture_output=True, check=False
            )
            if done.returncode == 0:
                new.replace(path)
    except OSError:
        return False
    return done.returncode == 0


class Group:
    """A group's weights, ready to run.

    Args:
        code: the library.
        widths: of the expanding convolutions: WIRW's, WCRW's, the fusion's.
        natural: ``natural[c]`` is the stored channel that is channel ``c``.
        weights: all effective weights in a row, float32.
    """

    def __init__(
        self, code: Library, widths: tuple[int, int, int], natural: Tensor, weights: Tensor
    ) -> None:
        self.code, self.widths, self.weights = code.code, widths, weights
        self._natural = natural.to(torch.int32).contiguous()
        expected = self.code.vsr_training_weights(*widths)
        if weights.numel() != expected:
            raise ValueError(f"a group has {expected} weights, not {weights.numel()}")
        self.packed = torch.empty(self.code.vsr_training_packed(*widths), dtype=torch.bfloat16)
        self.code.vsr_training_pack(*widths, _address(weights), _address(self.packed))

    def __call__(self, x: Tensor, *, base: float) -> Tensor:
        """``base * x`` plus the group's result; ``(N, C, H, W)`` float32, channels last."""
        out: Tensor = _Run.apply(x, self.weights, self, base)  # type: ignore[no-untyped-call]
        return out

    def call(self, name: str, x: Tensor, base: float, *tensors: Tensor) -> None:
        """Run a function of the library on images of ``x``'s shape."""
        n, _, h, w = x.shape
        shape = (ctypes.c_int * 7)(n, h, w, *self.widths, torch.get_num_threads())
        getattr(self.code, f"vsr_training_{name}")(
            shape, _address(self._natural), ctypes.c_float(base), _address(self.weights),
            _address(self.packed), *map(_address, tensors),
        )  # fmt: skip

    def tape(self, x: Tensor) -> Tensor:
        """Memory for what the gradient needs; given back to :data:`_TAPES`."""
        n, _, h, w = x.shape
        size = n * self.code.vsr_training_tape(h, w)
        kept = _TAPES.get(size)
        return kept.pop() if kept else torch.empty(size, dtype=torch.uint8)


#: Tapes by their size, to be used again: fresh memory costs as much as the arithmetic.
_TAPES: dict[int, list[Tensor]] = {}


def _address(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor, group: Group, base: float) -> Tensor:  # noqa: ARG004 - for autograd
        x = x.detach().contiguous(memory_format=torch.channels_last)
        ctx.group, ctx.base, ctx.tape = group, base, group.tape(x)
        out = torch.empty_like(x)
        group.call("forward", x, base, ctx.tape, x, out)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        group, tape = ctx.group, ctx.tape
        g = grad.contiguous(memory_format=torch.channels_last)
        dx = torch.empty_like(g)
        parts = torch.zeros(torch.get_num_threads(), group.weights.numel())
        group.call("backward", g, ctx.base, tape, g, dx, parts)
        _TAPES.setdefault(tape.numel(), []).append(tape)
        return dx, parts[0] if len(parts) == 1 else parts.sum(0), None, None

"""What figures depend on: processor, versions, commit; and the limits that are measured."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import torch

from vsr import __version__
from vsr.cores import usable_cores
from vsr.engine.native.library import find
from vsr.errors import BackendError

__all__ = ["Limits", "commit", "instruction_set", "machine", "measure_limits"]

_ROOT = Path(__file__).resolve().parents[2]
_SIDE = 2048
_COPIED = 64 * 2**20  # floats: far more than any cache holds


@dataclass(frozen=True, slots=True)
class Limits:
    """What the device reached in this run.

    Attributes:
        gemm: GFLOP/s of a product of two 2048x2048 float32 matrices, best of some. TF32 is off
            unless torch was told otherwise.
        copy: GB/s of a copy of 256 MiB, bytes read plus bytes written, best of some.
    """

    gemm: float
    copy: float


def measure_limits(device: str, repetitions: int = 5) -> Limits:
    """Measure ``device`` (``cpu``, ``cuda:0``) with as many threads as torch uses."""
    a = torch.rand(_SIDE, _SIDE, device=device)
    product, source = torch.empty_like(a), torch.rand(_COPIED, device=device)
    target = torch.empty_like(source)

    def wait() -> None:
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)

    def best(work: Callable[[], object]) -> float:
        taken = []
        for _ in range(repetitions + 1):
            begun = time.perf_counter()
            work()
            wait()
            taken.append(time.perf_counter() - begun)
        return min(taken[1:])

    wait()
    return Limits(
        gemm=2 * _SIDE**3 / best(lambda: torch.mm(a, a, out=product)) / 1e9,
        copy=2 * 4 * _COPIED / best(lambda: target.copy_(source)) / 1e9,
    )


def instruction_set() -> str:
    """Of the native engine on this processor; ``none`` where it cannot run."""
    try:
        return find()[0][0]
    except BackendError:
        return "none"


def machine() -> dict[str, Any]:
    """Processor, cores, torch and its threads, GPU if any, versions."""
    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = [line.partition(":")[2].strip() for line in info.read_text().splitlines()
                 if line.startswith("model name")]  # fmt: skip
        model = lines[0] if lines else model
    return {
        "cpu": model,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "instruction_set": instruction_set(),
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "vsr": __version__,
        "torch": torch.__version__,
        "av": av.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def commit() -> str | None:
    """Of the checkout that this is; ``None`` where it is none, or git is missing."""
    if not (_ROOT / ".git").exists():
        return None
    git = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(git, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()

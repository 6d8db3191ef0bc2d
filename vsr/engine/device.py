"""Which device runs the network, and which backend on it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from vsr.engine.backend import AUTO_ORDER, backend_class
from vsr.errors import BackendError

__all__ = ["DeviceChoice", "choose_device"]


@dataclass(frozen=True, slots=True)
class DeviceChoice:
    """A device and what suits it.

    Attributes:
        device: ``cpu`` or ``cuda:N``.
        backend: row of the backend table.
        dtype: storage type of the network there.
        batch: frames per call.
        why: one sentence.
    """

    device: str
    backend: str
    dtype: str
    batch: int
    why: str


def choose_device(
    device: str = "auto", backend: str = "auto", dtype: str = "auto", batch: int | None = None
) -> DeviceChoice:
    """Settle what ``auto`` leaves open: the first CUDA device if there is one, else the CPU.

    Raises:
        BackendError: a device or backend asked for by name is not there, or no backend can run.
    """
    if device == "auto":
        found = torch.cuda.is_available()
        chosen = "cuda:0" if found else "cpu"
        why = "the first CUDA device" if found else "no CUDA device here"
    else:
        chosen = "cuda:0" if device == "cuda" else device
        why = "asked for"
        _check(chosen)
    names = AUTO_ORDER if backend == "auto" else (backend,)
    problems = {name: backend_class(name).problem(chosen) for name in names}
    usable = [name for name, problem in problems.items() if problem is None]
    if not usable:
        said = "; ".join(f"{name}: {problem}" for name, problem in problems.items())
        raise BackendError(f"no backend can run on {chosen}: {said}")
    if dtype == "auto":
        # bf16 costs 0.02-0.04 dB and is a choice to make knowingly; fp16 on a GPU costs nothing
        # measurable because statistics stay float32.
        dtype = "float16" if chosen.startswith("cuda") else "float32"
    return DeviceChoice(chosen, usable[0], dtype, batch or 1, why)


def _check(device: str) -> None:
    kind, _, index = device.partition(":")
    if kind == "cpu" and not index:
        return
    if kind == "cuda" and index.isdigit():
        count = torch.cuda.device_count()
        if int(index) < count:
            return
        raise BackendError(
            f"there is no device {device}: torch sees {count} CUDA devices",
            remedy="`vsr doctor` says what works here; --device cpu always does.",
        )
    raise BackendError(
        f"{device!r} is not a device", remedy="Use auto, cpu, cuda or cuda:N (N from 0)."
    )

"""Which device runs the network, and which backend on it."""

from __future__ import annotations

from typing import Literal

import torch

from vsr.engine.backend import AUTO_ORDER, backend_class
from vsr.errors import BackendError
from vsr.models.registry import model_spec
from vsr.plan import DeviceFacts

__all__ = ["choose_device"]

_Dtype = Literal["float32", "float16", "bfloat16"]

# bf16 costs 0.02-0.04 dB and is a choice to make knowingly; fp16 costs nothing measurable because
# statistics stay float32, but CPUs are slow at it.
_CPU_DTYPES: tuple[_Dtype, ...] = ("float32", "bfloat16")
_CUDA_DTYPES: tuple[_Dtype, ...] = ("float16", "float32", "bfloat16")


def choose_device(
    device: str = "auto", backend: str = "auto", *, model: str = "fdiwn"
) -> DeviceFacts:
    """Settle what ``auto`` leaves open: the first CUDA device if there is one, else the CPU.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        backend: ``auto`` or a row of the backend table.
        model: row of the model table; its storage types bound what the device is used with.

    Raises:
        ModelError: there is no such model.
        UsageError: there is no such backend.
        BackendError: the device asked for is not there, or no backend can run on it.
    """
    supported = model_spec(model).dtypes
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
    preferred = _CUDA_DTYPES if chosen.startswith("cuda") else _CPU_DTYPES
    return DeviceFacts(
        backend=usable[0],
        device=chosen,
        dtypes=tuple(dtype for dtype in preferred if dtype in supported),
        why=why,
    )


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

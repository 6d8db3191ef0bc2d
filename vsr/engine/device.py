"""Which device runs the network, and which backend on it."""

from __future__ import annotations

from typing import get_args

import torch

from vsr.engine.backend import AUTO_ORDER, REPLAYING, backend_class
from vsr.errors import BackendError, UsageError
from vsr.models.registry import model_spec
from vsr.plan import DeviceFacts
from vsr.types import Mode

__all__ = ["choose_device"]


def choose_device(
    device: str | torch.device = "auto",
    backend: str = "auto",
    *,
    model: str = "fdiwn",
    dtype: str | None = None,
    mode: Mode = "exact",
) -> DeviceFacts:
    """Settle what ``auto`` leaves open: the first CUDA device if there is one, else the CPU.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; or torch's own object.
        backend: ``auto`` or a row of the backend table.
        model: row of the model table; its storage types bound what the device is used with.
        dtype: storage type that is wished for, if any; ``auto`` takes a backend that has it.
        mode: what the network is to take its statistics of; ``exact`` where it takes none.

    Raises:
        ModelError: there is no such model.
        UsageError: there is no such backend or mode.
        BackendError: the device asked for is not there, or no backend can run on it.
    """
    if mode not in get_args(Mode):
        raise UsageError(
            f"there is no mode called {mode!r}", remedy=f"Modes are {', '.join(get_args(Mode))}."
        )
    if not model_spec(model).whole_frame:
        mode = "exact"
    device = str(device)
    if device == "auto":
        found = torch.cuda.is_available()
        chosen = "cuda:0" if found else "cpu"
        why = "the first CUDA device" if found else "no CUDA device here"
    else:
        chosen = "cuda:0" if device == "cuda" else device
        why = "asked for"
        _check(chosen)
    problems: dict[str, str] = {}
    for name in AUTO_ORDER if backend == "auto" else (backend,):
        kind = backend_class(name)
        dtypes = kind.dtypes(model, chosen)
        if backend == "auto" and (not dtypes or dtype not in (None, *dtypes)):
            continue  # not what it is for
        problem = kind.problem(chosen)
        if problem is None and not dtypes:
            problem = f"it does not run {model} there"
        if problem is None and mode == "lagged" and name not in REPLAYING:
            problem = "it cannot weight a frame by the one before, as lagged does"
        if problem is None:
            passed = "".join(f"; not with {other}: {said}" for other, said in problems.items())
            return DeviceFacts(
                backend=name,
                device=chosen,
                dtypes=dtypes,
                # Named by the backends alone whose device small frames leave idle.
                batch_pixels=getattr(kind, "batch_pixels", 0),
                mode=mode,
                why=why + passed,
            )
        problems[name] = problem
    said = "; ".join(f"{name}: {problem}" for name, problem in problems.items())
    raise BackendError(
        f"no backend can run {model} on {chosen}" + (f" in {dtype}" if dtype else "") + f": {said}"
        if said
        else f"no backend runs {model} on {chosen} in {dtype}",
        remedy="--backend auto finds one for --mode lagged; --mode exact runs on all."
        if mode == "lagged"
        else "",
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

"""``--devices``: which workers a job gets."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vsr.errors import UsageError

__all__ = ["WorkerSpec", "parse_devices"]

_CPU = re.compile(r"cpu(?::(\d+)(?:x(\d+))?)?")
_CUDA = re.compile(r"cuda(?::(\d+))?")
_REMEDY = "Write cuda:0,cuda:1 for two GPUs, or cpu:2x1 for two workers with one thread each."


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """One worker process: its ``device``, and how many CPU ``threads`` torch takes (0: all)."""

    device: str
    threads: int = 0


def parse_devices(text: str) -> tuple[WorkerSpec, ...]:
    """Workers for ``cuda:0,cuda:1``, ``cpu:2x1`` (two workers, one thread each) or a mixture.

    A device that is named twice has two workers.

    Raises:
        UsageError: it is not of that form, or mixes CPU and GPUs, whose results differ in the
            last bit.
    """
    specs: list[WorkerSpec] = []
    for name in text.split(","):
        cpu, cuda = _CPU.fullmatch(name.strip()), _CUDA.fullmatch(name.strip())
        if cpu is not None:
            count, threads = int(cpu[1] or 1), int(cpu[2] or 0)
            if count < 1:
                raise UsageError(f"{name!r} has no worker", remedy=_REMEDY)
            specs += [WorkerSpec("cpu", threads)] * count
        elif cuda is not None:
            specs.append(WorkerSpec(f"cuda:{cuda[1] or 0}"))
        else:
            raise UsageError(f"{name!r} is not a device", remedy=_REMEDY)
    if len({spec.device.partition(":")[0] for spec in specs}) > 1:
        raise UsageError(
            "CPU and GPU workers in one job: their results differ in the last bit, so that the "
            "video would depend on who made which part",
            remedy=_REMEDY,
        )
    return tuple(specs)

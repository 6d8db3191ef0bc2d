"""What the CPU can do, and torch is to do with it."""

from __future__ import annotations

import os
from functools import cache

import torch

from vsr.cores import usable_cores

__all__ = ["bfloat16_instructions", "heed_quota"]


@cache
def heed_quota() -> None:
    """Let torch use no more threads than :func:`vsr.cores.usable_cores`, of which it knows less.

    Once in a process: what somebody sets after that holds, and so does ``OMP_NUM_THREADS``. It is
    for the calling thread and those that begin to use torch after.
    """
    cores = usable_cores()
    if not os.environ.get("OMP_NUM_THREADS") and torch.get_num_threads() > cores:
        torch.set_num_threads(cores)


def bfloat16_instructions() -> tuple[str, ...]:
    """``AMX`` and ``AVX512-BF16``: those that there are here for products of bfloat16, best first.

    Like torch it obeys ``ATEN_CPU_CAPABILITY``: below AVX512 there are none.
    """
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or not _has("avx512_bf16"):
        return ()
    return ("AMX", "AVX512-BF16") if _has("amx_tile") else ("AVX512-BF16",)


def _has(instructions: str) -> bool:
    # Torch promises nothing of these functions. Without them float32 does the work.
    supported = getattr(torch.cpu, f"_is_{instructions}_supported", None)
    return supported is not None and bool(supported())

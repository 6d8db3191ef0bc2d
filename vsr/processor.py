"""What the CPU can do that torch knows of; imports nothing of the package."""

from __future__ import annotations

import torch

__all__ = ["bfloat16_instructions"]


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

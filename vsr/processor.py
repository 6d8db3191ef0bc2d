"""What the CPU can do that torch knows of; imports nothing of the package."""

from __future__ import annotations

import torch

__all__ = ["bfloat16_instructions"]


def bfloat16_instructions() -> tuple[str, ...]:
    """``AMX`` and ``AVX512-BF16``: those that there are here for products of bfloat16, best first.

    Like torch it obeys ``ATEN_CPU_CAPABILITY``: below AVX512 there are none.
    """
    cpu = torch.cpu
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or not cpu._is_avx512_bf16_supported():
        return ()
    return ("AMX", "AVX512-BF16") if cpu._is_amx_tile_supported() else ("AVX512-BF16",)

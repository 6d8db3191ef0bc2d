"""Where Triton's kernels are tried: on a GPU, or by Triton's interpreter on the CPU."""

from __future__ import annotations

import os

import pytest
import torch

__all__ = ["DEVICE", "INTERPRETED", "require_triton"]

DEVICE = "cuda:0" if torch.cuda.is_available() else "cpu"
#: conftest.py decides, before anything imports Triton.
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def require_triton() -> None:
    """Skip the calling module where there is no Triton, or nothing to run it on."""
    pytest.importorskip("triton", reason="Triton is not installed: its kernels are not tested")
    if DEVICE == "cpu" and not INTERPRETED:
        pytest.skip("no CUDA device, and TRITON_INTERPRET is not 1", allow_module_level=True)

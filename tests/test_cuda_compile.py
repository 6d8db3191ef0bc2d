"""The kernels compile for a GPU, and fit it, on a machine that has none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton is not installed: its kernels are not tested")

#: Bytes of shared memory that a program may have on Hopper.
MOST_SHARED = 227 * 1024


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_every_kernel_compiles_for_hopper(dtype: str, tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("compile_kernels.py")), dtype],
        env=environment | {"TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kernels = [json.loads(line) for line in done.stdout.splitlines()]
    assert {told["kernel"] for told in kernels} == {
        "_activate_kernel",
        "_coefficient_kernel",
        "_conv_kernel",
        "_enter_kernel",
        "_fuse_kernel",
        "_gate_kernel",
        "_interact_kernel",
        "_join_kernel",
        "_weigh_kernel",
    }
    for told in kernels:
        assert told["shared"] <= MOST_SHARED, told
        assert told["local"] == 0, f"registers spill: {told}"

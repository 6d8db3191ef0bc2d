"""The kernels compile for a GPU, and fit it, on a machine that has none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton is not installed: its kernels are not tested")

from vsr.engine.cuda.kernels.grid import RESIDENT

#: Bytes of shared memory of a multiprocessor of Hopper that programs may have, and its registers.
SHARED, REGISTERS = 227 * 1024, 64 * 1024


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
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    kernels = [told for told in lines if "kernel" in told]
    assert {told["kernel"] for told in kernels} == {
        "_activate_kernel",
        "_coefficients_kernel",
        "_fuse_kernel",
        "_gate_kernel",
        "_merge_kernel",
        "_open_kernel",
        "_pass_on_kernel",
        "_weigh_kernel",
        *(f"_{name}_kernel" for name in RESIDENT if name != "moments"),
    }
    for told in kernels:
        # As many programs as are launched fit at a time, lest some begin when others are done.
        resident = RESIDENT.get(told["kernel"].strip("_").removesuffix("_kernel"), 1)
        assert told["shared"] * resident <= SHARED, told
        assert told["local"] == 0, f"registers spill: {told}"
        registers = -(-told["registers"] // 8) * 8 * 32 * told["warps"]
        assert registers * resident <= REGISTERS, told
    networks = [told for told in lines if "scale" in told]
    assert [told["scale"] for told in networks] == [2, 4]
    for told in networks:
        # Memory limits a GPU: what a stage gives is added up before it is written.
        assert told["launches"] <= 510, told
        assert told["bytes"] <= 50_784, told

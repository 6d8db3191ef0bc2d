"""Compile every kernel that a network launches for a GPU that is not there.

Usage: ``python tests/compile_kernels.py DTYPE``, without ``TRITON_INTERPRET``. Prints a JSON object
for each kernel: its name, warps, shared memory in bytes, registers, bytes of local memory; then one
for each network: its scale, launches, and the bytes a pixel of the maps that they are given.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from triton.backends import nvidia
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from vsr.engine.cuda.kernels import gates
from vsr.engine.cuda.pack import coefficient_weights, gate_weights
from vsr.engine.cuda.trunk import FusedNetwork
from vsr.models.fdiwn import Fdiwn
from vsr.models.fdiwn_inference import FdiwnInference

#: Hopper: H100, H200.
TARGET = GPUTarget("cuda", 90, 32)
#: Height and width of a frame.
SIZE = (9, 37)
#: Parts of a large frame's statistics: of three programs on each of 132 multiprocessors.
MOST_PARTS = 396
TOOL = Path(nvidia.__file__).parent / "bin" / "cuobjdump"


def usage(cubin: bytes) -> dict[str, int]:
    """Registers and local memory of a thread, as the assembler settled them."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(TOOL), "--dump-resource-usage", file.name]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = {key: int(n) for key, n in re.findall(r"\b(REG|STACK|LOCAL):(\d+)", told)}
    return {"registers": found["REG"], "local": found["STACK"] + found["LOCAL"]}


def of_pixels(argument: object) -> bool:
    """Whether a kernel's argument is a map, ``(N, H, W, C)``."""
    return isinstance(argument, torch.Tensor) and tuple(argument.shape[1:3]) == SIZE


def main() -> None:
    dtype = getattr(torch, sys.argv[1])
    driver.set_active(
        SimpleNamespace(
            get_current_target=lambda: TARGET,
            get_current_device=lambda: 0,
            get_current_stream=lambda _=None: 0,
            get_device_interface=lambda: torch.cuda,
        )
    )
    launch, seen = JITFunction.run, set()
    maps: list[int] = []

    def compile_only(self: Any, *arguments: Any, warmup: bool, **options: Any) -> Any:
        compiled = launch(self, *arguments, warmup=True, **options)
        sizes = {a.data_ptr(): a.nbytes for a in arguments if of_pixels(a)}
        maps.append(sum(sizes.values()))
        if compiled.hash not in seen:
            seen.add(compiled.hash)
            told = {"kernel": self.__name__, "warps": compiled.metadata.num_warps}
            told["shared"] = compiled.metadata.shared
            print(json.dumps(told | usage(compiled.asm["cubin"])), flush=True)
        return compiled

    JITFunction.run = compile_only
    with torch.inference_mode():
        block = FdiwnInference(Fdiwn(2)).groups[0].wdib1
        parts = torch.zeros(1, MOST_PARTS, 3, 32)
        gates.gate(parts, gate_weights(block.gate))
        both = coefficient_weights(block.coefficient_a1, block.coefficient_b1)
        gates.coefficients((parts, parts), both)
        for scale in (2, 4):
            net = FdiwnInference(Fdiwn(scale))
            net.store_trunk_as(dtype)
            maps.clear()
            FusedNetwork(net)(torch.zeros(1, 3, *SIZE))
            moved = sum(maps) / (SIZE[0] * SIZE[1])
            print(json.dumps({"scale": scale, "launches": len(maps), "bytes": moved}), flush=True)


if __name__ == "__main__":
    main()

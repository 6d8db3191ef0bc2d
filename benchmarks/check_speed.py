"""Fails if the network has become more than a tenth slower, against the baseline of the same run.

Usage: ``python benchmarks/check_speed.py [--keep]``. Times the training form in torch and the
default backend in turns, one thread, seconds of the processor, the least of some rounds of each:
what else the machine does hardly shows in their ratio. That is compared with the ratio which
``results/speed-check.json`` has for this kind of processor; ``--keep`` writes it there. Where
there is none, it says so and passes. A ratio that is too low is measured again before it fails.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable

import record
import torch

import vsr
from pipelines.bench.machine import machine
from pipelines.bench.network import training_form
from pipelines.memory import keep_freed_memory
from vsr.engine.native.library import BFLOAT16, bfloat16_problem, library
from vsr.types import ModelPlan

#: What is left of the recorded ratio at least.
LEAST = 0.9
SIZE, SCALE, ROUNDS, TRIES = (120, 160), 2, 5, 3
NAME = "speed-check"


def seconds(work: Callable[[torch.Tensor], torch.Tensor], pixels: torch.Tensor) -> float:
    """Processor seconds of one call of ``work``."""
    begun = time.process_time()
    work(pixels).sum().item()
    return time.process_time() - begun


def ratio() -> float:
    """How many times as fast as the baseline the default backend is."""
    baseline = torch.inference_mode()(training_form(ModelPlan("fdiwn", SCALE), "cpu"))
    network = vsr.Upscaler(SCALE, device="cpu")
    pixels = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(0)) * 255
    for work in (baseline, network):
        seconds(work, pixels)  # warms up
    rounds = [(seconds(baseline, pixels), seconds(network, pixels)) for _ in range(ROUNDS)]
    slow, fast = (min(times) for times in zip(*rounds, strict=True))
    times_as_fast: float = slow / fast
    return times_as_fast


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--keep", action="store_true", help="record the ratio of this processor")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    kind = machine()["cpu"] + ", " + torch.backends.cpu.get_cpu_capability()
    if bfloat16_problem() is None:
        kind += f", {BFLOAT16[library(bfloat16=True).name]}"
    path = record.RESULTS / f"{NAME}.json"
    rows = json.loads(path.read_text())["rows"] if path.is_file() else []
    known = next((row["ratio"] for row in rows if row["processor"] == kind), None)
    found = 0.0
    for _ in range(TRIES):
        found = max(found, ratio())
        if known is None or found >= LEAST * known:
            break
    print(f"{kind}: {found:.2f} times the training form; recorded: {known or 'nothing'}")
    if arguments.keep:
        others = [row for row in rows if row["processor"] != kind]
        record.save(NAME, [*others, {"processor": kind, "ratio": found}])
    elif known is not None and found < LEAST * known:
        sys.exit(f"the network has become slower: less than {LEAST:.0%} of what it was")


if __name__ == "__main__":
    main()

"""Frames per second of the networks alone and of ``vsr.upscale`` as a whole, on this machine.

Usage: ``python benchmarks/speed.py [--size 640x360] [--scale 2] [--frames 4] [--network-only]
[--model fdiwn-m] [--backend NAME ...] [--name NAME]``. Backends that ``auto`` never takes run if
they are named. Prints a Markdown table. Run it on an otherwise idle machine, because other work
changes the figures; the CPU seconds a frame are disturbed least.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import record
import torch
from clips import noise_clip

import vsr
from pipelines.bench.network import training_form
from pipelines.memory import keep_freed_memory
from vsr.engine.backend import AUTO_ORDER, BACKENDS, backend_class
from vsr.models.fdiwn import Variant
from vsr.types import ModelPlan


def network_rate(
    upscaler: Callable[[torch.Tensor], torch.Tensor], width: int, height: int, frames: int
) -> tuple[float, float]:
    """Frames per second and processor seconds a frame, one frame at a time.

    Medians, after one frame to warm up.
    """
    pixels = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0)) * 255
    seconds, busy = [], []
    for _ in range(frames + 1):
        begun, busy_before = time.perf_counter(), time.process_time()
        upscaler(pixels).sum().item()  # .item() waits for the device
        seconds.append(time.perf_counter() - begun)
        busy.append(time.process_time() - busy_before)
    return 1 / statistics.median(seconds[1:]), statistics.median(busy[1:])


def candidates(network: Variant, backends: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Model, backend and storage type of every row: all of these that can run here."""
    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    for model in (network, "bicubic"):
        for backend in backends:
            kind = backend_class(backend)
            if kind.problem(device) is None:
                has = kind.dtypes(model, device)
                for dtype in has:
                    if dtype != "bfloat16" or dtype == has[0]:
                        yield model, backend, dtype


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--model", choices=("fdiwn", "fdiwn-m"), default="fdiwn")
    parser.add_argument("--frames", type=int, default=4, help="timed for each row")
    parser.add_argument("--network-only", action="store_true", help="leave vsr.upscale out")
    parser.add_argument("--backend", action="append", choices=BACKENDS, help="only this, or these")
    parser.add_argument("--name", default="speed", help="beginning of the result's name")
    arguments = parser.parse_args()
    width, height = (int(n) for n in arguments.size.split("x"))
    scale, frames, baseline_model = arguments.scale, arguments.frames, arguments.model
    print(
        f"{width}x{height} -> {width * scale}x{height * scale}, {os.cpu_count()} CPU cores, "
        f"torch {torch.__version__}\n"
    )
    keep_freed_memory()
    plan = ModelPlan(baseline_model, scale)
    net = torch.inference_mode()(training_form(plan, "cpu"))
    baseline, baseline_busy = network_rate(net, width, height, min(frames, 2))
    rows: list[dict[str, Any]] = [
        {"model": f"{baseline_model}, training form", "network_fps": baseline, "ratio": 1.0}
        | {"cpu_seconds": baseline_busy, "cpu_ratio": 1.0}
    ]
    print("| network | frames/s | ratio | CPU s/frame | ratio | vsr upscale | of that | bound by |")
    print("|---|---|---|---|---|---|---|---|")
    print(
        f"| training form | {baseline:.3f} | 1.00 | {baseline_busy:.3g} | 1.00 | | | |", flush=True
    )
    upscaled = set()
    with tempfile.TemporaryDirectory() as folder:
        for model, backend, dtype in candidates(baseline_model, arguments.backend or AUTO_ORDER):
            network = vsr.Upscaler(scale, model, backend=backend, dtype=dtype)
            alone, busy = network_rate(network, width, height, frames)
            row = {"model": model, "backend": backend, "dtype": dtype, "network_fps": alone}
            row |= {"ratio": alone / baseline, "cpu_seconds": busy}
            row["cpu_ratio"] = baseline_busy / busy
            shares = "| |"
            if model not in upscaled and not arguments.network_only:  # what auto takes
                upscaled.add(model)
                source, result = Path(folder, f"{model}.mp4"), Path(folder, f"{model}_large.mp4")
                noise_clip(source, width, height, frames * 10 if model == "bicubic" else frames)
                report = vsr.upscale(source, result, scale=scale, model=model)
                whole = report.frames_out / report.seconds
                row |= {"upscale_fps": whole, "bound_by": report.bound_by}
                shares = f"{whole:.3g} | {whole / alone:.0%} | {report.bound_by}"
            name = f"{model}, {backend}, {dtype}"
            ratios = f"{alone:.3g} | {alone / baseline:.2f} | {busy:.3g} | {row['cpu_ratio']:.2f}"
            print(f"| {name} | {ratios} | {shares} |", flush=True)
            rows.append(row)
    print(record.save(f"{arguments.name}-{arguments.size}-x{scale}", rows).name)


if __name__ == "__main__":
    main()

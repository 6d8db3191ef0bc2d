"""Frames per second of the networks alone and of ``vsr.upscale`` as a whole, on this machine.

Usage: ``python benchmarks/speed.py [--size 640x360] [--scale 2] [--frames 4]``. Prints a Markdown
table. Run it on an otherwise idle machine: it says what the machine does meanwhile, nothing more.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import record
import torch

import vsr
from pipelines.memory import keep_freed_memory
from vsr.models.fdiwn import Fdiwn
from vsr.models.weights import read_weights, shipped_path


def training_form(scale: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """The baseline: the network in the form it is trained in, eager, float32."""
    net = Fdiwn(scale)
    net.load_state_dict(read_weights(shipped_path("fdiwn", scale)))
    return torch.inference_mode()(net.eval())


def network_rate(
    upscaler: Callable[[torch.Tensor], torch.Tensor], width: int, height: int, frames: int
) -> float:
    """Frames per second, one at a time; the median, after one frame to warm up."""
    pixels = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0)) * 255
    seconds = []
    for _ in range(frames + 1):
        begun = time.perf_counter()
        upscaler(pixels).sum().item()  # .item() waits for the device
        seconds.append(time.perf_counter() - begun)
    return 1 / statistics.median(seconds[1:])


def noise_clip(path: Path, width: int, height: int, frames: int) -> None:
    """Blurred noise that drifts: neither trivial nor impossible for an encoder."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), np.uint8)
    still = np.kron(coarse, np.ones((8, 8, 1), np.uint8))
    with av.open(path, "w") as clip:
        video = clip.add_stream("libx264", rate=25, options={"crf": "18"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            moved = np.roll(still, index * 2, axis=1)[:height, :width]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(moved), format="rgb24")
            clip.mux(video.encode(frame))
        clip.mux(video.encode(None))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--frames", type=int, default=4, help="timed for each row")
    arguments = parser.parse_args()
    width, height = (int(n) for n in arguments.size.split("x"))
    scale, frames = arguments.scale, arguments.frames
    print(
        f"{width}x{height} -> {width * scale}x{height * scale}, {os.cpu_count()} CPU cores, "
        f"torch {torch.__version__}\n"
    )
    keep_freed_memory()
    baseline = network_rate(training_form(scale), width, height, min(frames, 2))
    rows = [{"model": "fdiwn, training form", "network_fps": baseline, "ratio": 1.0}]
    print("| frames/s | network alone | ratio | vsr upscale | of the network's rate | bound by |")
    print("|---|---|---|---|---|---|")
    print(f"| fdiwn, training form | {baseline:.3f} | 1.00 | | | |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for model in ("fdiwn", "bicubic"):
            alone = network_rate(vsr.Upscaler(scale, model), width, height, frames)
            source, result = Path(folder, f"{model}.mp4"), Path(folder, f"{model}_large.mp4")
            noise_clip(source, width, height, frames if model == "fdiwn" else frames * 10)
            report = vsr.upscale(source, result, scale=scale, model=model)
            whole = report.frames_out / report.seconds
            shares = f"{whole:.3g} | {whole / alone:.0%} | {report.bound_by}"
            print(f"| {model} | {alone:.3g} | {alone / baseline:.2f} | {shares} |", flush=True)
            rows.append(
                {
                    "model": model,
                    "network_fps": alone,
                    "ratio": alone / baseline,
                    "upscale_fps": whole,
                    "bound_by": report.bound_by,
                }
            )
    print(record.save(f"speed-{arguments.size}-x{scale}", rows).name)


if __name__ == "__main__":
    main()

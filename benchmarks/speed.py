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
from pathlib import Path

import av
import numpy as np
import torch

import vsr


def network_rate(upscaler: vsr.Upscaler, width: int, height: int, frames: int) -> float:
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
    print("| frames/s | network alone | vsr upscale | of the network's rate | bound by |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for model in ("fdiwn", "bicubic"):
            alone = network_rate(vsr.Upscaler(scale, model), width, height, frames)
            source, result = Path(folder, f"{model}.mp4"), Path(folder, f"{model}_large.mp4")
            noise_clip(source, width, height, frames if model == "fdiwn" else frames * 10)
            report = vsr.upscale(source, result, scale=scale, model=model)
            whole = report.frames_out / report.seconds
            shares = f"{whole:.2f} | {whole / alone:.0%} | {report.bound_by}"
            print(f"| {model} | {alone:.2f} | {shares} |", flush=True)


if __name__ == "__main__":
    main()

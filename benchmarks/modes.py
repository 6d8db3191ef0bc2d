"""What the modes and tiles change: PSNR against the whole frame, and against the truth.

Usage: ``python benchmarks/modes.py [CLIP...] [--frames 12] [--weights NAME|FILE]``; by default,
clips of the folder that ``VSR_REFERENCE`` names. Each clip is made ``--width`` pixels wide (the
truth) and half of that (what the network gets) by MATLAB's bicubic; all in torch, float32.

Statistics of another picture, as after a cut that nobody noticed, are those of the first frame of
the next clip. Tiles are made of every fifth frame.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import record
import torch
from torch import Tensor

import vsr
from vsr.engine.backend import ReplayingBackend, open_backend
from vsr.engine.modes import Passes
from vsr.media.color import batch_to_rgb
from vsr.metrics import psnr, psnr_y
from vsr.models.bicubic import resize
from vsr.models.whole_frame.statistics import Record, Replay
from vsr.models.whole_frame.tiles import in_tiles
from vsr.types import ModelPlan

SCALE = 2
CLIPS = ("bikes_640x272.mp4", "tears_of_steel_800x332_70s.webm", "parkjoy_480x270_10f.y4m")
SIDES = (128, 64)
EVERY = 5


def read(path: Path, frames: int, width: int) -> list[tuple[Tensor, Tensor]]:
    """The first frames: small and truth, ``(1, 3, H, W)`` in whole codes."""
    pairs = []
    for batch in vsr.frames(path, count=frames):
        rgb = batch_to_rgb(batch)[0][0].clamp(0, 255).round().byte().permute(1, 2, 0).numpy()
        height = round(width * rgb.shape[0] / rgb.shape[1] / 4) * 4
        truth = resize(rgb, height, width)
        small = resize(truth, height // SCALE, width // SCALE)
        pairs.append((tensor(small), tensor(truth)))
    return pairs


def tensor(picture: Any) -> Tensor:
    """``(H, W, 3)`` uint8 as the network takes it."""
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float()


def statistics(network: ReplayingBackend, small: Tensor) -> list[Any]:
    """What is measured on a frame."""
    kept = Record()
    network(small, kept)
    return kept.measured


def ways(
    network: ReplayingBackend, other: Tensor, count: int
) -> Iterator[tuple[str, Callable[[Tensor], Tensor], int]]:
    """Name, way of enlarging, and every how many frames it is measured."""
    paper, lagged = (Passes("fdiwn", "torch", mode) for mode in ("paper", "lagged"))
    yield "paper", partial(paper, network), 1

    def follow(small: Tensor) -> Tensor:
        # A cut only where the first frame has none before it.
        lagged.follow(cut=False)
        return lagged(network, small)

    yield "lagged", follow, 1
    wrong = statistics(network, other)
    yield "statistics of another picture", lambda x: network(x, Replay(wrong)), count
    whole = Passes("fdiwn", "torch", "exact")
    # A tile as large as the frame is the frame.
    for side in (side for side in SIDES if side < max(other.shape[2:])):
        alone = partial(in_tiles, lambda x, _: network(x), scale=SCALE, side=side)
        yield f"tiles of {side}, own statistics", alone, EVERY
        yield f"tiles of {side}, four times", partial(whole, network, side=side), EVERY


def measure(network: ReplayingBackend, pairs: list[Any], other: Tensor) -> list[dict[str, Any]]:
    """A row for each way."""
    exact, gain, seconds = [], [], []
    for small, truth in pairs:
        begun = time.process_time()
        large = network(small)
        seconds.append(time.process_time() - begun)
        exact.append(large)
        gain.append(psnr_y(codes(large), truth, shave=SCALE).item())
    rows: list[dict[str, Any]] = [{"way": "exact", "psnr_truth": mean(gain), "cpu_ratio": 1.0}]
    for name, enlarge, every in ways(network, other, len(pairs)):
        kept = defaultdict(list)
        for index in range(0, len(pairs), every):
            small, truth = pairs[index]
            begun = time.process_time()
            large = enlarge(small)
            kept["seconds"].append((time.process_time() - begun) / seconds[index])
            if name == "lagged" and index == 0:
                continue  # exact by definition
            kept["exact"].append(psnr(large.clamp(0, 255), exact[index].clamp(0, 255)).item())
            kept["most"].append((large - exact[index]).abs().max().item())
            better = psnr_y(codes(large), truth, shave=SCALE).item() - gain[index]
            kept["truth"].append(better)
        rows.append(
            {
                "way": name,
                "frames": len(kept["exact"]),
                "psnr_exact": mean(kept["exact"]),
                "psnr_exact_least": round(min(kept["exact"]), 2),
                "most_codes": round(max(kept["most"]), 4),
                "psnr_truth_gain": mean(kept["truth"]),
                "cpu_ratio": mean(kept["seconds"]),
            }
        )
    return rows


def codes(large: Tensor) -> Tensor:
    """As 8 bits hold it."""
    return large.clamp(0, 255).round()


def mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("clip", type=Path, nargs="*")
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--width", type=int, default=320, help="of the truth")
    parser.add_argument("--weights", metavar="NAME|FILE", action="append")
    arguments = parser.parse_args()
    folder = Path(os.environ.get("VSR_REFERENCE", "")) / "clips"
    clips = arguments.clip or [folder / name for name in CLIPS]
    read_all = [read(clip, arguments.frames, arguments.width) for clip in clips]
    rows = []
    print("| weights | clip | way | against the whole | least | codes | against the truth | CPU |")
    print("|---|---|---|---|---|---|---|---|")
    for weights in arguments.weights or ["clean"]:
        plan = ModelPlan("fdiwn", SCALE, weights)
        network = cast(ReplayingBackend, open_backend("torch", plan, "cpu", "float32"))
        for number, (clip, pairs) in enumerate(zip(clips, read_all, strict=True)):
            other = read_all[(number + 1) % len(clips)][0][0]
            size = "x".join(str(n) for n in reversed(pairs[0][0].shape[2:]))
            known = {"weights": Path(weights).stem, "clip": clip.name, "size": size}
            for row in measure(network, pairs, other):
                rows.append(known | row)
                shown = [known["weights"], known["clip"], row["way"]]
                if row["way"] == "exact":
                    shown += ["", "", "", f"{row['psnr_truth']:.2f} dB", "1.00"]
                else:
                    shown += [f"{row['psnr_exact']:.1f} dB", f"{row['psnr_exact_least']:.1f}"]
                    shown += [f"{row['most_codes']:.3g}", f"{row['psnr_truth_gain']:+.4f} dB"]
                    shown += [f"{row['cpu_ratio']:.2f}"]
                print("|", " | ".join(shown), "|", flush=True)
            kept = record.save("modes", rows).name
    print(kept)


if __name__ == "__main__":
    main()

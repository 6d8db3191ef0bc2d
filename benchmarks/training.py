"""Milliseconds of a training step: ours against the training form as the authors' code runs it.

Usage: ``python benchmarks/training.py [--scale 2] [--batch 16] [--patch 48] [--rounds 5]``;
``--name`` keeps another processor's figures beside the first one's. The baseline is
``vsr/models/fdiwn.py`` eager, contiguous, float32, with plain Adam and L1. Both take the same
batches, in turns, so that whatever else the machine does meets both. Prints a Markdown table with
the share of a step that is spent waiting for data and, on a GPU, the share of the time after which
all is launched: below 100% the device is what the loop waits for. There the step is measured
without CUDA graphs too. Run it on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import record
import torch
import torch.nn.functional as F  # noqa: N812 - what everybody calls it

from pipelines.memory import keep_freed_memory
from pipelines.train import settle
from vsr.models.fdiwn import Fdiwn
from vsr.models.fdiwn_recipe import initialise_as_bicubic
from vsr.training.data.crops import Batches
from vsr.training.data.images import find_images
from vsr.training.data.store import Store, prepare
from vsr.training.graph import WARM_UP, step_recorder
from vsr.training.learner import Learner
from vsr.training.recipe import recipe_for
from vsr.training.settings import TrainSettings

Step = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def authors_step(scale: int, device: torch.device) -> Step:
    """The baseline: their structure, optimiser and loss."""
    net = Fdiwn(scale)
    initialise_as_bicubic(net)
    net.to(device)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-5, foreach=False, fused=False)

    def step(lr: torch.Tensor, hr: torch.Tensor) -> torch.Tensor:
        optimiser.zero_grad()
        loss = F.l1_loss(net(lr.contiguous()), hr.contiguous())
        torch.autograd.backward(loss)
        optimiser.step()
        return loss.detach()

    return step


def our_step(
    settings: TrainSettings, device: torch.device, *, graphs: bool = True
) -> tuple[Step, str]:
    """A step of ``vsr train``, the moving average and clipping included, and what it is."""
    recipe = recipe_for(settings.model, settings.scale)
    recorder = step_recorder(device) if graphs else None
    net = recipe.build(settings.model, settings.scale)
    learner = Learner(net, recipe, settings, device, recorder)
    recipe.arrange(learner.net, device, compiled=settings.compiled)
    dtype = getattr(torch, settings.precision)
    how = recipe.how_it_runs(learner.net, device, dtype, settings.patch) or settings.precision
    graph = ", CUDA graph" if recorder else ""
    how = f"vsr train, {how}{', compiled' if settings.compiled else ''}{graph}"
    return (lambda lr, hr: learner.update(lr, hr, 1e-5)), how


def store(scale: int, patch: int) -> Store:
    """A few pictures of coarse noise: what they show does not matter here."""
    from PIL import Image

    rng = np.random.default_rng(0)
    side = max(patch * scale * 2, 256)
    with TemporaryDirectory() as name:
        folder = Path(name)
        for index in range(4):
            coarse = rng.integers(0, 256, (side // 8, side // 8, 3), np.uint8)
            Image.fromarray(coarse).resize((side, side)).save(folder / f"{index}.png")
        images = find_images(folder)
        return prepare(images, folder, folder / "store", scale=scale, patch=patch)


def timed(step: Step, batches: Batches, steps: int) -> tuple[float, float, float]:
    """Milliseconds of a step, and shares: waiting for its batch, and until all is launched."""
    waited, begun = 0.0, time.perf_counter()
    for _ in range(steps):
        asked = time.perf_counter()
        lr, hr = batches.take()
        waited += time.perf_counter() - asked
        loss = step(lr, hr)
    launched = time.perf_counter() - begun
    loss.item()  # waits for the device
    seconds = time.perf_counter() - begun
    return 1000 * seconds / steps, waited / seconds, launched / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--patch", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=5, help="timed, after one to warm up")
    parser.add_argument("--steps", type=int, default=1, help="in a round; more on a GPU")
    parser.add_argument("--compile", default="auto", choices=["auto", "on", "off"])
    parser.add_argument("--name", default="training", help="of the results; the scale is added")
    arguments = parser.parse_args()
    keep_freed_memory()
    name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    settings = settle(
        name, "auto", arguments.compile,
        scale=arguments.scale, batch=arguments.batch, patch=arguments.patch,
    )  # fmt: skip
    step, how = our_step(settings, device)
    steps = {"authors' structure, eager, float32": authors_step(arguments.scale, device), how: step}
    if name == "cuda":
        plain, how = our_step(settings, device, graphs=False)
        steps[how] = plain
    pictures = store(arguments.scale, arguments.patch)
    took: dict[str, list[tuple[float, float, float]]] = {name: [] for name in steps}
    with Batches(
        pictures, arguments.batch, arguments.patch, seed=0, detail=3, device=device
    ) as batches:
        for index in range(arguments.rounds + 1):
            for name, step in steps.items():
                warm = WARM_UP + 2 if device.type == "cuda" else 1
                count = arguments.steps if index else max(arguments.steps, warm)
                measured = timed(step, batches, count)
                if index:
                    took[name].append(measured)
    rows = [
        {
            "step": name,
            "ms": round(statistics.median(ms for ms, _, _ in found), 2),
            "fastest_ms": round(min(ms for ms, _, _ in found), 2),
            "waiting_for_data": round(statistics.median(share for _, share, _ in found), 4),
            "until_launched": round(statistics.median(share for _, _, share in found), 4),
        }
        for name, found in took.items()
    ]
    base = rows[0]["ms"]
    print(f"batch {arguments.batch} of {arguments.patch}x{arguments.patch}, x{arguments.scale}\n")
    print("| step | ms | fastest | ratio | waiting for data | until all is launched |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        row["ratio"] = round(base / row["ms"], 3)
        print(
            f"| {row['step']} | {row['ms']:.0f} | {row['fastest_ms']:.0f} | {row['ratio']:.2f} "
            f"| {row['waiting_for_data']:.1%} | {row['until_launched']:.1%} |"
        )
    print(record.save(f"{arguments.name}-x{arguments.scale}-{device.type}", rows).name)


if __name__ == "__main__":
    main()

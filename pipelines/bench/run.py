"""The whole measurement, and how it is told."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.bench.clip import make_clip
from pipelines.bench.machine import Limits, commit, machine, measure_limits
from pipelines.bench.network import NetworkRow, candidates, measure_networks
from pipelines.bench.stages import Whole, measure_whole
from pipelines.memory import keep_freed_memory
from pipelines.upscale import plan_upscale
from vsr.engine.device import choose_device
from vsr.errors import UsageError
from vsr.processor import heed_quota
from vsr.types import ModelPlan

__all__ = ["Bench", "bench_text", "run_bench"]


#: Sides of a clip that can be made; x264 takes no larger ones.
_SMALLEST, _LARGEST = 16, 16384


@dataclass(frozen=True, slots=True)
class Bench:
    """What was measured.

    Attributes:
        command: that makes it again.
        commit: of the checkout, if it is one.
        machine: see :func:`pipelines.bench.machine.machine`.
        device, size, scale, model: what with; ``size`` is (width, height).
        limits: of the device.
        networks: the network alone.
        left_out: backends that cannot run, with the reason.
        whole: a clip from end to end.
    """

    command: str
    commit: str | None
    machine: dict[str, Any]
    device: str
    size: tuple[int, int]
    scale: int
    model: str
    limits: Limits
    networks: tuple[NetworkRow, ...]
    left_out: tuple[str, ...]
    whole: Whole


def run_bench(
    command: str,
    source: str | None = None,
    *,
    size: tuple[int, int] = (640, 360),
    scale: int = 2,
    model: str = "fdiwn",
    device: str = "auto",
    frames: int = 8,
    rounds: int = 3,
    tell: Callable[[str], None] = lambda _: None,
) -> Bench:
    """Measure limits, networks, stages and the whole, in this order.

    Args:
        command: goes into the result.
        source: a clip for the end to end run, whose size is then the networks' too; by default
            one is made.
        size: width and height, even, 16 to 16384, of the clip that is made.
        scale, model, device: as for ``vsr upscale``.
        frames: of the end to end run. rounds: repetitions of each network.
        tell: told what begins.

    Raises:
        VsrError: as ``vsr upscale`` would.
    """
    if source is None and (
        size[0] % 2 or size[1] % 2 or min(size) < _SMALLEST or max(size) > _LARGEST
    ):
        raise UsageError(
            f"a clip of {size[0]}x{size[1]} cannot be made",
            remedy=f"Width and height must be even, and {_SMALLEST} to {_LARGEST}.",
        )
    keep_freed_memory()
    heed_quota()
    facts = choose_device(device, model=model)
    with tempfile.TemporaryDirectory(prefix="vsr-bench-") as folder:
        clip = source
        if clip is None:
            tell("making a clip")
            clip = str(Path(folder) / "clip.mp4")
            make_clip(Path(clip), size, frames)
        result = str(Path(folder) / "large.mkv")
        plan = plan_upscale(
            clip, result, scale=scale, model=model, device=facts.device, frames=frames
        )
        size = (plan.video.width, plan.video.height)
        tell(f"limits of {facts.device}")
        limits = measure_limits(facts.device)
        chosen = ModelPlan(model, scale, plan.model.weights)
        networks, left_out = candidates(chosen, facts.device)
        tell(f"{len(networks)} networks at {size[0]}x{size[1]}, {rounds} rounds")
        rows = measure_networks(networks, chosen, facts.device, size, rounds)
        networks.clear()
        tell(f"{frames} frames from end to end")
        whole = measure_whole(plan)
    return Bench(
        command=command,
        commit=commit(),
        machine=machine(),
        device=facts.device,
        size=size,
        scale=scale,
        model=model,
        limits=limits,
        networks=tuple(rows),
        left_out=tuple(left_out),
        whole=whole,
    )


def bench_text(bench: Bench) -> str:
    """Tables in Markdown."""
    facts, whole, limit = bench.machine, bench.whole, bench.limits
    width, height = bench.size
    lines = [
        f"{bench.model} x{bench.scale}, {width}x{height} to {width * bench.scale}x"
        f"{height * bench.scale} on {bench.device}: {facts['cpu']}, {facts['cores']} cores, "
        f"{facts['cpu_capability']}, torch {facts['torch']}, {facts['threads']} threads.",
        f"Limits measured here: {limit.gemm:.0f} GFLOP/s (float32 gemm), {limit.copy:.1f} GB/s "
        "(copy, read plus written).",
        "",
        "| network alone | frames/s | ratio | CPU s/frame | GFLOP/s | of the limit |",
        "|---|---|---|---|---|---|",
    ]
    for row in bench.networks:
        work = f"{row.gflops:.0f} | {row.gflops / limit.gemm:.0%}" if row.gflops else "- | -"
        lines.append(
            f"| {row.name} | {row.fps:.3g} | {row.ratio:.2f} | {row.cpu_seconds:.3g} | {work} |"
        )
    if bench.left_out:
        lines += ["", *(f"Left out: {reason}" for reason in bench.left_out)]
    lines += ["", "| stage alone | ms/frame | CPU s/frame |", "|---|---|---|"]
    lines += [
        f"| {row.name} | {row.seconds * 1e3:.1f} | {row.cpu_seconds:.3g} |" for row in whole.stages
    ]
    alone = sum(row.cpu_seconds for row in whole.stages)
    frames = f"{whole.frames} frames"
    if whole.repeated:
        frames += f" ({whole.repeated} like the one before, not computed again)"
    counted = " by those that were computed" if whole.repeated else ""
    lines += [
        "",
        f"End to end, {frames}: {whole.fps:.3g} frames/s, {whole.share:.0%} of the "
        f"network alone ({whole.network_fps:.3g}){counted}; {whole.cpu_seconds:.3g} CPU s/frame "
        f"(the stages alone: {alone:.3g}).",
        f"The binding stage is {whole.binding}; in the run {whole.bound_by} was busiest.",
    ]
    return "\n".join(lines)

"""Each stage of a run alone, and all of them together."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from pipelines.upscale import read_request, run_upscale
from vsr.engine.upscaler import Upscaler
from vsr.media.color import batch_to_rgb, from_rgb
from vsr.media.read.reader import open_reader
from vsr.media.write.writer import Writer
from vsr.types import FrameBatch, Plan

__all__ = ["StageRow", "Whole", "measure_whole"]


#: Decoded frames that are kept to be encoded: more say no more, and a film does not fit.
_KEPT = 32


@dataclass(slots=True)
class StageRow:
    """One stage alone: seconds on the clock, and of the processor (all threads), a frame."""

    name: str
    seconds: float = 0.0
    cpu_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Whole:
    """A clip from end to end.

    Attributes:
        frames: of the result.
        repeated: those of them that equal the one before and were not computed again.
        stages: each stage alone: decode, to_rgb, network, from_rgb, encode.
        fps: of ``vsr upscale``, from the opening of the source to the verified result.
        network_fps: of the network alone, half of its frames before the run and half after it.
        share: frames that were computed a second, by ``network_fps``.
        cpu_seconds: of the processor, a frame that was computed, in the run.
        binding: the stage that takes longest alone.
        bound_by: the stage that was busiest in the run.
    """

    frames: int
    repeated: int
    stages: tuple[StageRow, ...]
    fps: float
    network_fps: float
    share: float
    cpu_seconds: float
    binding: str
    bound_by: str


@contextmanager
def _counted(row: StageRow, frames: int) -> Iterator[None]:
    begun, busy = time.perf_counter(), time.process_time()
    yield
    row.seconds += (time.perf_counter() - begun) / frames
    row.cpu_seconds += (time.process_time() - busy) / frames


@torch.inference_mode()
def measure_whole(plan: Plan, network_frames: int = 4) -> Whole:
    """Run ``plan`` and, around it, its stages alone.

    Args:
        plan: what is run.
        network_frames: frames put through the network alone.

    Raises:
        VsrError: as the run itself would.
    """
    decode, to_rgb, network, back, encode = rows = tuple(
        StageRow(name) for name in ("decode", "to_rgb", "network", "from_rgb", "encode")
    )
    upscaler = Upscaler.of(plan)
    batches = _decoded(plan, decode)

    device = upscaler.device
    first = replace(batches[0], planes=tuple(p[:1].to(device) for p in batches[0].planes))
    rgb, _ = batch_to_rgb(first)
    large = upscaler(rgb)  # warms up
    half = max(1, network_frames // 2)

    def alone() -> None:
        with _counted(network, 2 * half):
            for _ in range(half):
                upscaler(rgb).flatten()[0].item()

    for _ in range(2):  # the first builds the filters of chroma
        to_rgb.seconds = to_rgb.cpu_seconds = back.seconds = back.cpu_seconds = 0.0
        with _counted(to_rgb, 1):
            planes = tuple(plane.to(device) for plane in first.planes)
            batch_to_rgb(replace(first, planes=planes))[0].flatten()[0].item()
        with _counted(back, 1):
            for plane in from_rgb(large, None, plan.encode.format, plan.encode.tags):
                plane.cpu()
    _encoded(plan, batches, encode)
    del batches
    alone()
    busy = time.process_time()
    report = run_upscale(plan, resume=False)
    busy = time.process_time() - busy
    alone()
    computed = report.frames_out - report.repeated_frames
    return Whole(
        frames=report.frames_out,
        repeated=report.repeated_frames,
        stages=rows,
        fps=report.frames_out / report.seconds,
        network_fps=1 / network.seconds,
        share=computed / report.seconds * network.seconds,
        cpu_seconds=busy / computed,
        binding=max(rows, key=lambda row: row.seconds).name,
        bound_by=report.bound_by,
    )


def _decoded(plan: Plan, row: StageRow) -> list[FrameBatch]:
    """Decode all there is; the first frames are kept."""
    kept: list[FrameBatch] = []
    count = held = 0
    begun, busy = time.perf_counter(), time.process_time()
    with open_reader(plan.reader, read_request(replace(plan, streams=()))) as reader:
        for item in reader:
            if isinstance(item, FrameBatch):
                count += len(item)
                if held < _KEPT:
                    kept.append(item)
                    held += len(item)
    row.seconds = (time.perf_counter() - begun) / count
    row.cpu_seconds = (time.process_time() - busy) / count
    return kept


def _encoded(plan: Plan, batches: list[FrameBatch], row: StageRow) -> None:
    """Encode the frames enlarged by bicubic: sharper ones cost the encoder some more."""
    count = sum(len(batch) for batch in batches)
    enlarge = Upscaler(plan.model.scale, "bicubic", device="cpu")
    with tempfile.TemporaryDirectory(prefix="vsr-bench-") as folder:
        target = Path(folder) / f"alone{Path(plan.destination).suffix}"
        short = replace(plan, destination=str(target), streams=(), chapters=False, verify=False)
        with Writer(short) as writer:
            for batch in batches:
                large = enlarge.upscale(batch, plan.encode.format, plan.encode.tags)
                with _counted(row, count):
                    writer.write(large)
            with _counted(row, count):
                writer.finish()

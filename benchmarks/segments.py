"""What segments cost, and what a second worker brings.

Usage: ``python benchmarks/segments.py [--size 120x68] [--frames 80] [--rounds 3] [--only TEXT]
[--save]``. A clip of two frames a second, whose segments are therefore short (20 frames; a film's
have 250), is upscaled with FDIWN straight through, in segments, and in segments by one and by two
workers of one thread each, in turns. On two cores one worker would have its decoder, encoder and
verification on the second core, so it is also confined to one core, with all that belongs to the
job. Prints a Markdown table. Run it on an otherwise idle machine with two cores or more.

The cost of a segment is a matter of seconds, not of its frames: the share it has in a real job is
the time of one segment here over the time that job spends on one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import record
import torch
from clips import add_video, drifted

from pipelines.segments.cut import segment_length
from pipelines.upscale import prepare_upscale
from vsr.types import Report

RATE = 2


def make_clip(path: Path, width: int, height: int, frames: int) -> None:
    """Drifting blurred noise, which no frame repeats."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3)).astype(np.float32)
    still = np.kron(small, np.ones((8, 8, 1), np.float32)).astype(np.uint8)
    with av.open(path, "w") as clip:
        video = add_video(clip, width, height, rate=RATE, options={"crf": "20"})
        for index in range(frames):
            clip.mux(video.encode(drifted(still, index, width, height)))
        clip.mux(video.encode(None))


def job(source: Path, **how: Any) -> tuple[float, Report]:
    """Seconds of one run, the start of its workers included, and its report."""
    result = source.with_name("out.mp4")
    begun = time.perf_counter()
    _, run = prepare_upscale(str(source), str(result), scale=2, overwrite=True, **how)
    report = run()
    return time.perf_counter() - begun, report


def confined(source: Path, **how: Any) -> tuple[float, Report]:
    """The same on a single core; Linux only."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        return job(source, **how)
    finally:
        os.sched_setaffinity(0, cores)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", default="120x68", metavar="WxH")
    parser.add_argument("--frames", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", metavar="TEXT", help="rows with this in their name")
    parser.add_argument("--save", action="store_true", help="keep the figures as JSON")
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    ways: dict[str, Callable[[Path], tuple[float, Report]]] = {
        "straight through": partial(job, resume=False),
        "in segments": partial(job, fresh=True),
        "one worker, one thread": partial(job, devices="cpu:1x1", fresh=True),
        "one worker on one core": partial(confined, devices="cpu:1x1", fresh=True),
        "two workers, one thread each": partial(job, devices="cpu:2x1", fresh=True),
    }
    ways = {name: way for name, way in ways.items() if arguments.only in name}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    reports: dict[str, Report] = {}
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "in.mp4"
        make_clip(clip, width, height, arguments.frames)
        for _ in range(arguments.rounds):
            for name, way in ways.items():
                seconds, reports[name] = way(clip)
                taken[name].append(seconds)
        plan, _ = prepare_upscale(str(clip), str(clip.with_name("out.mp4")), scale=2)
        length = segment_length(plan)
    rows = []
    print(f"\n{arguments.frames} frames of {arguments.size}, segments of {length} frames")
    print(f"{torch.get_num_threads()} threads where not said otherwise\n")
    print("| | segments | seconds (median) | all rounds | bytes |")
    print("|---|---|---|---|---|")
    for name, times in taken.items():
        row = {
            "way": name,
            "segments": reports[name].segments,
            "seconds": statistics.median(times),
            "rounds": times,
            "bytes": reports[name].bytes,
            "frames": arguments.frames,
            "size": arguments.size,
        }
        rows.append(row)
        listed = ", ".join(f"{t:.1f}" for t in times)
        print(f"| {name} | {row['segments']} | {row['seconds']:.2f} | {listed} | {row['bytes']} |")
    summary(rows)
    if arguments.save:
        print(f"\nkept in {record.save('segments', rows).name}")


def summary(rows: list[dict[str, Any]]) -> None:
    """What the table says, in two lines."""
    seconds = {row["way"]: row["seconds"] for row in rows}
    if {"straight through", "in segments"} <= seconds.keys():
        through, cut = seconds["straight through"], seconds["in segments"]
        count = next(row["segments"] for row in rows if row["way"] == "in segments")
        print(f"\nsegments: {cut / through - 1:+.1%} of time, {(cut - through) / count:.3f} s each")
    if {"one worker, one thread", "two workers, one thread each"} <= seconds.keys():
        one, two = seconds["one worker, one thread"], seconds["two workers, one thread each"]
        print(f"two workers: {one / two:.2f} times one, the start of processes included")
    if {"one worker on one core", "two workers, one thread each"} <= seconds.keys():
        one, two = seconds["one worker on one core"], seconds["two workers, one thread each"]
        print(f"two workers on two cores: {one / two:.2f} times one on one")


if __name__ == "__main__":
    main()

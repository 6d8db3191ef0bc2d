"""What weights trained on compressed video are worth on compressed video.

Usage: ``python benchmarks/video_set.py [--scale 2] [--weights video] [--frames 8]``. Each clip of
``VSR_REFERENCE``'s ``clips`` is made small, encoded with x264 at a CRF, enlarged with the clean
set, with ``--weights`` (a set or a file) and by bicubic, and compared with itself: the frames from
its middle on, since many clips begin in black. Prints a Markdown table of PSNR on Y, in dB, and
keeps it as JSON if asked to.
"""

from __future__ import annotations

import argparse
import os
import statistics
from fractions import Fraction
from pathlib import Path
from typing import Any

import record

from pipelines.evaluate.clip import evaluate_clip
from pipelines.evaluate.options import EvalOptions
from vsr.media.degrade import Degradation
from vsr.media.probe import probe
from vsr.types import Evaluation

CLIPS = Path(os.environ.get("VSR_REFERENCE", "../shared/reference")) / "clips"


def score(found: Evaluation, name: str) -> float:
    """PSNR on Y of one candidate, the mean over frames."""
    return next(c.summary["psnr_y"] for c in found.candidates if c.name == name)


def measure(clip: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """PSNR of bicubic, the clean set and the one in question on one clip."""
    figures: dict[str, Any] = {"clip": clip.name}
    middle = (probe(str(clip)).duration or Fraction(0)) / 2
    for label, weights in (("clean", "clean"), ("video", arguments.weights)):
        options = EvalOptions(
            metrics=("psnr_y",),
            weights=weights,
            start=middle,
            frames=arguments.frames,
        )
        degradation = Degradation(codec="x264", crf=arguments.crf)
        found = evaluate_clip(str(clip), arguments.scale, options, degradation=degradation)
        figures[label] = score(found.evaluation, "fdiwn")
        figures["bicubic"] = score(found.evaluation, "bicubic")
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scale", type=int, default=2, choices=(2, 3, 4))
    parser.add_argument("--weights", default="video", metavar="NAME|FILE")
    parser.add_argument("--crf", type=int, default=28)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--only", default="", metavar="TEXT", help="clips with this in their name")
    parser.add_argument("--save", action="store_true", help="keep the figures as JSON")
    arguments = parser.parse_args()
    rows = []
    print("| clip | bicubic | clean | video | video - clean | video - bicubic |")
    print("|---|---|---|---|---|---|")
    for clip in sorted(CLIPS.iterdir()):
        if arguments.only in clip.name:
            rows.append(measure(clip, arguments))
            print(line(rows[-1]), flush=True)
    if not rows:
        raise SystemExit(f"no clips in {CLIPS}; set VSR_REFERENCE")
    mean = {k: statistics.mean(row[k] for row in rows) for k in ("bicubic", "clean", "video")}
    rows.append({"clip": "mean", **mean})
    print(line(rows[-1]))
    if arguments.save:
        print(f"kept in {record.save(f'video-set-x{arguments.scale}', rows).name}")


def line(row: dict[str, Any]) -> str:
    bicubic, clean, video = row["bicubic"], row["clean"], row["video"]
    return (
        f"| {row['clip']} | {bicubic:.2f} | {clean:.2f} | {video:.2f} "
        f"| {video - clean:+.2f} | {video - bicubic:+.2f} |"
    )


if __name__ == "__main__":
    main()

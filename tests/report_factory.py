"""Small evaluations with pictures whose colours tell them apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import torch

from vsr.media.png import encode_png
from vsr.types.evaluation import Candidate, Evaluation, FrameScore, MetricInfo
from vsr.types.stills import Picture, Still

METRICS = (
    MetricInfo(name="psnr_y", label="PSNR (Y)", unit="dB"),
    MetricInfo(name="ssim_y", label="SSIM (Y)", decimals=4),
    MetricInfo(
        name="time",
        label="Time",
        unit="ms",
        higher_is_better=None,
        decimals=1,
        per_frame=False,
    ),
)
#: PSNR of each frame: frame 3 is the worst, 7 without error.
OURS = (32.0, 31.5, 33.0, 25.125, 32.5, 31.0, 30.25, math.inf, 34.0, 30.5)


def evaluation(**changes: object) -> Evaluation:
    """Ten frames at 25 fps that begin at 1 s; ``fdiwn`` is 2 dB above ``bicubic``."""
    made = Evaluation(
        kind="clip",
        title="city.mp4",
        time_base=Fraction(1, 25),
        metrics=METRICS,
        candidates=(
            _candidate("fdiwn", "FDIWN x2", 0.0, 412.34),
            _candidate("bicubic", "Bicubic", -2.0, 3.1),
        ),
        settings=(("source", "city.mp4, SHA-256 0123abcd"), ("scale", "2")),
        notes=("VMAF was not measured.",),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def _candidate(name: str, label: str, apart: float, time: float) -> Candidate:
    frames = tuple(
        FrameScore(
            index=index,
            pts=25 + index,
            values={"psnr_y": value + apart, "ssim_y": 0.9 + index / 1000 + apart / 100},
        )
        for index, value in enumerate(OURS)
    )
    summary = {"psnr_y": 31.0972 + apart, "ssim_y": 0.9045 + apart / 100, "time": time}
    return Candidate(name=name, label=label, summary=summary, frames=frames)


def flat(color: tuple[int, int, int], width: int, height: int) -> bytes:
    """A PNG file of one colour."""
    rgb = torch.tensor(color, dtype=torch.uint8).view(3, 1, 1)
    return encode_png(rgb.expand(3, height, width))


def stills(indices: Sequence[int] = (0, 3, 8), size: tuple[int, int] = (64, 48)) -> list[Still]:
    """Pictures of one colour each: source red, bicubic green, fdiwn blue, truth white."""
    width, height = size
    return [
        Still(
            index=index,
            pts=25 + index,
            label="",
            pictures=(
                Picture("source", "Source", flat((200, 0, index), width // 2, height // 2)),
                Picture("bicubic", "Bicubic", flat((0, 200, index), width, height)),
                Picture("fdiwn", "FDIWN x2", flat((0, index, 200), width, height)),
                Picture("truth", "Ground truth", flat((255, 255, 255), width, height)),
            ),
        )
        for index in indices
    ]

"""What an evaluation found: scores of each candidate, frame by frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

__all__ = ["Candidate", "Evaluation", "FrameScore", "MetricInfo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricInfo:
    """A measure, for tables and axes.

    Attributes:
        name: key of the scores, such as ``psnr_y``.
        label: for people, such as ``PSNR (Y)``.
        unit: ``dB``, or empty.
        higher_is_better: which way is good; ``None`` if neither (a bit rate, a time).
        decimals: digits after the point that mean something.
        per_frame: it has a value for each frame, not only for the whole clip.
    """

    name: str
    label: str
    unit: str = ""
    higher_is_better: bool | None = True
    decimals: int = 2
    per_frame: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameScore:
    """One frame's (or one image's) scores.

    Attributes:
        index: counted from 0 in presentation order.
        pts: presentation timestamp in ticks of the evaluation's time base; ``None`` for an image.
        label: file name of an image; empty for a frame.
        values: metric name -> value; ``inf`` is a PSNR without error.
    """

    index: int
    pts: int | None
    label: str = ""
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One of the things that are compared: a network's result, bicubic, a file.

    Attributes:
        name: short and unique, such as ``fdiwn`` or ``bicubic``.
        label: for people.
        summary: metric name -> value over the whole clip or set.
        frames: scores frame by frame, in presentation order; empty without ground truth.
    """

    name: str
    label: str
    summary: Mapping[str, float]
    frames: tuple[FrameScore, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A whole evaluation.

    Attributes:
        kind: a clip degraded and enlarged again; two files; a folder of images; files side by
            side without ground truth.
        title: one line for people.
        time_base: seconds per tick of the frames' pts; ``None`` for images.
        metrics: what was measured, in the order of the columns.
        candidates: what was compared, the one in question first.
        settings: (name, value) pairs in order: sources and weights with their SHA-256, scale,
            protocol, versions. Enough to do it again.
        notes: what was left out or could not be measured, a sentence each.
    """

    kind: Literal["clip", "files", "images", "compare"]
    title: str
    time_base: Fraction | None
    metrics: tuple[MetricInfo, ...]
    candidates: tuple[Candidate, ...]
    settings: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()

"""What is asked of an evaluation, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal

from vsr.errors import UsageError
from vsr.types import Evaluation
from vsr.types.stills import Still

__all__ = ["EvalOptions", "Outcome", "check_options", "name_of", "part_text"]

ProtocolName = Literal["video", "matlab"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalOptions:
    """What all kinds of evaluation can be asked for; ``None`` leaves the choice open.

    Attributes:
        metrics: names of measures, one at least; all that can be had by default.
        protocol: row of :data:`vsr.engine.protocol.PROTOCOLS`; ``video`` for clips and files,
            ``matlab`` for images.
        shave: pixels left out at each edge; the protocol's own number by default, for two files 0.
        model, weights: as for ``vsr upscale``.
        device, backend, dtype: likewise.
        start, end: the part of a clip, in seconds from its first frame; of two files, of the
            reference, and the other one's part is what is shown at the same times.
        frames: no more frames than this.
        align: pair frames of two files by their timestamps, or by the time since each one's first.
        stills: how many frames are kept as pictures.
    """

    metrics: tuple[str, ...] | None = None
    protocol: ProtocolName | None = None
    shave: int | None = None
    model: str = "fdiwn"
    weights: str | None = None
    device: str = "auto"
    backend: str = "auto"
    dtype: str = "auto"
    start: Fraction | None = None
    end: Fraction | None = None
    frames: int | None = None
    align: Literal["pts", "start"] = "pts"
    stills: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an evaluation found, and the pictures of chosen frames (if they were asked for)."""

    evaluation: Evaluation
    stills: tuple[Still, ...] = field(default=(), repr=False)


def check_options(options: EvalOptions) -> None:
    """Find what makes no sense before anything is read.

    Raises:
        UsageError: see the message.
    """
    if options.shave is not None and options.shave < 0:
        raise UsageError(f"a shave of {options.shave} pixels makes no sense")
    if options.metrics == ():
        raise UsageError("no metric is named", remedy="Leave metrics out to measure all.")
    if options.stills < 0:
        raise UsageError(f"{options.stills} stills make no sense")
    if options.end is not None and options.end <= (options.start or 0):
        raise UsageError("the part ends before it begins")


def part_text(options: EvalOptions) -> str:
    """Which frames of a clip are measured, in words."""
    bounds = [
        f"{word} {float(time):g} s"
        for word, time in (("from", options.start), ("before", options.end))
        if time is not None
    ]
    most = [] if options.frames is None else [f"{options.frames} frames at most"]
    return ", ".join([*bounds, *most]) or "all frames"


def name_of(path: str | Path) -> str:
    """The file's or folder's own name, for titles."""
    return Path(path).resolve().name

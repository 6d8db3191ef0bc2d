"""Which frames of several files show the same moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from vsr.errors import InputError

__all__ = ["Timeline", "check_pairs"]


@dataclass(frozen=True, slots=True)
class Timeline:
    """When a file's frames are shown.

    Attributes:
        path: the file, for messages.
        pts: timestamps in ticks, ascending.
        time_base: seconds per tick.
    """

    path: str
    pts: tuple[int, ...]
    time_base: Fraction

    def time(self, index: int) -> Fraction:
        """Seconds from the first frame to frame ``index``."""
        return (self.pts[index] - self.pts[0]) * self.time_base


def check_pairs(timelines: Sequence[Timeline]) -> None:
    """Raise unless frame i of each file is shown when frame i of the first is.

    Times are exact. They may differ by half a tick of the coarser file, which is what rounding a
    time to its ticks does to it. Files that begin at different times are laid over each other at
    their first frames; the start was rounded too, so that a whole tick is allowed then, but never
    half the way to the next frame.

    Raises:
        InputError: a frame has no partner; it says which, and how many frames each file has.
    """
    first = timelines[0]
    for other in timelines[1:]:
        allowed, shift = _allowance(first, other)
        for index in range(max(len(first.pts), len(other.pts))):
            problem = _unpaired(first, other, index, shift, allowed)
            if problem:
                raise InputError(
                    f"{problem} ({_frames(other)} there, {_frames(first)} in {first.path})",
                    where=other.path,
                    remedy="Compare files that were made from the same frames.",
                )


def _allowance(first: Timeline, other: Timeline) -> tuple[Fraction, Fraction]:
    """How far times may differ, and what ``other`` is late by, in seconds."""
    coarser = max(first.time_base, other.time_base)
    late = other.pts[0] * other.time_base - first.pts[0] * first.time_base
    if abs(late) <= coarser / 2:
        return coarser / 2, Fraction(0)
    steps = [
        (b - a) * line.time_base for line in (first, other) for a, b in pairwise(line.pts)
    ] or [coarser]
    return min(coarser, min(steps) / 2), late


def _unpaired(
    first: Timeline, other: Timeline, index: int, shift: Fraction, allowed: Fraction
) -> str:
    """What is wrong with frame ``index``; empty if nothing is."""
    if index >= len(other.pts):
        return f"it ends before frame {index} of {first.path}, {_clock(first, index)}"
    if index >= len(first.pts):
        return f"its frame {index}, {_clock(other, index)}, comes after the end of {first.path}"
    expected = first.pts[index] * first.time_base
    found = other.pts[index] * other.time_base - shift
    if abs(found - expected) <= allowed:
        return ""
    if found > expected:
        return f"there is no frame for frame {index} of {first.path}, {_clock(first, index)}"
    return f"its frame {index}, {_clock(other, index)}, has no partner in {first.path}"


def _clock(line: Timeline, index: int) -> str:
    return f"shown at {float(line.time(index)):.3f} s"


def _frames(line: Timeline) -> str:
    return f"{len(line.pts)} frame{'s' * (len(line.pts) != 1)}"

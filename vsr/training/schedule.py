"""Learning rate over a run, and how many steps fit into a time."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

__all__ = ["DEFAULT_STEPS", "Schedule", "steps_within"]

#: Steps of a run that is given neither steps nor time. The paper's are 1,000 epochs of 1,000.
DEFAULT_STEPS = {"cosine": 100_000, "paper": 1_000_000}
#: A cosine ends at this share of the peak.
_END = 0.001
_HALVINGS = 5


@dataclass(frozen=True, slots=True)
class Schedule:
    """Learning rate by step.

    How far a run is goes linearly from ``progress`` at step ``since`` to 1 at step ``total``, so
    that a run whose time turns out otherwise than expected is fitted anew without a jump.

    Attributes:
        kind: ``cosine`` (Loshchilov and Hutter, arXiv 1608.03983, without restarts), or ``paper``:
            halved after each fifth, as FDIWN's authors halve every 200 of 1,000 epochs.
        peak: highest rate. total: steps in all.
        warmup: share of the run in which the rate rises linearly from zero.
        since, progress: the last fit.
    """

    kind: Literal["cosine", "paper"]
    peak: float
    total: int
    warmup: float = 0.0
    since: int = 0
    progress: float = 0.0

    def at(self, step: int) -> float:
        """How far the run is before ``step``, 0 to 1."""
        left = max(self.total - self.since, 1)
        return min(1.0, self.progress + (1 - self.progress) * (step - self.since) / left)

    def rate(self, step: int) -> float:
        """Learning rate of step ``step``, counted from 0."""
        now = self.at(step)
        if now < self.warmup:
            # The first step is not for nothing: it takes half a step's share of the rise.
            half = 0.5 * (self.at(step + 1) - now)
            return self.peak * min(1.0, (now + half) / self.warmup)
        if self.kind == "paper":
            return self.peak * 0.5 ** min(int(now * _HALVINGS + 1e-9), _HALVINGS - 1)
        after = (now - self.warmup) / (1 - self.warmup)
        return self.peak * (_END + (1 - _END) * 0.5 * (1 + math.cos(math.pi * after)))

    def fitted(self, step: int, total: int) -> Schedule:
        """The same curve from here on, ending at ``total`` instead."""
        return replace(self, total=max(total, step + 1), since=step, progress=self.at(step))


def steps_within(seconds: float, step_seconds: Sequence[float], overhead: float = 0.0) -> int:
    """How many steps fit into ``seconds``; one at least.

    Args:
        seconds: time that is left.
        step_seconds: durations of measured steps, of which the median counts.
        overhead: seconds per step for validation and checkpoints, on average.
    """
    return max(1, int(seconds / (statistics.median(step_seconds) + overhead)))

"""Seconds on the clock and of the processor, of things done in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["Timing", "in_turn", "ratio"]


@dataclass(frozen=True, slots=True)
class Timing:
    """What repetitions of one thing took.

    Attributes:
        seconds: on the clock, one for each repetition.
        cpu: processor seconds of all threads of the process, likewise.
    """

    seconds: tuple[float, ...]
    cpu: tuple[float, ...]

    @property
    def median(self) -> float:
        """Seconds on the clock."""
        return statistics.median(self.seconds)

    @property
    def cpu_median(self) -> float:
        """Processor seconds."""
        return statistics.median(self.cpu)


def in_turn(work: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Timing]:
    """Do everything once to warm up, then ``rounds`` times, one after the other in each round.

    What disturbs the machine for a while then disturbs all alike. Each function must return only
    when its device has finished.
    """
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in work}
    for index in range(rounds + 1):
        for name, function in work.items():
            begun, busy = time.perf_counter(), time.process_time()
            function()
            if index:
                taken[name].append((time.perf_counter() - begun, time.process_time() - busy))
    return {
        name: Timing(tuple(s for s, _ in pairs), tuple(c for _, c in pairs))
        for name, pairs in taken.items()
    }


def ratio(baseline: Timing, other: Timing) -> float:
    """How many times as fast as ``baseline``: the median of the rounds' own ratios."""
    return statistics.median(b / o for b, o in zip(baseline.seconds, other.seconds, strict=True))

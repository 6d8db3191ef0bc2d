"""How long a stage worked, as opposed to waited."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from vsr.types import StageReport

__all__ = ["StageClock", "bound_by"]

T = TypeVar("T")


class StageClock:
    """Adds up the seconds that one stage is at work, in whichever threads."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.busy = 0.0
        self._adding = threading.Lock()

    @contextmanager
    def work(self) -> Iterator[None]:
        """Count the time spent inside the block."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - begun
            with self._adding:
                self.busy += seconds

    def pulling(self, source: Iterable[T]) -> Iterator[T]:
        """Yield from ``source``, counting only the time it takes to produce each item."""
        iterator = iter(source)
        while True:
            with self.work():
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def report(self, seconds: float) -> StageReport:
        """The stage's share of a run of ``seconds``."""
        return StageReport(self.name, self.busy, max(0.0, seconds - self.busy))


def bound_by(clocks: Iterable[StageClock]) -> str:
    """Name of the busiest stage: the one that bounds the run."""
    return max(clocks, key=lambda clock: clock.busy).name

"""When a job is tried again, and when it is given up."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.queue.job import Job

__all__ = ["LEAST_WAIT", "Blameless", "Policy"]

#: Seconds that what is not a file's fault waits at least: it must not keep the watcher busy.
LEAST_WAIT = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """When a job is tried again, and when it is given up.

    Attributes:
        attempts: failures after which it is quarantined.
        delay: seconds before the second attempt; each further one waits twice as long.
        longest: most seconds between two attempts, unless ``delay`` is more.
        interruptions: how often it may be cut off with its process before that counts as a failure
            of its own: a file that brings the machine down must not do so for ever.
        keep_free: bytes that stay free on the disk of the results; ``None``: room is not looked at.
    """

    attempts: int = 3
    delay: float = 60.0
    longest: float = 3600.0
    interruptions: int = 5
    keep_free: int | None = None

    @property
    def most(self) -> float:
        """Seconds that no wait exceeds."""
        return max(self.longest, self.delay, LEAST_WAIT)

    def wait(self, attempts: int, *, blameless: bool = False) -> float:
        """Seconds from the ``attempts``-th failure to the next attempt.

        ``blameless``: it was not the file's fault, and is tried again without end.
        """
        first = max(self.delay, LEAST_WAIT) if blameless else self.delay
        # No power of two beyond what a float holds: what has no end gets there.
        return float(min(first * 2.0 ** min(attempts - 1, 60), max(self.longest, first)))


class Blameless:
    """How often jobs have failed in a row by what is not their fault; a new watcher begins anew."""

    def __init__(self) -> None:
        self._times: dict[int, int] = {}

    def times(self, job: Job) -> int:
        """Count one more failure of a running ``job``; returns how many there are."""
        # What has been done, or is queued anew, has no error.
        times = self._times.get(job.id, 0) + 1 if job.error else 1
        self._times[job.id] = times
        return times

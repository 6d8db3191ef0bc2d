"""What runs at the same time may take together."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.queue.job import Job

__all__ = ["Room"]


class Room:
    """What the running jobs of one queue may take on the disk."""

    def __init__(self) -> None:
        self._deciding = threading.Lock()
        self._lock = threading.Lock()
        self._needs: dict[int, int] = {}

    @contextmanager
    def deciding(self) -> Iterator[None]:
        """While a job is weighed against :meth:`reserved`, and until what it needs is reserved.

        One at a time: else two that begin at once would both be given the room that is there.
        """
        with self._deciding:
            yield

    def reserve(self, job: Job, need: int | None) -> None:
        """Count ``need`` bytes as taken while ``job`` runs; ``None`` frees them."""
        with self._lock:
            self._needs.pop(job.id, None)
            if need is not None:
                self._needs[job.id] = need

    def reserved(self) -> int:
        """Bytes that running jobs may take."""
        with self._lock:
            return sum(self._needs.values())

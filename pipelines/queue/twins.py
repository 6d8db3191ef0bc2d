"""Sources of the same content: one of them is done, the others get its result."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from pipelines.queue.job import Job, identify, is_at
from pipelines.queue.ledger import Ledger
from vsr.media.write.atomic import copy_whole

__all__ = ["Twins", "digest_of", "share"]

# What waits for its twin is woken when that ends; this is for a watcher that is killed meanwhile.
_WAIT_SECONDS = 60.0


class Twins:
    """Who is being done, and who waits for it; one for all runners of a ledger.

    Args:
        ledger: where the jobs are.
        clock: seconds since the epoch.
    """

    def __init__(self, ledger: Ledger, clock: Callable[[], float]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._lock = threading.Lock()
        self._doing: set[int] = set()
        self._waiting: dict[int, list[Job]] = {}

    def waiting(self) -> bool:
        """Whether a job waits for its twin.

        Ask this first and the ledger second: in between, what has waited can only become due.
        """
        with self._lock:
            return bool(self._waiting)

    def others(self, job: Job, digest: str, settings: str, suffix: str) -> list[Job] | None:
        """Twins of ``job`` that are made in the same way, for it to take the result of one.

        From now on the others wait for ``job``, until :meth:`release`.

        Args:
            job: a running job.
            digest: of its content.
            settings, suffix: what its result is made with, and its ending.

        Returns:
            ``None`` if one of them is being done: then ``job`` is queued, and waits for it.
        """
        with self._lock:
            twins = [
                twin
                for twin in self._ledger.twins(job, digest)
                if twin.settings == settings and Path(twin.destination).suffix == suffix
            ]
            self._ledger.set(job, digest=digest)
            ahead = next((twin for twin in twins if twin.id in self._doing), None)
            if ahead is None:
                self._doing.add(job.id)
                return twins
            self._waiting.setdefault(ahead.id, []).append(job)
            now = self._clock()
            reason = f"has the same content as {ahead.path}, which is being done"
            again = now + _WAIT_SECONDS
            self._ledger.set(job, state="queued", reason=reason, next_try=again, ended_at=now)
            return None

    def take_result(self, twins: Iterable[Job], job: Job, destination: Path) -> bool:
        """Whether the result of one of ``twins`` is ``job``'s as well, under its own name."""
        for twin in twins:
            result = Path(twin.destination)
            if twin.state != "done" or not is_at(result, twin.result) or destination.exists():
                continue
            try:
                share(result, destination)
                identity = identify(destination)
            except OSError:
                return False  # it is made anew, and the run says what is wrong with its place
            reason = f"has the same content as {twin.path}: its result"
            self._ledger.done(job, identity, now=self._clock(), reason=reason)
            return True
        return False

    def release(self, job: Job) -> None:
        """``job`` has ended: what has waited for it is due."""
        with self._lock:
            self._doing.discard(job.id)
            for waiter in self._waiting.get(job.id, ()):
                self._ledger.set(waiter, next_try=0.0)
            self._waiting.pop(job.id, None)


def digest_of(source: Path, stopping: Callable[[], bool]) -> str | None:
    """BLAKE2b of a file's content, 40 hexadecimal digits; ``None`` if it was told to stop.

    Raises:
        OSError: it cannot be read.
    """
    found = hashlib.blake2b(digest_size=20)
    with source.open("rb") as file:
        while block := file.read(1 << 22):
            found.update(block)
            if stopping():
                return None
    return found.hexdigest()


def share(result: Path, destination: Path) -> None:
    """Give a result another name, or a copy where the file system has no hard links.

    Raises:
        OSError, OutputError: it cannot have that name, or it is taken; nothing is left behind.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    try:
        destination.hardlink_to(result)
    except FileExistsError:
        raise
    except OSError:
        copy_whole(result, destination)

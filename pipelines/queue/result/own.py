"""Which files among the results are a queue's own, complete or not."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from pipelines.queue.job import Identity, Job, is_at
from pipelines.queue.ledger import Ledger
from pipelines.queue.messages import Made, Order
from pipelines.segments.ledger import Ledger as Kept
from vsr.errors import OutputError
from vsr.media.av_errors import av_errors
from vsr.media.write.atomic import temporary_path

__all__ = ["Own", "is_deleted"]

_TOKEN = "token"  # noqa: S105 - the name of a fact


class Own:
    """What the jobs of one ledger have made, or begun to make.

    Args:
        ledger: where the jobs are.
        source: where a job's source is.
        choose: another name for a job's result, reserved in the ledger; ``None``: it has its one.
    """

    def __init__(
        self, ledger: Ledger, source: Callable[[Job], str], choose: Callable[[Job], Path] | None
    ) -> None:
        self._ledger = ledger
        self._source = source
        self._choose = choose
        token = ledger.fact(_TOKEN)
        if token is None:
            token = secrets.token_hex(8)
            ledger.remember(_TOKEN, token)
        self._token = token

    def mark(self, job: Job) -> str:
        """What temporary files of ``job`` have in their names, and those of other ledgers not."""
        return hashlib.blake2b(f"{self._token} {job.id}".encode(), digest_size=4).hexdigest()

    def complete(self, job: Job) -> Path | None:
        """The result that a run of ``job`` has named without coming to record it, if it did."""
        now = self._ledger.job(job.id) or job
        path = Path(now.destination)
        return path if now.destination and is_at(path, now.made) else None

    def name(self, job: Job, order: Order, made: Made) -> str:
        """The name for a result that is complete; the ledger knows of it from here on.

        It is not that of the order if somebody has taken it during the run.

        Args:
            job: as it was when the run began.
            order: the run's.
            made: what it says at its end.
        """
        name = order.destination
        replaces = order.wishes.get("overwrite") and is_at(Path(name), job.result)
        if self._choose is not None and os.path.lexists(name) and not replaces:
            name = str(self._choose(self._ledger.job(job.id) or job))
        self._ledger.made(job, made.identity)
        return name

    def remove_temporary(self, job: Job, destination: Path) -> None:
        """Remove the temporary file of a run that was killed before it could clean up.

        Raises:
            OutputError: that cannot be done.
        """
        with av_errors(destination, "remove what an earlier run has left", OutputError):
            if destination.parent.is_dir():
                left = temporary_path(destination.parent, destination, self.mark(job))
                left.unlink(missing_ok=True)

    def abandon(self, job: Job, destination: str = "") -> str:
        """Remove what unfinished runs of ``job`` have left for ``destination``.

        What somebody else has begun for that name stays.

        Args:
            job: the job.
            destination: by default the name that is reserved for its result.

        Returns:
            What is to be said of that; empty if there was nothing.
        """
        destination = destination or (self._ledger.job(job.id) or job).destination
        if not destination:
            return ""
        kept = Kept(destination)
        try:
            self.remove_temporary(job, Path(destination))
            if not self._is_of(kept, job):
                return ""
            with kept:
                if not self._is_of(kept, job):  # whoever had it was about to remove it
                    return ""
                count = kept.count()
                kept.remove()
        except (OSError, OutputError) as error:
            why = error.what if isinstance(error, OutputError) else error.strerror
            return f"what it has left in {kept.folder} stays there: {why}"
        return f"{count} finished segments in {kept.folder} have been removed"

    def _is_of(self, kept: Kept, job: Job) -> bool:
        source = kept.source()
        return bool(source) and os.path.realpath(source) == os.path.realpath(self._source(job))


def is_deleted(source: str, identity: Identity) -> bool:
    """Whether a source that is not there any more is gone, and not its disk."""
    there = next(folder for folder in Path(source).absolute().parents if folder.is_dir())
    return there.stat().st_dev == identity.device

"""Several files, one after the other; what goes wrong with one does not concern the others."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from pipelines.queue.job import Identity, Job, identify
from pipelines.queue.ledger import Ledger
from pipelines.queue.messages import Failed, Finished, Message, NoRoom
from pipelines.queue.names import candidates, name_beside, name_in, preset_of
from pipelines.queue.process import check_system
from pipelines.queue.run import Policy, Queue, Runner
from vsr.errors import OutputError
from vsr.plan.container import path_of
from vsr.types import Report

__all__ = ["BatchResult", "upscale_all"]


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of one file.

    Attributes:
        source: as it was named. destination: of its result; empty if it was never begun.
        report: of the run, ``None`` without a result.
        failed: what went wrong, ``None`` if nothing did. With neither it was not begun, or stopped.
    """

    source: str
    destination: str
    report: Report | None = None
    failed: Failed | None = None

    @property
    def exit_code(self) -> int:
        """What ``vsr upscale`` of this file alone would have returned; 0 if it was not begun."""
        return 0 if self.failed is None else self.failed.exit_code


def upscale_all(
    sources: Sequence[str],
    folder: Path | None,
    wishes: Mapping[str, Any],
    *,
    on_event: Callable[[int, str, Message], None] | None = None,
) -> Iterator[BatchResult]:
    """Upscale ``sources`` one after the other; yields what became of each when it is known.

    Each is done by a worker process, so that not even a crash of a codec library stops the rest.
    Closing the iterator, or Ctrl-C, stops the file at hand.

    Args:
        sources: paths, each once.
        folder: where the results go, under the names of their sources; made if missing. ``None``:
            beside each source, as ``<stem>_x2``.
        wishes: for :func:`pipelines.upscale.plan_upscale`.
        on_event: called with the position from 0, the source, and what its worker says.

    Raises:
        BackendError: this system can have no workers.
        OutputError: the folder cannot be made.
        VsrError: the preset or codec does not exist.
    """
    check_system()
    preset_of(wishes)
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"the folder cannot be made: {error.strerror}", where=str(folder)
            ) from error
    ended: dict[str, Message] = {}

    def heard(job: Job, message: Message) -> None:
        ended[job.path] = message
        if on_event is not None:
            on_event(job.id - 1, job.path, message)

    with closing(Ledger(None)) as ledger:
        for number, source in enumerate(sources):
            ledger.add(source, _identity(source), now=float(number))
        queue = Queue(
            ledger,
            Path(),
            destination=_Names(ledger, sources, folder, wishes).choose,
            wishes=wishes,
            policy=Policy(attempts=1),
            listener=heard,
        )
        runner = Runner(queue)
        try:
            for source in sources:
                runner.run_next()
                yield _result(ledger, source, ended.get(source))
        finally:
            runner.worker.stop()
            runner.worker.end()


def _result(ledger: Ledger, source: str, last: Message | None) -> BatchResult:
    job = ledger.at(source)
    destination = job.destination if job is not None else ""
    if isinstance(last, Finished):
        return BatchResult(source, last.destination, report=last.report)
    if isinstance(last, NoRoom):
        last = Failed("OutputError", "the disk is full", destination, "Free some space.", 4)
    return BatchResult(source, destination, failed=last if isinstance(last, Failed) else None)


def _identity(source: str) -> Identity:
    try:
        return identify(Path(source))
    except OSError:
        return Identity(0, 0)  # the worker says what is wrong with it


class _Names:
    """Names for results: never that of a source, nor of another result."""

    def __init__(
        self,
        ledger: Ledger,
        sources: Sequence[str],
        folder: Path | None,
        wishes: Mapping[str, Any],
    ) -> None:
        self._ledger = ledger
        self._sources = {os.path.realpath(source) for source in sources}
        self._folder = folder
        self._wishes = wishes

    def choose(self, job: Job) -> Path:
        """The name for a job's result, reserved in the ledger."""
        source = Path(path_of(job.path))
        if self._folder is None:
            first, folder = name_beside(job.path, self._wishes), source.parent
        else:
            first, folder = name_in(self._folder, job.path, self._wishes), self._folder
        for name in chain([first], _others(source, first, folder)):
            taken = os.path.realpath(name) in self._sources
            if not taken and self._ledger.take_destination(job, name):
                return name
        raise AssertionError("names do not end")


def _others(source: Path, first: Path, folder: Path) -> Iterator[Path]:
    renamed = Path(f"{first.stem}{source.suffix}")
    return (folder / name for name in candidates(renamed, first.suffix))

"""The log of a job, as the queue writes into it; what the worker says is there already."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

from pipelines.queue.messages import Failed

__all__ = ["add_traceback", "add_verdict"]


def add_verdict(log: Path, attempts: int, failed: Failed) -> None:
    """Say that the job is given up after so many attempts, and why.

    Raises:
        OSError: the log cannot be written.
    """
    why = f"{failed.where}: {failed.what}" if failed.where else failed.what
    _add(log, f"\nquarantined after {attempts} attempts\n{why}\n{failed.remedy}\n")


def add_traceback(log: Path | None, error: BaseException) -> None:
    """Say where an error came from: on stderr if there is no log, or it cannot be written."""
    trace = "".join(traceback.format_exception(error))
    try:
        if log is not None:
            _add(log, trace)
            return
    except OSError as unwritten:
        trace = f"{log}: {unwritten.strerror}\n{trace}"
    sys.stderr.write(trace)


def _add(log: Path, text: str) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)

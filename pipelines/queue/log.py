"""The log of a job, as the queue writes into it; what the worker says is there already."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

from pipelines.queue.messages import Failed
from vsr.errors import OutputError
from vsr.media.av_errors import av_errors

__all__ = ["add_note", "add_traceback", "add_verdict", "begin_anew"]

#: Bytes of a log beyond which the next attempt begins it anew: some attempts have no end.
_MOST = 1_000_000


def add_note(log: Path | None, text: str) -> None:
    """Say something about the job that no run has said; nothing if there is nothing to say.

    Raises:
        OutputError: the log cannot be written.
    """
    if log is not None and text:
        with av_errors(log, "write the log", OutputError):
            _add(log, f"{text}\n")


def add_verdict(log: Path, attempts: int, failed: Failed, left: str = "") -> None:
    """Say that the job is given up after so many attempts, and why.

    ``left``: what has become of what unfinished runs have left.

    Raises:
        OSError: the log cannot be written.
    """
    why = f"{failed.where}: {failed.what}" if failed.where else failed.what
    _add(log, f"\nquarantined after {attempts} attempts\n{why}\n{failed.remedy}\n")
    if left:
        _add(log, f"{left}\n")


def begin_anew(log: Path) -> None:
    """Before an attempt: drop what earlier ones have written, if that has become too much.

    Raises:
        OutputError: it cannot be dropped.
    """
    with av_errors(log, "begin the log anew", OutputError):
        if log.is_file() and log.stat().st_size > _MOST:
            log.write_text("what earlier attempts have written was too much, and is dropped\n")


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

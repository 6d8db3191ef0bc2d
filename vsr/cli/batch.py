"""Several files: what is said while they are done, and the table at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsr.cli.events import json_events, text_events
from vsr.cli.output import echo, echo_json, note, one_line, size_text, table, time_text
from vsr.cli.report import announce

if TYPE_CHECKING:
    from pipelines.batch import BatchResult
    from pipelines.events import Event
    from pipelines.queue.messages import Message

__all__ = ["json_batch", "quiet_batch", "text_batch"]


def text_batch(sources: Sequence[str], folder: Path | None, wishes: Mapping[str, Any]) -> int:
    """Do all, with bars on stderr and a table on stdout; returns the exit code."""
    from pipelines.queue.messages import Failed, Planned

    with ExitStack() as bars:
        listen: Callable[[Event], None] | None = None

        def heard(number: int, _source: str, message: Message) -> None:
            nonlocal listen
            if isinstance(message, Planned):
                echo(f"file {number + 1} of {len(sources)}", err=True)
                announce(message.plan)
                listen = bars.enter_context(text_events(message.total))
            elif _is_event(message):
                if listen is not None:
                    listen(message)  # type: ignore[arg-type]
            else:
                bars.close()
                if isinstance(message, Failed):
                    _note_failure(message, _source)

        return _all(sources, folder, wishes, heard, lambda done: echo("\n".join(_table(done))))


def quiet_batch(sources: Sequence[str], folder: Path | None, wishes: Mapping[str, Any]) -> int:
    """Do all, and print errors only; returns the exit code."""
    from pipelines.queue.messages import Failed

    def heard(_number: int, source: str, message: Message) -> None:
        if isinstance(message, Failed):
            _note_failure(message, source)

    return _all(sources, folder, wishes, heard, lambda _done: None)


def json_batch(sources: Sequence[str], folder: Path | None, wishes: Mapping[str, Any]) -> int:
    """Do all, with one JSON object a line, each with its source; returns the exit code."""
    from pipelines.queue.messages import Failed, Finished, Planned

    listeners: dict[str, Callable[[Event], None]] = {}

    def heard(_number: int, source: str, message: Message) -> None:
        if isinstance(message, Planned):
            echo_json({"event": "plan", "source": source, "plan": message.plan})
        elif isinstance(message, Finished):
            echo_json({"event": "report", "source": source, "report": message.report})
        elif isinstance(message, Failed):
            echo_json({"event": "error", "source": source, **_error(message)})
        elif _is_event(message):
            listen = listeners.setdefault(source, json_events(source))
            listen(message)  # type: ignore[arg-type]

    return _all(sources, folder, wishes, heard, _json_summary)


def _all(
    sources: Sequence[str],
    folder: Path | None,
    wishes: Mapping[str, Any],
    heard: Callable[[int, str, Message], None],
    tell: Callable[[Sequence[BatchResult]], None],
) -> int:
    """Do all, and tell what became of them even if Ctrl-C ends it; the first failure's code."""
    from pipelines.batch import BatchResult, upscale_all

    done: list[BatchResult] = []
    try:
        for result in upscale_all(sources, folder, wishes, on_event=heard):
            done.append(result)  # noqa: PERF402 - what is there counts even if the rest is not
    finally:
        if done or len(sources) > 1:
            ended = {result.source for result in done}
            rest = [BatchResult(source, "") for source in sources if source not in ended]
            tell([*done, *rest])
    return next((result.exit_code for result in done if result.exit_code), 0)


def _is_event(message: Message) -> bool:
    from pipelines.events import Progress, Warned

    return isinstance(message, Progress | Warned)


def _note_failure(failed: Any, source: str) -> None:
    where = failed.where or source
    note("error", one_line(f"{where}: {failed.what}"), "red")
    if failed.remedy:
        echo(f"  {failed.remedy}", err=True)


def _error(failed: Any) -> dict[str, Any]:
    return {
        "kind": failed.kind,
        "message": failed.what,
        "where": failed.where,
        "remedy": failed.remedy,
        "exit_code": failed.exit_code,
    }


def _state(result: BatchResult) -> str:
    if result.failed is not None:
        return "failed"
    return "done" if result.report is not None else "not done"


def _table(done: Sequence[BatchResult]) -> list[str]:
    rows = [(_state(result), result.source, _outcome(result)) for result in done]
    count = {
        state: sum(row[0] == state for row in rows) for state in ("done", "failed", "not done")
    }
    told = ", ".join(f"{number} {state}" for state, number in count.items() if number)
    return [*table(rows), told]


def _outcome(result: BatchResult) -> str:
    if result.failed is not None:
        return result.failed.what
    report = result.report
    if report is None:
        return ""
    cost = f"{report.frames_out} frames, {time_text(report.seconds)}, {size_text(report.bytes)}"
    lacks = f"; given up: {' '.join(report.given_up)}" if report.given_up else ""
    return f"{report.destination}: {cost}{lacks}"


def _json_summary(done: Sequence[BatchResult]) -> None:
    code = next((result.exit_code for result in done if result.exit_code), 0)
    jobs = [
        {
            "source": result.source,
            "destination": result.destination,
            "state": _state(result).replace(" ", "_"),
            "exit_code": result.exit_code,
        }
        for result in done
    ]
    echo_json({"event": "summary", "jobs": jobs, "exit_code": code})

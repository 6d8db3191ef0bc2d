"""What a queue says: events as they come, and how it stands."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vsr.cli.output import echo, echo_json, note, rate_text, size_text, table, time_text

if TYPE_CHECKING:
    from pipelines.events import Progress
    from pipelines.queue.job import Job
    from pipelines.queue.ledger import Ledger
    from pipelines.queue.messages import Finished, Message
    from pipelines.watch.watcher import Said

__all__ = ["json_listener", "status_json", "status_text", "text_listener"]

_LOG_SECONDS = 30.0
_JSON_SECONDS = 0.5
_SHOWN = 20


def text_listener() -> Callable[[Said | tuple[Job, Message]], None]:
    """A listener for people and logs: what is begun and what became of it, on stderr."""
    from pipelines.events import Progress, Warned
    from pipelines.queue.messages import Failed, Finished, NoRoom, Planned
    from pipelines.watch.watcher import Said

    next_line: dict[int, float] = {}

    def listen(event: Said | tuple[Job, Message]) -> None:
        if isinstance(event, Said):
            if event.warning:
                note("warning", event.text, "yellow")
            else:
                echo(event.text, err=True)
            return
        job, message = event
        if isinstance(message, Planned):
            next_line[job.id] = time.monotonic() + _LOG_SECONDS
            plan = message.plan
            sizes = f"{plan.video.width}x{plan.video.height} -> {plan.width}x{plan.height}"
            echo(f"begun: {job.path} {sizes} in {plan.destination}", err=True)
            for sentence in plan.given_up:
                note("given up", f"{job.path}: {sentence}", "yellow")
        elif isinstance(message, Progress):
            if time.monotonic() >= next_line.get(job.id, 0.0):
                next_line[job.id] = time.monotonic() + _LOG_SECONDS
                echo(f"{job.path}: {_progress(message.frames, message.total)}", err=True)
        elif isinstance(message, Warned):
            note("warning", f"{job.path}: {message.message}", "yellow")
        elif isinstance(message, Finished):
            note("done", f"{job.path} -> {message.destination}{_cost(message)}", "green")
        elif isinstance(message, Failed):
            note(job.state, f"{job.path}: {job.reason}{_next(job)}", "red")
        elif isinstance(message, NoRoom):
            free = size_text(message.free)
            note("waiting", f"{job.path}: for room on the disk, {free} are free", "yellow")

    return listen


def json_listener() -> Callable[[Said | tuple[Job, Message]], None]:
    """A listener that writes one JSON object a line, progress of a job at most twice a second."""
    from pipelines.events import Progress, Warned
    from pipelines.queue.messages import Planned
    from pipelines.watch.watcher import Said

    due: dict[int, float] = {}

    def listen(event: Said | tuple[Job, Message]) -> None:
        if isinstance(event, Said):
            echo_json({"event": "warning" if event.warning else "info", "message": event.text})
            return
        job, message = event
        if isinstance(message, Planned):
            echo_json({"event": "plan", "source": job.path, "plan": message.plan})
        elif isinstance(message, Warned):
            echo_json({"event": "warning", "source": job.path, "message": message.message})
        elif not isinstance(message, Progress):
            echo_json({"event": job.state, **_entry(job)})
        elif time.monotonic() >= due.get(job.id, 0.0) or message.frames == message.total:
            due[job.id] = time.monotonic() + _JSON_SECONDS
            echo_json({"event": "progress", "source": job.path, **_fields(message)})

    return listen


def _fields(event: Progress) -> dict[str, Any]:
    return {
        "frames": event.frames,
        "total": event.total,
        "fps": round(event.fps, 3),
        "eta": None if event.eta is None else round(event.eta, 1),
        "bound_by": event.bound_by,
    }


def _entry(job: Job) -> dict[str, Any]:
    """A job for programs."""
    entry = {name: getattr(job, name) for name in _COLUMNS}
    return {"source": job.path, **entry}


_COLUMNS = (
    *("id", "state", "reason", "attempts", "completions", "next_try", "destination", "error"),
    *("exit_code", "log", "moved_to", "frames", "total", "fps", "eta"),
    *("queued_at", "started_at", "ended_at"),
)


def status_json(ledger: Ledger) -> dict[str, Any]:
    """The whole queue, for programs."""
    return {
        "source": ledger.fact("source"),
        "destination": ledger.fact("destination"),
        "counts": ledger.counts(),
        "jobs": [_entry(job) for job in ledger.jobs()],
    }


def status_text(ledger: Ledger, *, everything: bool) -> str:
    """The queue for people: how many are in each state, then what is not done."""
    from pipelines.queue.job import STATES, State

    counts = ledger.counts()
    told = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    lines = [
        f"{ledger.fact('source')} -> {ledger.fact('destination')}",
        f"  {told or 'nothing yet'}",
    ]
    shown: list[State] = [state for state in STATES if everything or state not in ("done", "gone")]
    for state in shown:
        if not counts[state]:
            continue
        jobs = ledger.jobs([state], limit=-1 if everything else _SHOWN)
        lines += ["", state, *table([(job.path, _line(job)) for job in jobs])]
        if len(jobs) < counts[state]:
            lines.append(f"  and {counts[state] - len(jobs)} more; --all lists them")
    return "\n".join(lines)


def _line(job: Job) -> str:
    if job.state == "running":
        return _progress(job.frames, job.total, job.fps, job.eta)
    if job.state == "done":
        return f"{job.destination}" + (f" ({job.reason})" if job.reason else "")
    where = f"; now {job.moved_to}" if job.moved_to else ""
    log = f"; log: {job.log}" if job.log and job.state in ("failed", "quarantined") else ""
    return f"{job.reason}{_next(job)}{where}{log}"


def _next(job: Job) -> str:
    if job.state == "quarantined":
        return f" ({job.attempts} attempts)"
    if job.state in ("failed", "queued") and job.next_try:
        left = time_text(max(job.next_try - time.time(), 0.0))
        return f" (tried again in {left})" if job.state == "failed" else f" (again in {left})"
    return ""


def _progress(frames: int, total: int | None, fps: float = 0.0, eta: float | None = None) -> str:
    of = "" if total is None else f"/{total}"
    rate = f", {rate_text(fps)}" if fps else ""
    left = "" if eta is None else f", {time_text(eta)} left"
    return f"{frames}{of} frames{rate}{left}"


def _cost(finished: Finished) -> str:
    report = finished.report
    if report is None:
        return ""
    return f" ({report.frames_out} frames, {time_text(report.seconds)}, {size_text(report.bytes)})"

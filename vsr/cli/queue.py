"""What a queue says: events as they come, and how it stands."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vsr.cli.output import (
    StdoutError,
    echo,
    echo_json,
    note,
    one_line,
    rate_text,
    size_text,
    table,
    time_text,
)

if TYPE_CHECKING:
    from pipelines.events import Progress
    from pipelines.queue.job import Job
    from pipelines.queue.ledger import Ledger
    from pipelines.queue.messages import Finished, Message
    from pipelines.watch.watcher import Said

    Listener = Callable[[Said | tuple[Job, Message]], None]

__all__ = ["json_listener", "status_json", "status_text", "text_listener"]

_LOG_SECONDS = 30.0
_JSON_SECONDS = 0.5
_SHOWN = 20
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


def _on_full_disk(listen: Listener, warn: Callable[[str], None]) -> Listener:
    """``listen``, but a log whose disk is full stops nothing: once there is room, ``warn`` says so.

    That may be the disk of the results, which the watcher itself waits for.
    """
    lost = 0

    def heard(event: Said | tuple[Job, Message]) -> None:
        nonlocal lost
        try:
            if lost:
                warn(f"the disk was full: of {lost} messages before this some may be missing")
                lost = 0
            listen(event)
        except StdoutError as error:
            if not isinstance(error.__cause__, OSError) or error.__cause__.errno not in _FULL:
                raise
            lost += 1

    return heard


def _say(text: str) -> None:
    echo(one_line(text), err=True)


def _mark(label: str, text: str, color: str) -> None:
    note(label, one_line(text), color)


def text_listener() -> Listener:
    """A listener for people and logs: what is begun and what became of it, on stderr."""
    from pipelines.events import Progress, Warned
    from pipelines.queue.messages import Failed, Finished, NoRoom, Planned
    from pipelines.watch.watcher import Said

    next_line: dict[int, float] = {}

    def listen(event: Said | tuple[Job, Message]) -> None:
        if isinstance(event, Said):
            if event.warning:
                _mark("warning", event.text, "yellow")
            else:
                _say(event.text)
            return
        job, message = event
        if isinstance(message, Planned):
            next_line[job.id] = time.monotonic() + _LOG_SECONDS
            plan = message.plan
            sizes = f"{plan.video.width}x{plan.video.height} -> {plan.width}x{plan.height}"
            _say(f"begun: {job.path} {sizes} in {plan.destination}")
            for sentence in plan.given_up:
                _mark("given up", f"{job.path}: {sentence}", "yellow")
        elif isinstance(message, Progress):
            if time.monotonic() >= next_line.get(job.id, 0.0):
                next_line[job.id] = time.monotonic() + _LOG_SECONDS
                _say(f"{job.path}: {_progress(message.frames, message.total)}")
        elif isinstance(message, Warned):
            _mark("warning", f"{job.path}: {message.message}", "yellow")
        elif isinstance(message, Finished):
            _mark("done", f"{job.path} -> {message.destination}{_cost(message)}", "green")
        elif isinstance(message, Failed):
            _mark(job.state, f"{job.path}: {job.reason}{_next(job)}", "red")
        elif isinstance(message, NoRoom):
            free = size_text(message.free)
            _mark("waiting", f"{job.path}: for room on the disk, {free} are free", "yellow")

    return _on_full_disk(listen, lambda text: _mark("warning", text, "yellow"))


def json_listener() -> Listener:
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

    return _on_full_disk(listen, lambda text: echo_json({"event": "warning", "message": text}))


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
        "watcher": _is_watched(ledger),
        "counts": ledger.counts(),
        "jobs": [_entry(job) for job in ledger.jobs()],
    }


def status_text(ledger: Ledger, *, everything: bool) -> str:
    """The queue for people: how many are in each state, then what is not done."""
    from pipelines.queue.job import STATES, State

    counts = ledger.counts()
    # What a watcher was at that was killed stays so in the ledger until the next one comes.
    alone = _is_watched(ledger) is False
    names = {state: "cut off" if alone and state == "running" else state for state in STATES}
    told = ", ".join(f"{counts[state]} {names[state]}" for state in STATES if counts[state])
    lines = [
        one_line(f"{ledger.fact('source')} -> {ledger.fact('destination')}"),
        f"  {told or 'nothing yet'}" + ("; no watcher runs" if alone else ""),
    ]
    shown: list[State] = [state for state in STATES if everything or state not in ("done", "gone")]
    for state in shown:
        if not counts[state]:
            continue
        jobs = ledger.jobs([state], limit=-1 if everything else _SHOWN)
        lines += ["", names[state], *table([(job.path, _line(job, alone)) for job in jobs])]
        if len(jobs) < counts[state]:
            lines.append(f"  and {counts[state] - len(jobs)} more; --all lists them")
    return "\n".join(lines)


def _is_watched(ledger: Ledger) -> bool | None:
    """Whether a watcher, or what one left behind, works with it; ``None`` if it cannot be told."""
    from pipelines.queue.lock import is_held

    return None if ledger.path is None else is_held(ledger.path)


def _line(job: Job, alone: bool) -> str:
    if job.state == "running" and alone:
        return f"{_progress(job.frames, job.total)}; the next watcher goes on"
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

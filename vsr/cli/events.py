"""Listeners: what a running upscale shows on a terminal, in a log, and to programs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vsr.cli.output import echo, echo_json, note, rate_text

if TYPE_CHECKING:
    from pipelines.events import Event, Progress

__all__ = ["json_events", "text_events"]

_JSON_SECONDS = 0.5
_LOG_SECONDS = 30.0


class _Rarely:
    """Says when it is time again; the last frame is always in time."""

    def __init__(self, seconds: float, *, at_once: bool) -> None:
        self._seconds = seconds
        self._next = 0.0 if at_once else time.monotonic() + seconds

    def due(self, event: Progress) -> bool:
        now = time.monotonic()
        if now < self._next and event.frames != event.total:
            return False
        self._next = now + self._seconds
        return True


def json_events(source: str | None = None) -> Callable[[Event], None]:
    """A listener that writes one JSON object per line, progress at most twice a second.

    Args:
        source: goes into each object, where there are several.
    """
    from pipelines.events import Progress

    rarely = _Rarely(_JSON_SECONDS, at_once=True)
    whose = {} if source is None else {"source": source}

    def listen(event: Event) -> None:
        if not isinstance(event, Progress):
            echo_json({"event": "warning", **whose, "message": event.message})
        elif rarely.due(event):
            echo_json(
                {
                    "event": "progress",
                    **whose,
                    "frames": event.frames,
                    "total": event.total,
                    "fps": round(event.fps, 3),
                    "eta": None if event.eta is None else round(event.eta, 1),
                    "bound_by": event.bound_by,
                }
            )

    return listen


@contextmanager
def text_events(total: int | None) -> Iterator[Callable[[Event], None]]:
    """A listener for people, on stderr: a bar on a terminal, now and then a line in a log.

    Args:
        total: frames expected, ``None`` if unknown.
    """
    if sys.stderr.isatty():
        with _bar(total) as bar:
            yield _bar_listener(bar)
    else:
        yield _log_listener()


def _bar(total: int | None) -> Any:
    from tqdm import tqdm

    known = "{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} frames{postfix}"
    unknown = "{n_fmt} frames in {elapsed}{postfix}"
    return tqdm(
        total=total,
        file=sys.stderr,
        dynamic_ncols=True,
        bar_format=unknown if total is None else known,
        mininterval=0.1,
    )


def _bar_listener(bar: Any) -> Callable[[Event], None]:
    from pipelines.events import Progress

    def listen(event: Event) -> None:
        if not isinstance(event, Progress):
            with bar.external_write_mode(file=sys.stderr):
                note("warning", event.message, "yellow")
            return
        bar.set_postfix_str(_rate(event), refresh=False)
        bar.update(event.frames - bar.n)

    return listen


def _log_listener() -> Callable[[Event], None]:
    from pipelines.events import Progress

    rarely = _Rarely(_LOG_SECONDS, at_once=False)

    def listen(event: Event) -> None:
        if not isinstance(event, Progress):
            note("warning", event.message, "yellow")
        elif rarely.due(event):
            of = "" if event.total is None else f"/{event.total}"
            echo(f"{event.frames}{of} frames, {_rate(event)}", err=True)

    return listen


def _rate(event: Progress) -> str:
    from tqdm import tqdm

    left = "" if event.eta is None else f", {tqdm.format_interval(event.eta)} left"
    return f"{rate_text(event.fps)}{left}, bound by {event.bound_by}"

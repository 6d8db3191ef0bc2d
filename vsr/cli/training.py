"""What a training run shows on a terminal, in a log, and to programs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vsr.cli.output import echo, echo_json, entries, time_text

if TYPE_CHECKING:
    from pipelines.train import TrainEvent, TrainReport

__all__ = ["json_listener", "report_text", "text_listener"]

_LOG_SECONDS = 30.0


def json_listener() -> Callable[[TrainEvent], None]:
    """A listener that writes each event as a JSON object on a line."""

    def listen(event: TrainEvent) -> None:
        from vsr.types.plain import to_plain

        echo_json({"event": type(event).__name__.lower(), **to_plain(event)})

    return listen


@contextmanager
def text_listener() -> Iterator[Callable[[TrainEvent], None]]:
    """A listener for people, on stderr: bars on a terminal, now and then a line in a log."""
    shown = _Bars() if sys.stderr.isatty() else _Lines()
    try:
        yield shown.listen
    finally:
        shown.close()


class _Lines:
    """A line every 30 seconds, and one for each validation."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _LOG_SECONDS

    def listen(self, event: TrainEvent) -> None:
        text = _line(event)
        if type(event).__name__ in ("Prepared", "Taught", "Stepped"):
            if time.monotonic() < self._next:
                return
            self._next = time.monotonic() + _LOG_SECONDS
        echo(text, err=True)

    def close(self) -> None:
        pass


class _Bars:
    """A bar for each of preparing, teaching and training; what is to be kept scrolls past above."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._unit = ""

    def listen(self, event: TrainEvent) -> None:
        from pipelines.train import Prepared, Taught
        from vsr.training.loop import Stepped

        if isinstance(event, Prepared):
            self._show("images prepared", event.images, event.total, "")
        elif isinstance(event, Taught):
            self._show("pictures by the teacher", event.pictures, event.total, "")
        elif isinstance(event, Stepped):
            text = f"loss {event.loss:.3f}, {event.step_seconds * 1000:.0f} ms/step"
            left = f", {time_text(event.eta)} left"
            self._show("steps", event.step, event.total, text + left)
        elif self._bar is None:
            echo(_line(event), err=True)
        else:
            with self._bar.external_write_mode(file=sys.stderr):
                echo(_line(event), err=True)

    def _show(self, unit: str, done: int, total: int, text: str) -> None:
        from tqdm import tqdm

        if unit != self._unit:
            self.close()
            form = "{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} " + unit + "{postfix}"
            self._bar = tqdm(
                total=total, initial=0, file=sys.stderr, dynamic_ncols=True, bar_format=form
            )
            self._unit = unit
        self._bar.total = total
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _line(event: TrainEvent) -> str:
    from pipelines.train import Prepared, Started, Taught
    from vsr.training.loop import Stepped

    if isinstance(event, Prepared):
        return f"{event.images}/{event.total} images prepared"
    if isinstance(event, Taught):
        return f"{event.pictures}/{event.total} pictures by the teacher"
    if isinstance(event, Started):
        begins = f"goes on at step {event.step:,}" if event.step else "begins"
        how = f"; {event.how}" if event.how else ""
        return (
            f"training {begins} on {event.device}: {event.training} pictures, "
            f"{event.validation} to validate on{how}"
        )
    if isinstance(event, Stepped):
        return (
            f"step {event.step:,}/{event.total:,}, loss {event.loss:.3f}, "
            f"{event.step_seconds * 1000:.0f} ms/step, {time_text(event.eta)} left"
        )
    best = ", the best so far" if event.best else ""
    return f"step {event.step:,}: validation {event.psnr:.3f} dB{best}"


def report_text(report: TrainReport) -> str:
    """What became of a run."""
    found = report.outcome
    speed = "none were left to do"
    if found.step_ms:
        speed = f"{found.step_ms:.0f} ms each, {found.waiting:.1%} of it waiting for data"
    rows = [
        ("steps", f"{found.steps:,}; {speed}"),
        ("time", time_text(found.seconds)),
        (
            "PSNR",
            f"{found.best_psnr:.3f} dB on Y at step {found.best_step:,}; "
            f"{found.first_psnr:.3f} before the first step",
        ),
        *(("note", note) for note in found.notes),
    ]
    if found.skipped:
        rows.append(("note", f"{found.skipped} steps were left out: gradients not finite"))
    lines = [report.weights, *entries(rows, label=6, indent="  ")]
    return "\n".join(lines)

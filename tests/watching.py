"""A watcher for tests: of ``in``, into ``out``, with the quickest network."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from pipelines.queue.run import Policy
from pipelines.watch.request import WatchRequest
from pipelines.watch.watcher import Watcher

__all__ = ["watcher"]


def watcher(
    folder: Path, events: list[Any] | None = None, *, later: float = 0.0, **more: Any
) -> Watcher:
    """A watcher that looks once at ``folder/in``, ``later`` seconds from now.

    Each file has one attempt, and nothing needs to settle; ``more`` says otherwise.
    """
    asked: dict[str, Any] = {
        "source": folder / "in",
        "destination": folder / "out",
        "wishes": {"model": "bicubic"},
        "settle": 0,
        "once": True,
        "policy": Policy(attempts=1, delay=0),
    }
    heard = None if events is None else events.append
    clock = lambda: time.time() + later  # noqa: E731
    request = WatchRequest(**asked | more)
    return Watcher(request, on_event=heard, written=lambda _: False, clock=clock)

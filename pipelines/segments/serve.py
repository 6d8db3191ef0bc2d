"""A worker process: asks for segments over a pipe, and says what becomes of them.

It imports nothing heavy before it knows how many threads it may use.
"""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from vsr.types import Plan, Segment

__all__ = ["Message", "sendable", "serve"]

#: What a worker says: a word and what belongs to it.
#:
#: ``next``: it wants a segment (the answer is one, or ``None``: there are no more);
#: ``frames``: (so many more frames, seconds of work of each stage so far);
#: ``done``: (index of a finished segment);
#: ``again``: (a segment that it had, which has to be read another way: by whoever is given it);
#: ``warning``: (a sentence); ``failed``: (the error); ``end``: (its largest resident set in bytes).
Message = tuple[str, Any]


def serve(plan: Plan, folder: str, threads: int, pipe: Connection) -> None:
    """Work until there are no more segments, or something fails."""
    # Ctrl-C goes to all processes of a terminal; the first one decides what happens.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    if threads:
        os.environ["OMP_NUM_THREADS"] = str(threads)
    say = _Speaker(pipe)
    try:
        _work(plan, Path(folder), threads, say)
    except BaseException as error:  # noqa: BLE001 - it is raised in the first process
        say("failed", sendable(error))
    # The network's thread may wait for an answer that never comes.
    os._exit(0)


def _work(plan: Plan, folder: Path, threads: int, say: _Speaker) -> None:
    import torch

    from pipelines.memory import keep_freed_memory, peak_memory
    from pipelines.segments.worker import Listening, SegmentWorker
    from vsr.engine.run import Clocks

    if threads:
        torch.set_num_threads(threads)
    keep_freed_memory()

    def advanced(frames: int, clocks: Clocks) -> None:
        say("frames", (frames, tuple(clock.busy for clock in clocks)))

    listening = Listening(
        advanced=advanced,
        finished=lambda segment: say("done", segment.index),
        again=lambda segment: say("again", segment),
        warned=lambda message: say("warning", message),
    )
    SegmentWorker(plan, folder, listening).run(say.segments())
    say("end", peak_memory())


class _Speaker:
    """The worker's end of the pipe; its threads share it."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._turn = threading.Lock()

    def __call__(self, word: str, told: Any = None) -> None:
        with self._turn:
            self._pipe.send((word, told))

    def segments(self) -> Iterator[Segment]:
        """Segments, asked for one by one. Only one thread may iterate."""
        while True:
            self("next")
            segment: Segment | None = self._pipe.recv()
            if segment is None:
                return
            yield segment


def _die_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        with suppress(OSError):
            connection.wait([parent.sentinel])
        os._exit(1)


def sendable(error: BaseException) -> BaseException:
    """The error, or what can be said of it if it does not pickle."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it cannot be sent
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error

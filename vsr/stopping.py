"""Ending what the main thread does by an exception that a signal handler raises.

Such exceptions get lost: torch imports NumPy from C++, and drops whatever comes of it. So handlers
raise none within an import, and one that nobody has any more is raised again.
"""

from __future__ import annotations

import signal
import threading
import weakref
from types import CodeType, FrameType

__all__ = ["PATIENCE", "Raised", "Stopped", "give_again", "importing"]

#: Seconds between looks at whether a stop has arrived.
PATIENCE = 0.1


class Stopped(KeyboardInterrupt):
    """Somebody wants this process to end. A KeyboardInterrupt, so that all clean up alike."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Raised:
    """The exception that a handler raised last."""

    def __init__(self) -> None:
        self._last: weakref.ref[Stopped] | None = None

    def new(self, number: int) -> Stopped:
        """One to raise for the signal ``number``.

        It must be kept in no variable: its traceback has the frame, and it would keep itself alive.
        """
        stop = Stopped(number)
        self._last = weakref.ref(stop)
        return stop

    @property
    def lost(self) -> bool:
        """Whether none is on its way, nor being handled."""
        return self._last is None or self._last() is None


def give_again(number: int) -> None:
    """Have the main thread's handler of the signal ``number`` called; from any thread."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        signal.raise_signal(number)


def importing(frame: FrameType | None, within: CodeType) -> bool:
    """Whether ``frame`` is at work for an import that began within a function's code."""
    while frame is not None and frame.f_code is not within:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False

"""The queue's side of a worker process."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

import pipelines
from pipelines.queue.messages import (
    Failed,
    Finished,
    Message,
    Named,
    NoRoom,
    Order,
    Stopped,
)
from vsr.errors import BackendError

__all__ = ["Worker", "check_system"]

#: Handles are not passed on to processes there as they are here; nobody has tried.
WINDOWS = os.name == "nt"

_ROOT = Path(pipelines.__file__).resolve().parent.parent
# After these the process may not be itself any more: a bug, a crash, a device that failed.
_SUSPICIOUS = (1, 8)
_REMEDY = "Memory or processes may have run out, or vsr may have been removed while it ran."


def check_system() -> None:
    """See that this system can have workers.

    Raises:
        BackendError: it cannot.
    """
    if WINDOWS:
        raise BackendError(
            "files are done in processes of their own, which works on Linux and macOS only",
            remedy="Name one file at a time, or use the Windows Subsystem for Linux.",
        )


class Worker:
    """A process that does one file after the other, begun when it is first needed.

    Args:
        inherit: descriptors that it keeps open, such as the ledger's lock.
    """

    def __init__(self, *, inherit: tuple[int, ...] = ()) -> None:
        self._inherit = inherit
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = False  # also set from other threads

    def do(self, order: Order) -> Iterator[Message]:
        """Let it do one file; the last message is the outcome.

        After :class:`~pipelines.queue.messages.Made` it waits for :meth:`name`.

        A process that dies over it is a failure of this file; the next file gets a new one.
        """
        if self._stopping:
            yield Stopped()
            return
        try:
            process = self._started()
        except OSError as error:
            what = f"no process can be begun for it: {error.strerror}"
            yield Failed("WorkerFailed", what, "", _REMEDY, 1, blameless=True)
            return
        if self._stopping:
            # Whoever said so meanwhile may have found no process to tell.
            process.terminate()
        orders, answers = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
        try:
            pickle.dump(order, orders)
            orders.flush()
            while True:
                message: Message = pickle.load(answers)  # noqa: S301 - our own process wrote it
                if isinstance(message, Failed) and message.exit_code in _SUSPICIOUS:
                    self.end()
                yield message
                if isinstance(message, Finished | Failed | NoRoom | Stopped):
                    return
        except (EOFError, OSError, pickle.UnpicklingError):
            self.end()
            code = process.returncode
            yield _died(code, stopping=self._stopping)

    def name(self, destination: str) -> None:
        """Let the result that is complete have this name."""
        process = self._process
        if process is not None and process.stdin is not None:
            with suppress(OSError):  # it died meanwhile, which :meth:`do` will notice
                pickle.dump(Named(destination), process.stdin)
                process.stdin.flush()

    def stop(self) -> None:
        """Tell it to stop; the run at hand then ends with :class:`Stopped`, and no other begins."""
        self._stopping = True
        process = self._process  # which another thread may let go
        if process is not None:
            process.terminate()

    def last(self) -> Message:
        """After an interruption of :meth:`do`: stop it, and hear what became of the run at hand."""
        self.stop()
        process = self._process
        outcome: Message = Stopped()
        if process is not None and process.stdout is not None:
            with suppress(EOFError, OSError, pickle.UnpicklingError):
                while True:
                    message = pickle.load(process.stdout)  # noqa: S301 - as above
                    if isinstance(message, Finished):
                        outcome = message
        return outcome

    def end(self) -> None:
        """Let it go when its run is over, and wait for that."""
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):  # it died with something unread
                    pipe.close()
        process.wait()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            # Imported from where this code is, whatever lies in the current folder.
            path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "pipelines.queue.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": path},
                pass_fds=self._inherit,
                start_new_session=True,
            )
        return self._process


def _died(code: int, *, stopping: bool) -> Failed | Stopped:
    if stopping:
        return Stopped()
    if code < 0:
        how = f"was ended by {signal.Signals(-code).name}"
        remedy = (
            "The system ends who takes too much memory: fewer at a time, or a smaller --batch."
            if -code == getattr(signal, "SIGKILL", 9)
            else "A codec library crashed on this file; the log may say more."
        )
    else:
        how, remedy = f"ended with code {code}", "The log may say more."
    return Failed("WorkerDied", f"the process that did it {how}", "", remedy, 1)

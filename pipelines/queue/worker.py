"""The process that does the work: it loads the network once and does one file after the other.

A codec library that crashes, or a system that ends whoever takes too much memory, takes this
process along and not the queue. Orders come in on stdin and messages go out on stdout, pickled;
what libraries print goes to the log of the file at hand. SIGTERM, or the end of stdin because the
queue is gone, stops the run at hand.
"""

from __future__ import annotations

import errno
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from _thread import start_new_thread
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING, Any, BinaryIO

from pipelines.events import Event, Progress
from pipelines.queue.job import Identity, identify, is_at
from pipelines.queue.messages import (
    Failed,
    Finished,
    Made,
    Message,
    Named,
    NoRoom,
    Order,
    Outcome,
    Planned,
    Stopped,
    failed_by,
)
from pipelines.queue.room.stream import FULL, log_stream
from vsr import __version__
from vsr.errors import OutputError, VsrError
from vsr.media.av_errors import av_errors
from vsr.stopping import PATIENCE, Raised, give_again, importing

if TYPE_CHECKING:
    from vsr.types import Plan

__all__ = ["main"]

_PROGRESS_SECONDS = 0.25


class _Worker:
    """Takes orders until it is told to stop."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._orders: SimpleQueue[Order | None] = SimpleQueue()
        self._names: SimpleQueue[Named | None] = SimpleQueue()
        self._stop = False
        self._interruptible = False
        self._raised = Raised()
        self._over = False
        self._result: tuple[Path, Identity] | None = None
        self._logging = False

    def listen(self, orders: BinaryIO) -> None:
        """Put orders and names into their queues; the end of them stops the run at hand."""
        with suppress(EOFError, pickle.UnpicklingError):
            while True:
                found = pickle.load(orders)  # noqa: S301 - from the process that began this one
                (self._names if isinstance(found, Named) else self._orders).put(found)
        os.kill(os.getpid(), signal.SIGTERM)

    def on_signal(self, _number: int, frame: FrameType | None) -> None:
        """Stop: at once where that is safe, else at the next place where it is."""
        if not self._stop:
            self._stop = True
            self._orders.put(None)
            self._names.put(None)
            # No threading.Thread: what is interrupted here may hold that module's locks.
            start_new_thread(self._remind, ())
        if self._must_stop() and not importing(frame, _Worker.work.__code__):
            raise self._raised.new(signal.SIGTERM)

    def _must_stop(self) -> bool:
        """Whether to interrupt; what has been interrupted cleans up in peace."""
        return self._stop and self._interruptible and self._raised.lost

    def _remind(self) -> None:
        """Give the signal again for as long as its exception is lost. Runs in a thread."""
        while not self._over:
            time.sleep(PATIENCE)
            # Whoever has taken the signal over, as Ray does while it begins, gives it back.
            if self._must_stop() and signal.getsignal(signal.SIGTERM) == self.on_signal:
                give_again(signal.SIGTERM)

    def work(self) -> None:
        """Do what is ordered."""
        try:
            self._work()
        finally:
            self._over = True

    def _work(self) -> None:
        while not self._stop:
            order = self._orders.get()
            if order is None:
                return
            with ExitStack() as stack:
                try:
                    stack.enter_context(_log(order.log))
                except VsrError as error:
                    outcome = _outcome_of(error, order)
                else:
                    outcome = self._outcome(order)
                self._tell(outcome)

    def _tell(self, message: Message) -> None:
        # A message that is cut off would be taken for garbage: no interruption inside one.
        before, self._interruptible = self._interruptible, False
        pickle.dump(message, self._out)
        self._out.flush()
        self._interruptible = before
        if self._must_stop():
            raise self._raised.new(signal.SIGTERM)

    def _outcome(self, order: Order) -> Outcome:
        made: list[Path] = []
        self._result, self._logging = None, bool(order.log)
        try:
            self._interruptible = True
            if self._stop:
                return Stopped()
            return self._do(order, made)
        except KeyboardInterrupt:
            self._interruptible = False
            if self._result is not None and is_at(*self._result):
                return Finished(str(self._result[0]), None)
            self._say("stopped")
            return Stopped()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the queue must hear of it
            self._interruptible = False
            if self._logging or not isinstance(error, VsrError):
                traceback.print_exc()
            return _outcome_of(error, order)
        finally:
            self._interruptible = False
            for folder in reversed(made):
                with suppress(OSError):  # somebody put something into it
                    folder.rmdir()

    def _do(self, order: Order, made: list[Path]) -> Outcome:
        from pipelines.queue.room.space import free_space, space_needed
        from pipelines.upscale import expected_frames, prepare_upscale
        from vsr.plan import describe

        plan, run = prepare_upscale(order.source, order.destination, **order.wishes)
        now = time.strftime("%Y-%m-%d %H:%M:%S %z")
        self._say(f"{now}, vsr {__version__}\n{describe(plan)}\n")
        destination = Path(plan.destination)
        # A link that leads nowhere has the name as well.
        if not plan.overwrite and os.path.lexists(destination):
            remedy = "Choose another name, or allow overwriting (-y, overwrite=True)."
            return Failed(
                "OutputError",
                "the file already exists",
                plan.destination,
                remedy,
                4,
                name_taken=True,
            )
        need, free = space_needed(plan), free_space(destination)
        if order.keep_free is not None and free < need + order.keep_free:
            return NoRoom(need + order.keep_free, free)
        self._tell(Planned(plan, need, expected_frames(plan)))
        _make_folders(destination.parent, made)
        report = run(on_event=self._listener(), before_commit=self._name, mark=order.mark)
        # From here on the result is there, and no interruption may deny it.
        self._interruptible = False
        if order.pictures:
            self._take_pictures(order, replace(plan, destination=report.destination))
        return Finished(report.destination, report)

    def _name(self, file: Path) -> str:
        """The name for the finished file: the queue gives it when it knows what gets it."""
        made = identify(file)
        self._tell(Made(made))
        named = self._names.get()
        if named is None:
            raise KeyboardInterrupt
        self._result = (Path(named.destination), made)
        return named.destination

    def _take_pictures(self, order: Order, plan: Plan) -> None:
        from pipelines.queue.pictures import before_and_after

        try:
            before_and_after(plan, order.pictures)
        except (VsrError, OSError) as error:
            # They are for looking at; the result is there without them.
            self._say(f"warning: no pictures before and after: {error}")

    def _say(self, text: str) -> None:
        """Write to the log, if there is one; without, whoever listens says what is to be said."""
        if self._logging:
            print(text, file=sys.stderr, flush=True)  # noqa: T201 - stderr is the log

    def _listener(self) -> Any:
        due = 0.0

        def listen(event: Event) -> None:
            nonlocal due
            now = time.monotonic()
            if isinstance(event, Progress):
                if now < due and event.frames != event.total:
                    return
                due = now + _PROGRESS_SECONDS
            else:
                self._say(f"warning: {event.message}")
            self._tell(event)

        return listen


@contextmanager
def _log(path: str) -> Iterator[None]:
    """Let stderr be the log, also for libraries that know nothing of Python."""
    if not path:
        yield
        return
    with av_errors(path, "write the log", OutputError):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    sys.stderr.flush()
    before = os.dup(2)
    os.dup2(file, 2)
    os.close(file)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(before, 2)
        os.close(before)


def _make_folders(folder: Path, made: list[Path]) -> None:
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    with av_errors(folder, "make the folder", OutputError):
        for path in reversed(missing):
            with suppress(FileExistsError):  # another worker was quicker
                path.mkdir()
                made.append(path)
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))


def _outcome_of(error: BaseException, order: Order) -> Outcome:
    """What an error makes of a run: for want of room it waits, if anybody wants it to."""
    if order.keep_free is None or not _is_full(error):
        return failed_by(error)
    from pipelines.queue.room.space import free_space

    return NoRoom(0, free_space(Path(order.destination)))


def _is_full(error: BaseException) -> bool:
    """Whether a full disk (or a used-up quota) is behind the error."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in FULL:
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def main() -> None:
    """Work for the process at the other end of stdin and stdout; ends this process."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # libraries that print must not speak in between
    sys.stderr = log_stream(2)
    worker = _Worker(out)
    # Ctrl-C reaches every process of a terminal; it is the queue's business what follows.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, worker.on_signal)
    reader = threading.Thread(target=worker.listen, args=(sys.stdin.buffer,), daemon=True)
    reader.start()
    from pipelines.memory import keep_freed_memory

    keep_freed_memory()
    with suppress(BrokenPipeError, KeyboardInterrupt):
        worker.work()
    sys.stderr.flush()
    # The network may still be in the middle of a frame, which nothing interrupts.
    os._exit(0)


if __name__ == "__main__":
    main()

"""The watcher: looks at the folder, queues what has settled, and has it done."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath
from queue import Empty, SimpleQueue

from pipelines.queue.job import Job, identify
from pipelines.queue.ledger import Ledger
from pipelines.queue.lock import Lock
from pipelines.queue.messages import Failed, Message
from pipelines.queue.names import candidates
from pipelines.queue.process import check_system
from pipelines.queue.run import Listener, Queue, Runner
from pipelines.watch.find import Found, Settling, find, has_writer
from pipelines.watch.notify import Notifier, network_file_system
from pipelines.watch.request import WatchRequest, is_same_folder
from vsr.errors import UsageError

__all__ = ["Said", "Watcher"]

# With the system's help, looking is for what it failed to tell; without, it is all there is.
_RARELY, _OFTEN = 60.0, 10.0
_TURN_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Said:
    """Something about the watcher itself, one sentence; ``warning``: not as it should be."""

    text: str
    warning: bool = False


class Watcher:
    """Watches one folder; a context manager, in which :meth:`run` is called once.

    Args:
        request: what to do.
        on_event: called with what happens: :class:`Said`, or a job and its worker's message. Calls
            come from several threads, one at a time.
        clock: seconds since the epoch, for the ledger.
        steady: seconds that never go back, for settling.
        written: whether a file is being written.

    Raises:
        VsrError: the request cannot be done, or another watcher does it.
    """

    def __init__(
        self,
        request: WatchRequest,
        *,
        on_event: Callable[[Said | tuple[Job, Message]], None] | None = None,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
        written: Callable[[Path], bool] = has_writer,
    ) -> None:
        check_system()
        request.check()
        self._request = request
        self._clock = clock
        self._telling = threading.Lock()
        self._on_event = on_event or (lambda _event: None)
        self._settling = Settling(request.settle, clock=steady, written=written)
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._work = threading.Event()
        self._stopping = False
        self._no_more = False
        self._exit_code = 0
        self._failure: BaseException | None = None
        self._problems: set[str] = set()
        self._poll: float = request.poll or _RARELY
        self._around = _inside(request.source, request.destination)
        self.home = request.home.absolute()
        self.lock = Lock(request.ledger_path)
        try:
            self.ledger = Ledger(request.ledger_path)
            self._introduce()
            self._queue = self._make_queue()
        except BaseException:
            self.lock.release()
            raise
        self._runners = [Runner(self._queue) for _ in range(request.workers)]

    def _introduce(self) -> None:
        """Make sure the ledger is about this folder: its paths are relative."""
        source = os.path.realpath(self._request.source)
        known = self.ledger.fact("source")
        if known is not None and known != source:
            self.ledger.close()
            raise UsageError(
                f"this ledger is about the folder {known}",
                where=str(self._request.ledger_path),
                remedy="Watch that folder, write to another one, or choose another --ledger.",
            )
        self.ledger.remember("source", source)
        self.ledger.remember("destination", os.path.realpath(self._request.destination))

    def _make_queue(self) -> Queue:
        request = self._request
        heard: Listener = lambda job, message: self._tell((job, message))  # noqa: E731
        return Queue(
            self.ledger,
            request.source,
            destination=self._destination,
            wishes=request.wishes,
            policy=request.policy,
            settings=request.settings,
            home=self.home,
            quarantine=request.quarantine_path.absolute(),
            listener=heard,
            inherit=(self.lock.descriptor,),
            clock=self._clock,
        )

    def close(self) -> None:
        """Let go of ledger and lock."""
        self.ledger.close()
        self.lock.release()

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stop(self) -> None:
        """Stop soon; safe to call from a signal handler."""
        self._stopping = True
        self._wake.put(None)

    def run(self) -> int:
        """Watch until :meth:`stop`, or with ``once`` until what is there is done.

        What is being done is stopped; it goes on when a watcher begins again.

        Returns:
            With ``once`` the exit code of the first file that failed; 0 if none did, or without.

        Raises:
            VsrError: the ledger cannot be written any more.
        """
        notifier: Notifier | None = None
        threads = [
            threading.Thread(target=self._feed, args=(runner,), name="runner")
            for runner in self._runners
        ]
        try:
            for job in self.ledger.recover():
                self._tell(Said(f"{job.path} was cut off, and goes on"))
            notifier = self._notifier()
            for thread in threads:
                thread.start()
            self._watch()
        finally:
            self._queue.stopping.set()
            self._no_more = True
            for runner in self._runners:
                runner.worker.stop()
            self._work.set()
            if notifier is not None:
                notifier.stop()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
            for runner in self._runners:
                runner.worker.end()
        if self._failure is not None:
            raise self._failure
        return self._exit_code if self._request.once else 0

    def _watch(self) -> None:
        begun = self._settling.now()
        while not self._stopping and self._failure is None:
            self._look()
            self._work.set()
            wait = self._settling.wait()
            if self._request.once:
                late = self._settling.now() - begun > self._request.settle
                if wait is None or late:
                    self._finish()
                    return
            self._sleep(self._poll if wait is None else min(max(wait, _TURN_SECONDS), self._poll))

    def _finish(self) -> None:
        """Let the runners do what is due, and no more."""
        self._no_more = True
        self._work.set()
        while not self._stopping and self._failure is None and self._busy():
            self._sleep(_TURN_SECONDS / 5)

    def _busy(self) -> bool:
        return self._queue.twins.waiting() or self.ledger.busy(now=self._clock())

    def _sleep(self, seconds: float) -> None:
        """Wait, less if something happens; a burst of changes wakes once."""
        try:
            self._wake.get(timeout=max(seconds, 0.0))
            while True:
                self._wake.get_nowait()
        except Empty:
            return

    def _notifier(self) -> Notifier | None:
        request = self._request
        if request.once or request.poll is not None:
            return None
        kind = network_file_system(request.source)
        if kind is not None:
            self._poll = _OFTEN
            said = f"{request.source} is on a network drive ({kind}), which tells of no changes"
            self._tell(Said(f"{said}: looking every {_OFTEN:g} s"))
            return None
        # If the folder of results is around the watched one, all that happens is in it.
        own = self._own()[:-1] if self._around else self._own()
        return Notifier(
            request.source,
            skip=own,
            changed=lambda: self._wake.put(None),
            failed=self._cannot_be_told,
        )

    def _cannot_be_told(self, error: Exception) -> None:
        self._poll = _OFTEN
        what = f"the system does not tell of changes ({error}): looking every {_OFTEN:g} s"
        self._tell(Said(what, warning=True))
        self._wake.put(None)

    def _own(self) -> tuple[Path, ...]:
        """Folders in which nothing is a source."""
        request = self._request
        return request.quarantine_path, request.home, request.destination

    def _look(self) -> None:
        """Look at the whole folder once, and queue what is new and settled."""
        request = self._request
        if not request.source.is_dir():
            self._problem(f"{request.source} is not there: waiting for it")
            return
        known = self.ledger.known()
        # A folder of results may hold the watched one, and one day a result lie in it.
        results = {os.path.realpath(job.destination) for job in known.values() if self._around}
        seen = set()
        for found in find(
            request.source,
            request.wanted,
            skip=self._own(),
            problem=lambda error: self._problem(f"{error.filename}: {error.strerror}"),
        ):
            seen.add(found.path)
            if (
                self._is_news(found, known.get(found.path))
                and os.path.realpath(request.source / found.path) not in results
                and self._settling.settled(request.source, found)
            ):
                self.ledger.add(found.path, found.identity, now=self._clock())
        self._settling.keep(seen)

    def _is_news(self, found: Found, job: Job | None) -> bool:
        if job is None:
            return True
        if job.state == "running":
            return False  # looked at again when it is done
        if job.state == "gone" or (job.state == "quarantined" and job.moved_to):
            return True  # it has come back
        return not job.identity.same_content(found.identity)

    def _problem(self, text: str) -> None:
        """Say once what will be met at every look."""
        if text not in self._problems:
            self._problems.add(text)
            self._tell(Said(text, warning=True))

    def _tell(self, event: Said | tuple[Job, Message]) -> None:
        with self._telling:
            if isinstance(event, tuple) and isinstance(event[1], Failed):
                self._exit_code = self._exit_code or event[1].exit_code
            self._on_event(event)

    def _feed(self, runner: Runner) -> None:
        try:
            while not self._queue.stopping.is_set():
                if runner.run_next():
                    continue
                if self._no_more and not self._busy():
                    return
                self._work.wait(_TURN_SECONDS)
                self._work.clear()
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            self._failure = error
            self._wake.put(None)

    def _destination(self, job: Job) -> Path:
        """The name of the job's result, reserved for it."""
        if job.destination:
            reserved = Path(job.destination)
            ours = job.interruptions > 0 or (job.result is not None and _is(reserved, job))
            if ours or not os.path.lexists(reserved):
                return reserved
        source = PurePath(job.path)
        folder = self._request.destination.absolute()
        for name in candidates(Path(source), self._request.ending(source.suffix)):
            # A source of that very name has the first right to it.
            other = name != Path(source) and os.path.lexists(self._request.source / name)
            path = folder / name
            taken = other or os.path.lexists(path)
            if not taken and self.ledger.take_destination(job, path):
                return path
        raise AssertionError("names do not end")


def _inside(folder: Path, other: Path) -> bool:
    """Whether ``folder`` is in ``other``; names need not tell, where there are mounts."""
    path = Path(os.path.realpath(folder))
    return any(is_same_folder(around, other) for around in (path, *path.parents))


def _is(path: Path, job: Job) -> bool:
    """Whether the job's own result is at ``path``, unchanged."""
    try:
        return job.result is not None and identify(path).same_content(job.result)
    except OSError:
        return False

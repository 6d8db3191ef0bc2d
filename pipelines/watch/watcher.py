"""The watcher: looks at the folder, queues what has settled, and has it done."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath
from queue import Empty, SimpleQueue

from pipelines.queue.job import NO_ROOM, Identity, Job, is_at
from pipelines.queue.ledger import Ledger
from pipelines.queue.lock import Lock
from pipelines.queue.messages import Failed, Message
from pipelines.queue.names import candidates
from pipelines.queue.process import check_system
from pipelines.queue.run import Listener, Queue, Runner
from pipelines.watch.find import Found, Settling, find, has_writer
from pipelines.watch.notify import Notifier, network_file_system
from pipelines.watch.request import WatchRequest, is_same_folder
from vsr.errors import EXIT_CODES, OutputError, UsageError

__all__ = ["Said", "Watcher"]

# With the system's help, looking is for what it failed to tell; without, it is all there is.
_RARELY, _OFTEN = 60.0, 10.0
_TURN_SECONDS = 0.5
_FULL_SECONDS = 10.0
# Sources that are queued at once: each time costs a wait for the disk, and holds up who begins.
_BATCH = 200


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
            self.ledger = Ledger(request.ledger_path, full=self._wait_for_room)
            self._introduce()
            self._queue = self._make_queue()
            self._find_results()
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

    def _find_results(self) -> None:
        """What is not where it was is here, if the folder of results has another name now."""
        moved = [
            job
            for job in self.ledger.known().values()
            if not self._is_in_place(job) and not os.path.lexists(job.destination)
        ]
        for job in moved:
            # There is something if it is not the same folder, and nobody would look there again.
            left = self._queue.own.abandon(job)
            if left:
                self._tell(Said(f"{job.path}: {left}"))
        if moved:
            self.ledger.move_destinations({job.id: self._place(job) for job in moved})

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
            With ``once`` the exit code of the first file that failed, or else that of a full disk
            if a file still waits for room. 0 if neither, or without ``once``.

        Raises:
            VsrError: the ledger cannot be written any more.
        """
        notifier: Notifier | None = None
        threads = [
            threading.Thread(target=self._feed, args=(runner,), name="runner")
            for runner in self._runners
        ]
        try:
            self._check_ledger()
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
        return (self._exit_code or self._room_code()) if self._request.once else 0

    def _room_code(self) -> int:
        """The exit code of a full disk if that keeps something from being done; else 0."""
        queued = [] if self._stopping else self.ledger.jobs(("queued",))
        waits = any(job.reason.startswith(NO_ROOM) for job in queued)
        return EXIT_CODES[OutputError] if waits else 0

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

    def _check_ledger(self) -> None:
        place = self._request.ledger_path
        kind = network_file_system(place.parent)
        if kind is not None:
            what = f"the ledger {place} is on a network drive ({kind}), where it may break"
            self._tell(Said(f"{what}: choose a place on this machine with --ledger", warning=True))

    def _wait_for_room(self) -> bool:
        """The ledger's disk is full: whether to try again, after a while."""
        if self._request.once:
            return False
        self._problem(f"no room for the ledger {self._request.ledger_path}: waiting for it")
        until = time.monotonic() + _FULL_SECONDS
        while not self._stopping and self._failure is None:
            if time.monotonic() >= until:
                return True
            time.sleep(_TURN_SECONDS)
        return False

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
        self.ledger.cap(self._clock() + request.policy.most)
        known = self.ledger.known()
        # A folder of results may hold the watched one, and one day a result lie in it.
        results = {os.path.realpath(job.destination) for job in known.values() if self._around}
        seen = set()
        news: list[tuple[str, Identity]] = []
        for found in find(
            request.source,
            request.wanted,
            skip=self._own(),
            problem=lambda error: self._problem(f"{error.filename}: {error.strerror}"),
            stopped=lambda: self._stopping,
        ):
            seen.add(found.path)
            if (
                self._is_news(found, known.get(found.path))
                and os.path.realpath(request.source / found.path) not in results
                and self._settling.settled(request.source, found)
            ):
                news.append((found.path, found.identity))
                if len(news) == _BATCH:
                    self._queue_all(news)
        if not self._stopping:
            self._queue_all(news)
            self._settling.keep(seen)

    def _queue_all(self, news: list[tuple[str, Identity]]) -> None:
        if news:
            self.ledger.add_all(news, now=self._clock())
            self._work.set()
            news.clear()

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
        source = PurePath(job.path)
        folder, ending = self._request.destination.absolute(), self._request.ending(source.suffix)
        if job.destination:
            reserved = Path(job.destination)
            keeps = self._is_in_place(job) and reserved.suffix == ending
            if keeps and (is_at(reserved, job.result) or not os.path.lexists(reserved)):
                return reserved
        for name in candidates(Path(source), ending):
            # A source of that very name has the first right to it.
            other = name != Path(source) and os.path.lexists(self._request.source / name)
            path = folder / name
            taken = other or os.path.lexists(path)
            if not taken and self.ledger.take_destination(job, path):
                return path
        raise AssertionError("names do not end")

    def _place(self, job: Job) -> Path:
        """Where the name that is reserved for the job's result is in the folder of results."""
        folder = self._request.destination.absolute()
        return folder / PurePath(job.path).with_name(PurePath(job.destination).name)

    def _is_in_place(self, job: Job) -> bool:
        """Whether the name that is reserved for the job's result, if one is, is there."""
        if not job.destination:
            return True
        reserved, place = Path(job.destination), self._place(job)
        return reserved == place or is_same_folder(reserved.parent, place.parent)


def _inside(folder: Path, other: Path) -> bool:
    """Whether ``folder`` is in ``other``; names need not tell, where there are mounts."""
    path = Path(os.path.realpath(folder))
    return any(is_same_folder(around, other) for around in (path, *path.parents))

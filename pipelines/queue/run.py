"""Does what is queued: takes a job, has a worker do it, and records what became of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.events import Progress
from pipelines.queue.job import Identity, Job, identify
from pipelines.queue.ledger import Ledger, LedgerError
from pipelines.queue.log import add_traceback, add_verdict
from pipelines.queue.messages import (
    Failed,
    Finished,
    Message,
    NoRoom,
    Order,
    Outcome,
    Planned,
    failed_by,
)
from pipelines.queue.names import remove_leftovers
from pipelines.queue.process import Worker
from pipelines.queue.quarantine import set_aside
from pipelines.queue.twins import Twins, digest_of, share
from vsr.errors import OutputError, VsrError
from vsr.media.av_errors import map_av_error

__all__ = ["Listener", "Policy", "Queue", "Runner"]

#: Called with the job and what its worker said, from the thread that runs it.
Listener = Callable[[Job, Message], None]

_PROGRESS_SECONDS = 1.0
_WAIT_FOR_ROOM = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """When a job is tried again, and when it is given up.

    Attributes:
        attempts: failures after which it is quarantined.
        delay: seconds before the second attempt; each further one waits twice as long.
        longest: most seconds between two attempts.
        interruptions: how often it may be cut off with its process before that counts as a failure
            of its own: a file that brings the machine down must not do so for ever.
        keep_free: bytes that stay free on the disk of the results; ``None``: room is not looked at.
    """

    attempts: int = 3
    delay: float = 60.0
    longest: float = 3600.0
    interruptions: int = 5
    keep_free: int | None = None

    def wait(self, attempts: int) -> float:
        """Seconds from the ``attempts``-th failure to the next attempt."""
        return float(min(self.delay * 2 ** (attempts - 1), self.longest))


class Queue:
    """What all runners of one ledger share.

    Args:
        ledger: where jobs come from and states go.
        root: folder that the jobs' paths are relative to.
        destination: the path of a job's result, reserved in the ledger.
        wishes: for :func:`pipelines.upscale.prepare_upscale`.
        policy: retries and room.
        settings: digest of everything that a result depends on besides its source; with it,
            sources of the same content are done once. Empty: each is done.
        home: folder for logs and pictures, ``None`` for neither.
        quarantine: folder for what cannot be done, ``None``: sources stay where they are.
        listener: hears what workers say.
        inherit: descriptors that worker processes keep open.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        ledger: Ledger,
        root: Path,
        *,
        destination: Callable[[Job], Path],
        wishes: Mapping[str, Any],
        policy: Policy,
        settings: str = "",
        home: Path | None = None,
        quarantine: Path | None = None,
        listener: Listener | None = None,
        inherit: tuple[int, ...] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.ledger = ledger
        self.root = root
        self.destination = destination
        self.wishes = dict(wishes)
        self.policy = policy
        self.settings = settings
        self.home = home
        self.quarantine = quarantine
        self.tell = listener or (lambda _job, _message: None)
        self.inherit = inherit
        self.clock = clock
        self.stopping = threading.Event()
        self.twins = Twins(ledger, clock)
        self._reserving = threading.Lock()
        self._needs: dict[int, int] = {}

    def source(self, job: Job) -> str:
        """Where a job's source is: a path, or a URL as it was named."""
        return job.path if "://" in job.path else str(self.root / job.path)

    def log(self, job: Job) -> Path | None:
        """Where the log of a job is."""
        return None if self.home is None else self.home / "logs" / f"{job.id}.log"

    def reserve(self, job: Job, need: int | None) -> None:
        """Count ``need`` bytes as taken while ``job`` runs; ``None`` frees them."""
        with self._reserving:
            self._needs.pop(job.id, None)
            if need is not None:
                self._needs[job.id] = need

    def reserved(self) -> int:
        """Bytes that running jobs may take."""
        with self._reserving:
            return sum(self._needs.values())


class Runner:
    """One worker process, and the loop that feeds it."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._ledger = queue.ledger
        self.worker = Worker(inherit=queue.inherit)

    def run_next(self) -> bool:
        """Do the job whose turn it is; ``False`` if none is due."""
        job = self._ledger.claim(now=self._queue.clock())
        if job is None:
            return False
        try:
            self._run(job)
        except BaseException:
            # Also Ctrl-C: what was begun is not lost, and not held against the file.
            now = self._ledger.job(job.id)
            if now is not None and now.state == "running":
                self._again(job, "was stopped, and goes on")
            raise
        finally:
            self._queue.reserve(job, None)
            self._queue.twins.release(job)
        return True

    def _run(self, job: Job) -> None:
        # Told from here: further in, a listener's error would be held against the file.
        for message in self._course(job):
            ended = isinstance(message, Outcome)
            self._queue.tell(self._ledger.job(job.id) or job if ended else job, message)

    def _course(self, job: Job) -> Iterator[Message]:
        """Do it; yields what there is to tell, at last what the ledger knows already."""
        try:
            try:
                begun = self._begin(job)
            except LedgerError:
                raise
            except (OSError, VsrError) as error:
                # Something about this file's surroundings; the others may well be done.
                begun = self._fail(job, failed_by(error))
            if isinstance(begun, Order):
                yield from self._work(job, begun)
            elif begun is not None:
                yield begun
        except LedgerError:
            raise
        except Exception as error:  # noqa: BLE001 - a bug; the others may well be done
            self.worker.end()  # it may be in the middle of the file
            log = self._queue.log(job)
            add_traceback(log, error)
            self._ledger.set(job, log=str(log or ""))
            yield self._fail(job, failed_by(error))

    def _begin(self, job: Job) -> Order | Finished | Failed | None:
        """What is to be done; or what has become of the job already, ``None`` if it waits."""
        if self._queue.home is not None and not self._is_as_queued(job):
            return None
        if job.interruptions > self._queue.policy.interruptions:
            self._ledger.set(job, interruptions=0)
            what = f"was cut off {job.interruptions} times together with vsr or the machine"
            return self._fail(job, Failed("Interrupted", what, job.path))
        destination = self._queue.destination(job)
        if self._queue.settings:
            self._ledger.set(job, settings=self._queue.settings)
            digest = self._digest(job)
            if digest is not None:
                twins = self._queue.twins.others(
                    job, digest, self._queue.settings, destination.suffix
                )
                if twins is None:
                    return None
                if self._taken_from(twins, job, destination):
                    return Finished(str(destination), None)
        if self._queue.stopping.is_set():
            self._again(job, "was stopped, and goes on")
            return None
        return self._order(job, destination)

    def _is_as_queued(self, job: Job) -> bool:
        """Whether the source is still there and the same; records it if not."""
        source = self._queue.source(job)
        try:
            identity = identify(Path(source))
        except FileNotFoundError:
            if self._queue.root.is_dir():
                self._set(job, state="gone", reason="the source is not there any more")
            else:
                self._again(job, f"{self._queue.root} is not there", _WAIT_FOR_ROOM)
            return False
        except OSError as error:
            raise map_av_error(error, source, "look at the file") from error
        if not identity.same_content(job.identity):
            # Found anew by the next look at the folder, which waits until it has settled.
            self._set(job, state="gone", reason="the source has changed before its turn")
            return False
        return True

    def _order(self, job: Job, destination: Path) -> Order:
        queue, log, pictures, wishes = self._queue, "", "", dict(self._queue.wishes)
        if queue.home is not None:
            log = str(queue.log(job))
            pictures = str(queue.home / "pictures" / str(job.id))
            self._ledger.set(job, log=log)
        recover = job.interruptions > 0
        if recover:
            remove_leftovers(destination)
        if self._is(destination, job.result):
            # The result of this source before it changed, which nobody has touched since.
            wishes["overwrite"], recover = True, False
        keep = queue.policy.keep_free
        return Order(
            source=queue.source(job),
            destination=str(destination),
            wishes=wishes,
            log=log,
            keep_free=None if keep is None else keep + queue.reserved(),
            recover=recover,
            pictures=pictures,
        )

    def _work(self, job: Job, order: Order) -> Iterator[Message]:
        due = 0.0
        for message in self._messages(order):
            if isinstance(message, Planned):
                self._queue.reserve(job, message.need)
                self._ledger.set(job, total=message.total, reason="")
            elif isinstance(message, Progress):
                now = self._queue.clock()
                if now >= due or message.frames == message.total:
                    due = now + _PROGRESS_SECONDS
                    self._ledger.set(job, frames=message.frames, fps=message.fps, eta=message.eta)
            elif isinstance(message, Outcome):
                self._record(job, order, message)
            yield message

    def _messages(self, order: Order) -> Iterator[Message]:
        try:
            yield from self.worker.do(order)
        except KeyboardInterrupt:
            # The result may have got its name in this very moment.
            last = self.worker.last()
            if isinstance(last, Finished):
                yield last
            raise

    def _record(self, job: Job, order: Order, outcome: Outcome) -> None:
        if isinstance(outcome, Finished):
            path = Path(outcome.destination)
            if outcome.report is not None:
                frames = outcome.report.frames_out
                self._ledger.set(job, frames=frames, total=frames)
            # What is missing in the result stays visible.
            given_up = outcome.report.given_up if outcome.report is not None else ()
            reason = f"given up: {' '.join(given_up)}" if given_up else ""
            try:
                result = identify(path)
            except OSError:
                # Somebody has taken it away at once, which is what results are for.
                result = None
            self._ledger.done(job, result, now=self._queue.clock(), reason=reason)
        elif isinstance(outcome, Failed) and outcome.name_taken and self._queue.home:
            # Somebody else's file has got the name meanwhile: choose another one.
            self._ledger.free_destination(job)
            self._again(job, "its name was taken, and it gets another")
        elif isinstance(outcome, Failed):
            if outcome.kind == "WorkerDied":
                with suppress(OSError):  # the folder is gone: so is what was left in it
                    remove_leftovers(Path(order.destination))
            self._fail(job, outcome)
        elif isinstance(outcome, NoRoom):
            need = f"needs {outcome.need / 1e9:.3g} GB" if outcome.need else "it is full"
            reason = f"waits for room on the disk: {need}, {outcome.free / 1e9:.3g} GB are free"
            self._again(job, reason, _WAIT_FOR_ROOM)
        else:
            self._again(job, "was stopped, and goes on")

    def _fail(self, job: Job, failed: Failed) -> Failed:
        """Record it; returns ``failed``, for those who are to hear of it."""
        # Nothing is held against a file for what is wrong with the machine or the settings.
        blameless = failed.blameless and self._queue.home is not None
        attempts, now = job.attempts + (not blameless), self._queue.clock()
        policy = self._queue.policy
        reason = failed.beside(job.path)
        values = {
            "attempts": attempts,
            "error": failed.kind,
            "exit_code": failed.exit_code,
            "reason": reason,
            "ended_at": now,
            "eta": None,
        }
        if blameless or attempts < policy.attempts:
            # What is tried without end must not keep the watcher busy.
            wait = max(policy.delay, _WAIT_FOR_ROOM) if blameless else policy.wait(attempts)
            self._ledger.set(job, state="failed", next_try=now + wait, **values)
            return failed
        # Moved first: the watcher takes no notice of the source of a running job.
        values |= {"state": "quarantined", **self._set_aside(job, failed, reason)}
        self._ledger.set(job, **values)
        return failed

    def _set_aside(self, job: Job, failed: Failed, reason: str) -> dict[str, Any]:
        """Move the source to the quarantine; what the ledger is to have of that."""
        folder, log = self._queue.quarantine, self._queue.log(job)
        if folder is None or log is None:
            return {}
        try:
            add_verdict(log, job.attempts + 1, failed)
            aside = set_aside(self._queue.root / job.path, job.identity, job.path, folder, log)
        except (OSError, OutputError) as error:
            why = error.what if isinstance(error, OutputError) else error.strerror
            stays = "it stays where it is, because moving it failed"
            return {"reason": f"{reason}; {stays}: {why}", "log": str(log)}
        if aside is None:
            # Found anew by the next look at the folder, as any other.
            reason += "; the source has changed or vanished meanwhile"
            return {"state": "gone", "reason": reason, "log": str(log)}
        return {"moved_to": str(aside.source), "log": str(aside.log)}

    def _again(self, job: Job, reason: str, wait: float = 0.0) -> None:
        next_try = self._queue.clock() + wait if wait else 0.0
        self._set(job, state="queued", reason=reason, next_try=next_try)

    def _set(self, job: Job, **values: Any) -> None:
        self._ledger.set(job, ended_at=self._queue.clock(), **values)

    def _is(self, path: Path, result: Identity | None) -> bool:
        try:
            return result is not None and identify(path).same_content(result)
        except OSError:
            return False

    def _taken_from(self, twins: list[Job], job: Job, destination: Path) -> bool:
        """Whether the result of another name of the same content is this job's, too."""
        for twin in twins:
            result = Path(twin.destination)
            if twin.state != "done" or not self._is(result, twin.result) or destination.exists():
                continue
            try:
                share(result, destination)
                identity = identify(destination)
            except OSError:
                return False  # it is made anew, and the run says what is wrong with its place
            reason = f"has the same content as {twin.path}: its result"
            self._ledger.done(job, identity, now=self._queue.clock(), reason=reason)
            return True
        return False

    def _digest(self, job: Job) -> str | None:
        if job.digest:
            return job.digest
        try:
            return digest_of(Path(self._queue.source(job)), self._queue.stopping.is_set)
        except OSError:
            return None  # the run itself will say what is wrong with the file

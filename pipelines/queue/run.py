"""Does what is queued: takes a job, has a worker do it, and records what became of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.events import Progress
from pipelines.queue.job import NO_ROOM, Job, identify, is_at
from pipelines.queue.ledger import Ledger, LedgerError
from pipelines.queue.log import add_note, add_traceback, add_verdict, begin_anew
from pipelines.queue.messages import (
    Failed,
    Finished,
    Made,
    Message,
    NoRoom,
    Order,
    Outcome,
    Planned,
    failed_by,
)
from pipelines.queue.policy import Blameless, Policy
from pipelines.queue.process import Worker
from pipelines.queue.quarantine import already_aside, set_aside
from pipelines.queue.result.own import Own, is_deleted
from pipelines.queue.room.share import Room
from pipelines.queue.twins import Twins, digest_of
from vsr.errors import OutputError, VsrError
from vsr.media.av_errors import map_av_error

__all__ = ["Listener", "Policy", "Queue", "Runner"]

#: Called with the job and what its worker said, from the thread that runs it.
Listener = Callable[[Job, Message], None]

_PROGRESS_SECONDS = 1.0
_WAIT_FOR_ROOM = 30.0
_RENAMED = "its name was taken, and it gets another"


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
        self.own = Own(ledger, self.source, destination if home else None)
        self.room = Room()
        self.blameless = Blameless()

    def source(self, job: Job) -> str:
        """Where a job's source is: a path, or a URL as it was named."""
        return job.path if "://" in job.path else str(self.root / job.path)

    def log(self, job: Job) -> Path | None:
        """Where the log of a job is."""
        return None if self.home is None else self.home / "logs" / f"{job.id}.log"


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
            self._queue.room.reserve(job, None)
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
        complete = self._queue.own.complete(job)
        if complete is not None:
            add_note(self._queue.log(job), self._queue.own.abandon(job))
            return self._done(job, Finished(str(complete), None))
        if self._queue.home is not None and not self._is_as_queued(job):
            return self._was_set_aside(job)
        if job.interruptions > self._queue.policy.interruptions:
            self._ledger.set(job, interruptions=0)
            what = f"was cut off {job.interruptions} times together with vsr or the machine"
            return self._fail(job, Failed("Interrupted", what, job.path))
        destination = self._queue.destination(job)
        if job.destination and job.destination != str(destination):
            add_note(self._queue.log(job), self._queue.own.abandon(job, job.destination))
        if self._queue.settings:
            self._ledger.set(job, settings=self._queue.settings)
            digest = self._digest(job)
            if digest is not None:
                twins = self._queue.twins.others(
                    job, digest, self._queue.settings, destination.suffix
                )
                if twins is None:
                    return None
                if self._queue.twins.take_result(twins, job, destination):
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
                left = self._queue.own.abandon(job) if is_deleted(source, job.identity) else ""
                self._gone(job, "the source is not there any more", left)
            else:
                self._again(job, f"{self._queue.root} is not there", _WAIT_FOR_ROOM)
            return False
        except OSError as error:
            raise map_av_error(error, source, "look at the file") from error
        if not identity.same_content(job.identity):
            # Found anew by the next look at the folder, which waits until it has settled.
            left = self._queue.own.abandon(job)
            self._gone(job, "the source has changed before its turn", left)
            return False
        return True

    def _order(self, job: Job, destination: Path) -> Order:
        queue, log, pictures, wishes = self._queue, "", "", dict(self._queue.wishes)
        if queue.home is not None:
            log = str(queue.log(job))
            begin_anew(Path(log))
            pictures = str(queue.home / "pictures" / str(job.id))
            self._ledger.set(job, log=log, made_size=None, made_mtime_ns=None)
        queue.own.remove_temporary(job, destination)
        if is_at(destination, job.result):
            # The result of this source before it changed, which nobody has touched since.
            wishes["overwrite"] = True
        return Order(
            source=queue.source(job),
            destination=str(destination),
            wishes=wishes,
            log=log,
            keep_free=queue.policy.keep_free,
            mark=queue.own.mark(job),
            pictures=pictures,
        )

    def _work(self, job: Job, order: Order) -> Iterator[Message]:
        due = 0.0
        for message in self._messages(job, order):
            if isinstance(message, Planned):
                self._ledger.set(job, total=message.total, reason="")
            elif isinstance(message, Progress):
                now = time.monotonic()
                if now >= due or message.frames == message.total:
                    due = now + _PROGRESS_SECONDS
                    self._ledger.set(job, frames=message.frames, fps=message.fps, eta=message.eta)
            elif isinstance(message, Outcome):
                message = self._record(job, order, message)
            yield message

    def _messages(self, job: Job, order: Order) -> Iterator[Message]:
        queue, room = self._queue, self._queue.room
        try:
            with ExitStack() as deciding:
                if order.keep_free is not None:
                    deciding.enter_context(room.deciding())
                    order = replace(order, keep_free=order.keep_free + room.reserved())
                for message in self.worker.do(order):
                    if isinstance(message, Planned):
                        room.reserve(job, message.need)
                    deciding.close()
                    if isinstance(message, Made):
                        self.worker.name(queue.own.name(job, order, message))
                    else:
                        yield message
        except KeyboardInterrupt:
            # The result may have got its name in this very moment.
            last = self.worker.last()
            if isinstance(last, Finished):
                yield last
            raise

    def _record(self, job: Job, order: Order, outcome: Outcome) -> Outcome:
        """Record it; returns it as it is to be told."""
        if isinstance(outcome, Finished):
            return self._done(job, outcome)
        complete = self._queue.own.complete(job)
        if complete is not None and self._queue.home is not None:
            # Whatever has ended the run came when there was nothing left to do.
            after = f"then: {outcome.beside(job.path)}" if isinstance(outcome, Failed) else ""
            return self._done(job, Finished(str(complete), None), after)
        if isinstance(outcome, Failed) and outcome.name_taken and self._queue.home:
            # Somebody else's file has got the name meanwhile: choose another one.
            left = self._queue.own.abandon(job, order.destination)
            self._ledger.free_destination(job)
            self._again(job, "; ".join(filter(None, [_RENAMED, left])))
        elif isinstance(outcome, Failed):
            if outcome.kind == "WorkerDied":
                with suppress(OutputError):  # said when it is tried again
                    self._queue.own.remove_temporary(job, Path(order.destination))
            self._fail(job, outcome)
        elif isinstance(outcome, NoRoom):
            need = f"needs {outcome.need / 1e9:.3g} GB" if outcome.need else "it is full"
            reason = f"{NO_ROOM}: {need}, {outcome.free / 1e9:.3g} GB are free"
            self._again(job, reason, _WAIT_FOR_ROOM)
        else:
            self._again(job, "was stopped, and goes on")
        return outcome

    def _done(self, job: Job, finished: Finished, reason: str = "") -> Finished:
        if finished.report is not None:
            frames = finished.report.frames_out
            self._ledger.set(job, frames=frames, total=frames)
            # What is missing in the result stays visible.
            given_up = " ".join(finished.report.given_up)
            reason = f"given up: {given_up}" if given_up else ""
        try:
            result = identify(Path(finished.destination))
        except OSError:
            # Somebody has taken it away at once, which is what results are for.
            result = None
        self._ledger.done(job, result, now=self._queue.clock(), reason=reason)
        return finished

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
            times = self._queue.blameless.times(job) if blameless else attempts
            wait = policy.wait(times, blameless=blameless)
            self._ledger.set(job, state="failed", next_try=now + wait, **values)
            return failed
        # Moved first: the watcher takes no notice of the source of a running job. The next one
        # tells by the attempts what this one was about, if it is cut off.
        self._ledger.set(job, **values)
        values |= {"state": "quarantined", **self._set_aside(job, failed, reason)}
        self._ledger.set(job, **values)
        return failed

    def _was_set_aside(self, job: Job) -> Failed | None:
        """Whether the watcher that moved away a source that is gone was cut off as it did so."""
        folder, log = self._queue.quarantine, self._queue.log(job)
        if folder is None or log is None or job.attempts < self._queue.policy.attempts:
            return None
        aside = already_aside(job.identity, job.path, folder, log)
        if aside is None:
            return None
        reason = f"{job.error}: the log says more; it was cut off as it was moved away"
        moved = {"moved_to": str(aside.source), "log": str(aside.log)}
        self._set(job, state="quarantined", reason=reason, **moved)
        return Failed(job.error, reason, job.path, "", job.exit_code)

    def _set_aside(self, job: Job, failed: Failed, reason: str) -> dict[str, Any]:
        """Move the source to the quarantine; what the ledger is to have of that."""
        folder, log = self._queue.quarantine, self._queue.log(job)
        if folder is None or log is None:
            return {}
        try:
            add_verdict(log, job.attempts + 1, failed, self._queue.own.abandon(job))
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

    def _gone(self, job: Job, *reasons: str) -> None:
        self._set(job, state="gone", reason="; ".join(filter(None, reasons)))

    def _again(self, job: Job, reason: str, wait: float = 0.0) -> None:
        next_try = self._queue.clock() + wait if wait else 0.0
        self._set(job, state="queued", reason=reason, next_try=next_try)

    def _set(self, job: Job, **values: Any) -> None:
        self._ledger.set(job, ended_at=self._queue.clock(), **values)

    def _digest(self, job: Job) -> str | None:
        if job.digest:
            return job.digest
        try:
            return digest_of(Path(self._queue.source(job)), self._queue.stopping.is_set)
        except OSError:
            return None  # the run itself will say what is wrong with the file

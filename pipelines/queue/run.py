"""Does what is queued: takes a job, has a worker do it, and records what became of it."""

from __future__ import annotations

import hashlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.events import Progress
from pipelines.queue.job import Identity, Job, identify
from pipelines.queue.ledger import Ledger
from pipelines.queue.messages import (
    Failed,
    Finished,
    Message,
    NoRoom,
    Order,
    Outcome,
    Planned,
    Stopped,
)
from pipelines.queue.names import leftovers
from pipelines.queue.process import Worker
from pipelines.queue.quarantine import set_aside

__all__ = ["Listener", "Policy", "Queue", "Runner"]

#: Called with the job and what its worker said, from the thread that runs it.
Listener = Callable[[Job, Message], None]

_PROGRESS_SECONDS = 1.0
_WAIT_FOR_ROOM = 30.0
# What is wrong with the machine or the settings is not the file's fault: nobody is quarantined.
_NOT_THE_FILES_FAULT = ("ModelError", "BackendError", "DependencyError", "PresetError")


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
        self.choosing = threading.Lock()
        self._needs: dict[int, int] = {}

    def reserve(self, job: Job, need: int | None) -> None:
        """Count ``need`` bytes as taken while ``job`` runs; ``None`` frees them."""
        with self.choosing:
            self._needs.pop(job.id, None)
            if need is not None:
                self._needs[job.id] = need

    def reserved(self) -> int:
        """Bytes that running jobs may take."""
        with self.choosing:
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
        return True

    def _run(self, job: Job) -> None:
        source = self._queue.root / job.path
        if self._queue.home is not None and not self._is_as_queued(job, source):
            return
        if job.interruptions > self._queue.policy.interruptions:
            self._ledger.set(job, interruptions=0)
            what = f"was cut off {job.interruptions} times together with vsr or the machine"
            self._fail(job, Failed("Interrupted", what, job.path))
            return
        destination = self._queue.destination(job)
        if self._queue.settings:
            self._ledger.set(job, settings=self._queue.settings)
            if self._taken_from_twin(job, source, destination):
                return
        if self._queue.stopping.is_set():
            self._again(job, "was stopped, and goes on")
            return
        self._work(job, self._order(job, source, destination))

    def _is_as_queued(self, job: Job, source: Path) -> bool:
        """Whether the source is still there and the same; records it if not."""
        try:
            identity = identify(source)
        except FileNotFoundError:
            if self._queue.root.is_dir():
                self._set(job, state="gone", reason="the source is not there any more")
            else:
                self._again(job, f"{self._queue.root} is not there", _WAIT_FOR_ROOM)
            return False
        except OSError as error:
            self._fail(job, Failed("InputError", f"{error.strerror}", str(source), "", 3))
            return False
        if not identity.same_content(job.identity):
            # Found anew by the next look at the folder, which waits until it has settled.
            self._set(job, state="gone", reason="the source has changed before its turn")
            return False
        return True

    def _order(self, job: Job, source: Path, destination: Path) -> Order:
        queue, log, pictures, wishes = self._queue, "", "", dict(self._queue.wishes)
        if queue.home is not None:
            log = str(queue.home / "logs" / f"{job.id}.log")
            pictures = str(queue.home / "pictures" / str(job.id))
            self._ledger.set(job, log=log)
        recover = job.interruptions > 0
        if recover:
            _clean(destination)
        if self._is(destination, job.result):
            # The result of this source before it changed, which nobody has touched since.
            wishes["overwrite"], recover = True, False
        keep = queue.policy.keep_free
        return Order(
            source=str(source),
            destination=str(destination),
            wishes=wishes,
            log=log,
            keep_free=None if keep is None else keep + queue.reserved(),
            recover=recover,
            pictures=pictures,
        )

    def _work(self, job: Job, order: Order) -> None:
        outcome: Outcome = Stopped()
        due = 0.0
        for message in self._messages(job, order):
            if isinstance(message, Planned):
                self._queue.reserve(job, message.need)
                self._ledger.set(job, total=message.total, reason="")
            elif isinstance(message, Progress):
                now = self._queue.clock()
                if now >= due or message.frames == message.total:
                    due = now + _PROGRESS_SECONDS
                    self._ledger.set(job, frames=message.frames, fps=message.fps, eta=message.eta)
            elif isinstance(message, Finished | Failed | NoRoom | Stopped):
                outcome = message
                self._record(job, order, outcome)
                self._heard(job, outcome)
                continue
            self._queue.tell(job, message)

    def _heard(self, job: Job, outcome: Outcome) -> None:
        """Tell what became of a job, as the ledger has it now."""
        self._queue.tell(self._ledger.job(job.id) or job, outcome)

    def _messages(self, job: Job, order: Order) -> Iterator[Message]:
        try:
            yield from self.worker.do(order)
        except KeyboardInterrupt:
            # The result may have got its name in this very moment.
            last = self.worker.last()
            if isinstance(last, Finished):
                self._record(job, order, last)
                self._heard(job, last)
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
            self._ledger.done(job, identify(path), now=self._queue.clock(), reason=reason)
        elif isinstance(outcome, Failed) and outcome.name_taken and self._queue.home:
            # Somebody else's file has got the name meanwhile: choose another one.
            self._ledger.free_destination(job)
            self._again(job, "its name was taken, and it gets another")
        elif isinstance(outcome, Failed):
            if outcome.kind == "WorkerDied":
                _clean(Path(order.destination))
            self._fail(job, outcome)
        elif isinstance(outcome, NoRoom):
            need = f"needs {outcome.need / 1e9:.3g} GB" if outcome.need else "it is full"
            reason = f"waits for room on the disk: {need}, {outcome.free / 1e9:.3g} GB are free"
            self._again(job, reason, _WAIT_FOR_ROOM)
        else:
            self._again(job, "was stopped, and goes on")

    def _fail(self, job: Job, failed: Failed) -> None:
        attempts, now = job.attempts + 1, self._queue.clock()
        policy = self._queue.policy
        values = {
            "attempts": attempts,
            "error": failed.kind,
            "exit_code": failed.exit_code,
            "reason": _sentence(job, failed),
            "ended_at": now,
            "eta": None,
        }
        if attempts < policy.attempts or (
            failed.kind in _NOT_THE_FILES_FAULT and self._queue.home is not None
        ):
            wait = policy.wait(attempts)
            self._ledger.set(job, state="failed", next_try=now + wait, **values)
            return
        self._ledger.set(job, state="quarantined", **values)
        if self._queue.quarantine is not None:
            self._set_aside(job, failed, self._queue.quarantine)

    def _set_aside(self, job: Job, failed: Failed, folder: Path) -> None:
        current = self._ledger.job(job.id)
        log = Path(current.log) if current is not None and current.log else None
        if log is None:
            log = Path(f"{self._queue.home}") / "logs" / f"{job.id}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"\nquarantined after {job.attempts + 1} attempts\n")
            file.write(f"{failed.where}: {failed.what}\n{failed.remedy}\n")
        try:
            moved, beside = set_aside(self._queue.root / job.path, job.path, folder, log)
        except OSError as error:
            reason = f"{_sentence(job, failed)}; it stays where it is, because moving it failed: "
            self._ledger.set(job, reason=f"{reason}{error.strerror}")
            return
        self._ledger.set(job, moved_to=str(moved or ""), log=str(beside))

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

    def _taken_from_twin(self, job: Job, source: Path, destination: Path) -> bool:
        """Whether another name of the same content settles this job, now or later."""
        digest = self._digest(job, source)
        if digest is None:
            return False
        with self._queue.choosing:
            twins = [
                twin
                for twin in self._ledger.twins(job, digest)
                if twin.settings == self._queue.settings
                and Path(twin.destination).suffix == destination.suffix
            ]
            running = next((twin for twin in twins if twin.state == "running"), None)
            self._ledger.set(job, digest=digest if running is None else "")
        if running is not None:
            self._again(job, f"has the same content as {running.path}, which is being done", 5.0)
            return True
        for twin in twins:
            result = twin.result
            whole = twin.state == "done" and result is not None
            if whole and self._is(Path(twin.destination), result) and not destination.exists():
                _share(Path(twin.destination), destination)
                reason = f"has the same content as {twin.path}: its result"
                now = self._queue.clock()
                self._ledger.done(job, identify(destination), now=now, reason=reason)
                self._heard(job, Finished(str(destination), None))
                return True
        return False

    def _digest(self, job: Job, source: Path) -> str | None:
        if job.digest:
            return job.digest
        found = hashlib.blake2b(digest_size=20)
        try:
            with source.open("rb") as file:
                while block := file.read(1 << 22):
                    found.update(block)
                    if self._queue.stopping.is_set():
                        return None
        except OSError:
            return None  # the run itself will say what is wrong with the file
        return found.hexdigest()


def _clean(destination: Path) -> None:
    for left in leftovers(destination):
        left.unlink(missing_ok=True)


def _share(result: Path, destination: Path) -> None:
    """Give a result another name, or a copy where the file system has no hard links."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    try:
        destination.hardlink_to(result)
    except FileExistsError:
        raise
    except OSError:
        part = destination.with_name(f".{destination.name}.part")
        with suppress(FileNotFoundError):
            part.unlink()
        shutil.copy2(result, part)
        part.rename(destination)


def _sentence(job: Job, failed: Failed) -> str:
    """What went wrong; the file is named beside it anyway."""
    if not failed.where or failed.where.endswith(job.path):
        return failed.what
    return f"{failed.where}: {failed.what}"

"""The ledger: what is known about every file, in SQLite, so that no crash forgets it.

It is in write-ahead mode: readers (``vsr watch status``, the page) never wait for the writer, and a
process that is killed between two statements leaves the last whole one. Each method is one
transaction. There is one writer, which holds the lock of :mod:`pipelines.queue.lock`; its threads
share one connection.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pipelines.queue.job import STATES, Identity, Job, State
from pipelines.queue.table.rows import (
    destination_key,
    identity_row,
    job_of,
    name_of,
    text_of,
    value_of,
)
from pipelines.queue.table.schema import ADD, READABLE, VERSION, Run, create, update
from vsr.errors import InputError, OutputError, VsrError

__all__ = ["Ledger", "LedgerError", "LedgerFullError"]

_T = TypeVar("_T")
# What SQLite calls it that there is no room: for its files, or for what its readers share.
_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)


class LedgerError(OutputError):
    """The ledger cannot be written: without it nothing may be done."""


class LedgerFullError(LedgerError):
    """There is no room on the ledger's disk; what was to be written is not."""


class Ledger:
    """Jobs and their states.

    Args:
        path: the database, created with its folder if missing; ``None``: in memory.
        read_only: for looking on while another process writes.
        full: asked when there is no room to write something: ``True``, after a while, for another
            try. It may be called from each thread that writes.

    Raises:
        InputError: ``read_only`` and there is none, or it is none of ours.
        LedgerError: it cannot be created or written.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        read_only: bool = False,
        full: Callable[[], bool] = lambda: False,
    ) -> None:
        self.path = path
        self._full = full
        self._lock = threading.RLock()
        self._kind: type[VsrError] = InputError if read_only else LedgerError
        if path is not None and read_only and not path.is_file():
            raise self._none_here()
        with self._errors():
            self._connection = self._open(path, read_only)
            try:
                self._prepare(read_only)
            except BaseException:
                self._connection.close()
                raise

    def _open(self, path: Path | None, read_only: bool) -> sqlite3.Connection:
        name = ":memory:"
        if path is not None:
            if not read_only:
                path.parent.mkdir(parents=True, exist_ok=True)
            name = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
            whole = not Path(f"{path}-wal").exists()
            if read_only and whole and not os.access(path.parent, os.W_OK):
                # A reader, too, makes files beside it, unless it is told that nobody writes.
                name += "&immutable=1"
        connection = sqlite3.connect(
            name, timeout=30, isolation_level=None, check_same_thread=False, uri=True
        )
        connection.row_factory = sqlite3.Row
        return connection

    def _none_here(self) -> InputError:
        return InputError(
            "there is no ledger here",
            where=str(self.path),
            remedy="Name the folder that a watcher writes to, or its ledger.",
        )

    def _prepare(self, read_only: bool) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if read_only and version == 0:  # an empty file, or a database of somebody else's
            raise self._none_here()
        if version not in (READABLE if read_only else (0, *READABLE)):
            raise self._kind(
                f"the ledger has the form {version}, this version of vsr knows {VERSION}",
                where=str(self.path),
                remedy="Use the version that made it, or begin with another ledger.",
            )
        if read_only:
            return
        self._connection.execute("PRAGMA journal_mode = WAL")
        # A job that is forgotten would be done twice: each transaction reaches the disk.
        self._connection.execute("PRAGMA synchronous = FULL")
        if version != VERSION:
            self._write(update if version else create)

    def close(self) -> None:
        """Close it; everything is on the disk already."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            full = getattr(error, "sqlite_errorcode", None) in _FULL
            kind = LedgerFullError if full and self._kind is LedgerError else self._kind
            raise kind(
                f"the ledger cannot be used: {error}",
                where=str(self.path or "memory"),
                remedy="It must be on a local disk with free space, and writable; --ledger "
                "chooses its place.",
            ) from error

    def _write(self, work: Callable[[Run], _T]) -> _T:
        """Do it in one transaction; if there is no room, again for as long as ``full`` says so."""
        while True:
            try:
                with self._transaction() as run:
                    return work(run)
            except LedgerFullError:
                # Asked with nothing held: others read meanwhile.
                if not self._full():
                    raise

    @contextmanager
    def _transaction(self) -> Iterator[Run]:
        with self._lock, self._errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection.execute
                self._connection.execute("COMMIT")
            except BaseException:
                # Some errors, such as that of a full disk, have rolled it back already.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _select(self, clause: str, values: Sequence[object] = ()) -> list[Job]:
        with self._lock, self._errors():
            rows = self._connection.execute(f"SELECT * FROM jobs {clause}", values)  # noqa: S608 - constants
            return [job_of(row) for row in rows]

    # Reading

    def job(self, number: int) -> Job | None:
        """The job with this number."""
        return next(iter(self._select("WHERE id = ?", (number,))), None)

    def at(self, path: str) -> Job | None:
        """The job of the source at ``path``."""
        return next(iter(self._select("WHERE path = ?", (name_of(path),))), None)

    def jobs(self, states: Iterable[State] = (), *, limit: int = -1) -> list[Job]:
        """Jobs in these states (all by default): what happened last first, then those queued."""
        wanted = tuple(states) or tuple(STATES)
        return self._select(
            f"WHERE state IN ({', '.join('?' * len(wanted))}) "
            "ORDER BY CASE state WHEN 'queued' THEN -id "
            "ELSE coalesce(ended_at, started_at, queued_at) END DESC, id DESC LIMIT ?",
            (*wanted, limit),
        )

    def known(self) -> dict[str, Job]:
        """Every job by the path of its source."""
        return {job.path: job for job in self._select("ORDER BY id")}

    def counts(self) -> dict[State, int]:
        """How many jobs are in each state, those of 0 included."""
        with self._lock, self._errors():
            rows = self._connection.execute("SELECT state, count(*) FROM jobs GROUP BY state")
            found = dict(iter(tuple(row) for row in rows))
        return {state: found.get(state, 0) for state in STATES}

    def twins(self, job: Job, digest: str) -> list[Job]:
        """Other jobs whose source had the same content, whatever their state."""
        clause = "WHERE size = ? AND digest = ? AND id <> ? ORDER BY id"
        return self._select(clause, (job.identity.size, digest, job.id))

    def next_time(self) -> float | None:
        """When the next waiting job may be begun; ``None`` if none waits."""
        with self._lock, self._errors():
            (when,) = self._connection.execute(
                "SELECT min(next_try) FROM jobs WHERE state IN ('queued', 'failed')"
            ).fetchone()
        return None if when is None else float(when)

    def busy(self, *, now: float) -> bool:
        """Whether a job is running or due: in one look, so that none slips through."""
        with self._lock, self._errors():
            row = self._connection.execute(
                "SELECT 1 FROM jobs WHERE state = 'running' "
                "OR (state IN ('queued', 'failed') AND next_try <= ?) LIMIT 1",
                (now,),
            )
            return row.fetchone() is not None

    def fact(self, name: str) -> str | None:
        """What was remembered under ``name``."""
        with self._lock, self._errors():
            row = self._connection.execute("SELECT value FROM facts WHERE name = ?", (name,))
            found = row.fetchone()
        return None if found is None else text_of(found[0])

    # Writing

    def remember(self, name: str, value: str) -> None:
        """Remember a fact about the whole ledger."""
        statement = "INSERT OR REPLACE INTO facts VALUES (?, ?)"
        self._write(lambda run: run(statement, (name, name_of(value))))

    def add(self, path: str, identity: Identity, *, now: float) -> Job:
        """Queue a source; one that is known is queued again, with nothing held against it.

        How often it was completed, its result and its destination stay known, so that the result
        of a source that has changed can replace the earlier one.
        """
        (job,) = self.add_all([(path, identity)], now=now)
        return job

    def add_all(self, sources: Sequence[tuple[str, Identity]], *, now: float) -> list[Job]:
        """Queue all of these as :meth:`add` does, in one transaction: each waits for the disk."""

        def work(run: Run) -> list[Job]:
            return [
                job_of(run(ADD, (name_of(path), *identity_row(identity), now)).fetchone())
                for path, identity in sources
            ]

        return self._write(work)

    def claim(self, *, now: float) -> Job | None:
        """Begin the job whose turn it is; ``None`` if none is due."""
        statement = (
            "UPDATE jobs SET state = 'running', started_at = ?, ended_at = NULL, "
            "frames = 0, total = NULL, fps = 0, eta = NULL "
            "WHERE id = (SELECT id FROM jobs WHERE state IN ('queued', 'failed') "
            "AND next_try <= ? ORDER BY next_try > 0, next_try, id LIMIT 1) RETURNING *"
        )
        row = self._write(lambda run: run(statement, (now, now)).fetchone())
        return None if row is None else job_of(row)

    def cap(self, latest: float) -> None:
        """Let nothing wait beyond ``latest``: such a time comes from a clock that was wrong."""
        statement = (
            "UPDATE jobs SET next_try = ? WHERE state IN ('queued', 'failed') AND next_try > ?"
        )
        self._write(lambda run: run(statement, (latest, latest)))

    def take_destination(self, job: Job, destination: Path) -> bool:
        """Reserve a name for the result; ``False`` if another job has it.

        Names that differ in case alone count as one, as they do on many file systems.
        """
        try:
            statement = (
                "UPDATE jobs SET destination = ?, destination_key = ?, result_size = NULL, "
                "result_mtime_ns = NULL, made_size = NULL, made_mtime_ns = NULL WHERE id = ?"
            )
            values = (name_of(str(destination)), destination_key(destination), job.id)
            self._write(lambda run: run(statement, values))
        except LedgerError as error:
            if isinstance(error.__cause__, sqlite3.IntegrityError):
                return False
            raise
        return True

    def free_destination(self, job: Job) -> None:
        """Give the reserved name back."""
        self.set(job, destination="", destination_key=None)

    def move_destinations(self, moved: Mapping[int, Path]) -> None:
        """The names reserved for these jobs, by their numbers, are in another folder now.

        Where another job has the new name already, none is reserved.
        """

        def work(run: Run) -> None:
            for number in moved:
                free = "UPDATE jobs SET destination = '', destination_key = NULL WHERE id = ?"
                run(free, (number,))
            for number, path in moved.items():
                values = (name_of(str(path)), destination_key(path), number)
                run(
                    "UPDATE OR IGNORE jobs SET destination = ?, destination_key = ? WHERE id = ?",
                    values,
                )

        self._write(work)

    def made(self, job: Job, result: Identity | None) -> None:
        """Remember what is about to get the result's name; ``None``: nothing is."""
        size, mtime = (None, None) if result is None else (result.size, result.mtime_ns)
        self.set(job, made_size=size, made_mtime_ns=mtime)

    def set(self, job: Job, **values: Any) -> None:
        """Write columns of a job by name, all at once."""
        columns = {name: value_of(value) for name, value in values.items()}
        assignments = ", ".join(f"{name} = ?" for name in columns)
        statement = f"UPDATE jobs SET {assignments} WHERE id = ?"  # noqa: S608 - names of columns
        self._write(lambda run: run(statement, (*columns.values(), job.id)))

    def done(self, job: Job, result: Identity | None, *, now: float, reason: str = "") -> None:
        """The result is there, or was (``None``) until somebody took it away."""
        size, mtime = (None, None) if result is None else (result.size, result.mtime_ns)
        statement = (
            "UPDATE jobs SET state = 'done', completions = completions + 1, reason = ?, "
            "result_size = ?, result_mtime_ns = ?, made_size = NULL, made_mtime_ns = NULL, "
            "ended_at = ?, error = '', exit_code = 0, eta = NULL WHERE id = ?"
        )
        self._write(lambda run: run(statement, (reason, size, mtime, now, job.id)))

    def recover(self) -> list[Job]:
        """What was running when the last writer was cut off; queues it again.

        Call with the lock held, before anything is claimed.
        """
        cut_off = self._select("WHERE state = 'running' ORDER BY id")
        statement = (
            "UPDATE jobs SET state = 'queued', interruptions = interruptions + 1, "
            "reason = 'was cut off, and goes on' WHERE state = 'running'"
        )
        self._write(lambda run: run(statement))
        return cut_off

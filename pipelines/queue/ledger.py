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
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.queue.job import STATES, Identity, Job, State
from vsr.errors import InputError, OutputError, VsrError

__all__ = ["Ledger", "LedgerError"]

_VERSION = 1
_SCHEMA = """
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    path UNIQUE NOT NULL,  -- text, or bytes where a name is not UTF-8
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    inode TEXT NOT NULL, device TEXT NOT NULL,  -- text: they may need 64 bits without a sign
    state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0, interruptions INTEGER NOT NULL DEFAULT 0,
    completions INTEGER NOT NULL DEFAULT 0, next_try REAL NOT NULL DEFAULT 0,
    destination NOT NULL DEFAULT '', destination_key TEXT UNIQUE,
    result_size INTEGER, result_mtime_ns INTEGER,
    digest TEXT NOT NULL DEFAULT '', settings TEXT NOT NULL DEFAULT '',
    error TEXT NOT NULL DEFAULT '', exit_code INTEGER NOT NULL DEFAULT 0,
    log NOT NULL DEFAULT '', moved_to NOT NULL DEFAULT '',
    frames INTEGER NOT NULL DEFAULT 0, total INTEGER, fps REAL NOT NULL DEFAULT 0, eta REAL,
    queued_at REAL NOT NULL, started_at REAL, ended_at REAL
);
CREATE INDEX jobs_by_turn ON jobs (state, next_try, id);
CREATE INDEX jobs_by_content ON jobs (size, digest);
CREATE TABLE facts (name TEXT PRIMARY KEY, value NOT NULL);
"""


class LedgerError(OutputError):
    """The ledger cannot be written: without it nothing may be done."""


class Ledger:
    """Jobs and their states.

    Args:
        path: the database, created with its folder if missing; ``None``: in memory.
        read_only: for looking on while another process writes.

    Raises:
        InputError: ``read_only`` and there is none, or it is none of ours.
        LedgerError: it cannot be created or written.
    """

    def __init__(self, path: Path | None, *, read_only: bool = False) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._kind: type[VsrError] = InputError if read_only else LedgerError
        if path is not None and read_only and not path.is_file():
            raise InputError(
                "there is no ledger here",
                where=str(path),
                remedy="Name the folder that a watcher writes to, or its ledger.",
            )
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

    def _prepare(self, read_only: bool) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version not in ((_VERSION,) if read_only else (0, _VERSION)):
            raise self._kind(
                f"the ledger has the form {version}, this version of vsr knows {_VERSION}",
                where=str(self.path),
                remedy="Use the version that made it, or begin with another ledger.",
            )
        if read_only:
            return
        self._connection.execute("PRAGMA journal_mode = WAL")
        # A job that is forgotten would be done twice: each transaction reaches the disk.
        self._connection.execute("PRAGMA synchronous = FULL")
        if version == 0:
            with self._transaction() as run:
                for statement in _SCHEMA.split(";\n"):
                    run(statement)
                run(f"PRAGMA user_version = {_VERSION}")

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
            raise self._kind(
                f"the ledger cannot be used: {error}",
                where=str(self.path or "memory"),
                remedy="It must be on a local disk with free space, and writable; --ledger "
                "chooses its place.",
            ) from error

    @contextmanager
    def _transaction(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        with self._lock, self._errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection.execute
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _select(self, clause: str, values: Sequence[object] = ()) -> list[Job]:
        with self._lock, self._errors():
            rows = self._connection.execute(f"SELECT * FROM jobs {clause}", values)  # noqa: S608 - constants
            return [_job(row) for row in rows]

    # Reading

    def job(self, number: int) -> Job | None:
        """The job with this number."""
        return next(iter(self._select("WHERE id = ?", (number,))), None)

    def at(self, path: str) -> Job | None:
        """The job of the source at ``path``."""
        return next(iter(self._select("WHERE path = ?", (_name(path),))), None)

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
        return None if found is None else _text(found[0])

    # Writing

    def remember(self, name: str, value: str) -> None:
        """Remember a fact about the whole ledger."""
        with self._transaction() as run:
            run("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, _name(value)))

    def add(self, path: str, identity: Identity, *, now: float) -> Job:
        """Queue a source; one that is known is queued again, with nothing held against it.

        How often it was completed, its result and its destination stay known, so that the result
        of a source that has changed can replace the earlier one.
        """
        with self._transaction() as run:
            row = run(
                "INSERT INTO jobs (path, size, mtime_ns, inode, device, state, queued_at) "
                "VALUES (?, ?, ?, ?, ?, 'queued', ?) ON CONFLICT (path) DO UPDATE SET "
                "size = excluded.size, mtime_ns = excluded.mtime_ns, inode = excluded.inode, "
                "device = excluded.device, state = 'queued', queued_at = excluded.queued_at, "
                "reason = '', attempts = 0, interruptions = 0, next_try = 0, digest = '', "
                "error = '', exit_code = 0, log = '', moved_to = '', ended_at = NULL, "
                "frames = 0, total = NULL, fps = 0, eta = NULL "
                "RETURNING *",
                (_name(path), *_identity(identity), now),
            ).fetchone()
        return _job(row)

    def claim(self, *, now: float) -> Job | None:
        """Begin the job whose turn it is; ``None`` if none is due."""
        with self._transaction() as run:
            row = run(
                "UPDATE jobs SET state = 'running', started_at = ?, ended_at = NULL, "
                "frames = 0, total = NULL, fps = 0, eta = NULL "
                "WHERE id = (SELECT id FROM jobs WHERE state IN ('queued', 'failed') "
                "AND next_try <= ? ORDER BY next_try > 0, next_try, id LIMIT 1) RETURNING *",
                (now, now),
            ).fetchone()
        return None if row is None else _job(row)

    def take_destination(self, job: Job, destination: Path) -> bool:
        """Reserve a name for the result; ``False`` if another job has it.

        Names that differ in case alone count as one, as they do on many file systems.
        """
        try:
            with self._transaction() as run:
                run(
                    "UPDATE jobs SET destination = ?, destination_key = ?, result_size = NULL, "
                    "result_mtime_ns = NULL WHERE id = ?",
                    (_name(str(destination)), _key(destination), job.id),
                )
        except LedgerError as error:
            if isinstance(error.__cause__, sqlite3.IntegrityError):
                return False
            raise
        return True

    def free_destination(self, job: Job) -> None:
        """Give the reserved name back, and forget what an interrupted run may have left there."""
        self.set(job, destination="", destination_key=None, interruptions=0)

    def set(self, job: Job, **values: Any) -> None:
        """Write columns of a job by name, all at once."""
        columns = {name: _value(value) for name, value in values.items()}
        assignments = ", ".join(f"{name} = ?" for name in columns)
        with self._transaction() as run:
            run(f"UPDATE jobs SET {assignments} WHERE id = ?", (*columns.values(), job.id))  # noqa: S608

    def done(self, job: Job, result: Identity | None, *, now: float, reason: str = "") -> None:
        """The result is there, or was (``None``) until somebody took it away."""
        size, mtime = (None, None) if result is None else (result.size, result.mtime_ns)
        with self._transaction() as run:
            run(
                "UPDATE jobs SET state = 'done', completions = completions + 1, reason = ?, "
                "result_size = ?, result_mtime_ns = ?, ended_at = ?, error = '', exit_code = 0, "
                "eta = NULL WHERE id = ?",
                (reason, size, mtime, now, job.id),
            )

    def recover(self) -> list[Job]:
        """What was running when the last writer was cut off; queues it again.

        Call with the lock held, before anything is claimed.
        """
        cut_off = self._select("WHERE state = 'running' ORDER BY id")
        with self._transaction() as run:
            run(
                "UPDATE jobs SET state = 'queued', interruptions = interruptions + 1, "
                "reason = 'was cut off, and goes on' WHERE state = 'running'"
            )
        return cut_off


def _job(row: sqlite3.Row) -> Job:
    values = dict(row)
    identity = Identity(
        values.pop("size"),
        values.pop("mtime_ns"),
        int(values.pop("inode")),
        int(values.pop("device")),
    )
    size, mtime_ns = values.pop("result_size"), values.pop("result_mtime_ns")
    values.pop("destination_key")
    for name in ("path", "destination", "log", "moved_to"):
        values[name] = _text(values[name])
    result = None if size is None else Identity(size, mtime_ns)
    return Job(identity=identity, result=result, **values)


def _identity(identity: Identity) -> tuple[int, int, str, str]:
    return identity.size, identity.mtime_ns, str(identity.inode), str(identity.device)


def _key(destination: Path) -> str:
    return os.fsencode(destination).decode("utf-8", "backslashreplace").casefold()


def _name(text: str) -> str | bytes:
    """A file name as SQLite takes it: text where it is text, else its bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return os.fsencode(text)
    return text


def _text(value: str | bytes) -> str:
    return os.fsdecode(value) if isinstance(value, bytes) else value


def _value(value: Any) -> Any:
    return _name(value) if isinstance(value, str) else value

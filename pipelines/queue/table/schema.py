"""The table of jobs, and what makes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

__all__ = ["ADD", "READABLE", "VERSION", "Run", "create", "update"]

#: Does one statement, inside a transaction.
Run = Callable[..., sqlite3.Cursor]

#: Of the form of the table, kept in the database.
VERSION = 2
#: Forms that can be read, and made into this one.
READABLE = (1, VERSION)
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
    made_size INTEGER, made_mtime_ns INTEGER,
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
#: Queues a source, whether it is known or not, and gives its row back.
ADD = """
INSERT INTO jobs (path, size, mtime_ns, inode, device, state, queued_at)
VALUES (?, ?, ?, ?, ?, 'queued', ?) ON CONFLICT (path) DO UPDATE SET
size = excluded.size, mtime_ns = excluded.mtime_ns, inode = excluded.inode,
device = excluded.device, state = 'queued', queued_at = excluded.queued_at,
reason = '', attempts = 0, interruptions = 0, next_try = 0, digest = '',
error = '', exit_code = 0, log = '', moved_to = '', ended_at = NULL,
frames = 0, total = NULL, fps = 0, eta = NULL,
result_size = coalesce(made_size, result_size), made_size = NULL,
result_mtime_ns = coalesce(made_mtime_ns, result_mtime_ns), made_mtime_ns = NULL
RETURNING *
"""


def create(run: Run) -> None:
    """Make the table in an empty database."""
    for statement in _SCHEMA.split(";\n"):
        run(statement)
    run(f"PRAGMA user_version = {VERSION}")


def update(run: Run) -> None:
    """Give the table of an earlier version what it lacks."""
    for column in ("made_size", "made_mtime_ns"):
        run(f"ALTER TABLE jobs ADD COLUMN {column} INTEGER")
    run(f"PRAGMA user_version = {VERSION}")

"""Rows of the table: what goes into them, and the jobs that come out of them."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

from pipelines.queue.job import Identity, Job

__all__ = ["destination_key", "identity_row", "job_of", "name_of", "text_of", "value_of"]


def job_of(row: sqlite3.Row) -> Job:
    """The job in a row of the table."""
    values = dict(row)
    identity = Identity(
        values.pop("size"),
        values.pop("mtime_ns"),
        int(values.pop("inode")),
        int(values.pop("device")),
    )
    values.pop("destination_key")
    for name in ("result", "made"):
        # A ledger of an earlier version, which nobody has written to since, lacks some.
        size, mtime_ns = values.pop(f"{name}_size", None), values.pop(f"{name}_mtime_ns", None)
        values[name] = None if size is None else Identity(size, mtime_ns)
    for name in ("path", "destination", "log", "moved_to"):
        values[name] = text_of(values[name])
    return Job(identity=identity, **values)


def identity_row(identity: Identity) -> tuple[int, int, str, str]:
    """Size, time, inode and device as the table has them."""
    return identity.size, identity.mtime_ns, str(identity.inode), str(identity.device)


def destination_key(destination: Path) -> str:
    """What no two destinations have in common: names that differ in case alone count as one."""
    return os.fsencode(destination).decode("utf-8", "backslashreplace").casefold()


def name_of(text: str) -> str | bytes:
    """A file name as SQLite takes it: text where it is text, else its bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return os.fsencode(text)
    return text


def text_of(value: str | bytes) -> str:
    """The name behind what :func:`name_of` made of it."""
    return os.fsdecode(value) if isinstance(value, bytes) else value


def value_of(value: Any) -> Any:
    """Any value as SQLite takes it."""
    return name_of(value) if isinstance(value, str) else value

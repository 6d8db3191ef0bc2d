"""One writer at a time: a lock that the system frees, whatever becomes of who holds it."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path

from vsr.errors import OutputError, UsageError

__all__ = ["Lock", "is_held"]

# Whoever asks is_held() has the lock for a moment.
_TRIES, _MOMENT = 5, 0.02


class Lock:
    """The right to write to the ledger at ``ledger``.

    It belongs to the open file, which worker processes inherit: as long as a worker of a watcher
    that was killed is still at it, nobody else gets the lock and does the same file.

    Args:
        ledger: path of the database.
        path: the lock, a file that stays; by default ``<ledger>.lock`` beside it.

    Attributes:
        called, user, rest, option: how messages call what is locked, who locks it and what may be
            left of that, and what names its place.

    Raises:
        UsageError: somebody else has it; the message says who.
        OutputError: the file cannot be created or locked.
    """

    called, user, rest, option = "ledger", "watcher", ", or a worker it left behind", "--ledger"

    def __init__(self, ledger: Path, path: Path | None = None) -> None:
        path = path or ledger.with_name(f"{ledger.name}.lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            taken = _taken(self._file)
        except OSError as error:
            raise OutputError(
                f"the {self.called} cannot be locked: {error.strerror}",
                where=str(path),
                remedy=f"Choose another place for it with {self.option}: a local disk, writable.",
            ) from error
        if not taken:
            holder = _holder(self._file, self.rest)
            os.close(self._file)
            raise UsageError(
                f"another {self.user} works with this {self.called}{holder}",
                where=str(ledger),
                remedy="Stop it first, or let this one write to another folder.",
            )
        os.ftruncate(self._file, 0)
        this = {"pid": os.getpid(), "host": socket.gethostname()}
        os.write(self._file, json.dumps(this).encode())

    @property
    def descriptor(self) -> int:
        """The open file, for a child process to inherit."""
        return self._file

    def release(self) -> None:
        """Give it back."""
        os.close(self._file)

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def is_held(ledger: Path) -> bool | None:
    """Whether somebody has the right to write to ``ledger``; ``None`` if that cannot be told."""
    if sys.platform == "win32":
        return None
    try:
        file = os.open(ledger.with_name(f"{ledger.name}.lock"), os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(file)
    return False


def _taken(file: int) -> bool:
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_MOMENT)
        if _take(file):
            return True
    return False


def _holder(file: int, rest: str) -> str:
    os.lseek(file, 0, os.SEEK_SET)
    try:
        found = json.loads(os.read(file, 4096))
        return f": process {found['pid']} on {found['host']}{rest}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # it has only just taken the lock, and not yet said who it is


if sys.platform == "win32":
    import msvcrt

    def _take(file: int) -> bool:
        # A byte far behind the text, which stays readable.
        os.lseek(file, 1 << 20, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        os.lseek(file, 0, os.SEEK_SET)
        return True

else:
    import fcntl

    def _take(file: int) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

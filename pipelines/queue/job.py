"""One file to be done: what it is, where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["NO_ROOM", "STATES", "Identity", "Job", "State", "identify", "is_at"]

State = Literal["queued", "running", "done", "failed", "quarantined", "gone"]

#: Every state with what it means, in the order in which people want to read them.
STATES: dict[State, str] = {
    "running": "being done",
    "queued": "waits for its turn, or for what `reason` says",
    "failed": "failed, and will be tried again",
    "quarantined": "failed too often, and is not tried again",
    "done": "its result is there",
    "gone": "vanished or changed before it was done",
}

#: How the reason begins of a job that is queued because its result would not fit.
NO_ROOM = "waits for room on the disk"


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells a file from another, and from itself after a change.

    Attributes:
        size: bytes.
        mtime_ns: last modification in nanoseconds since the epoch.
        inode: the file's number in its file system, 0 where there is none.
        device: the file system's number.
    """

    size: int
    mtime_ns: int
    inode: int = 0
    device: int = 0

    def same_content(self, other: Identity) -> bool:
        """Whether nothing speaks for a change: size and modification time are the same.

        The inode is left out, because network file systems may number their files anew when they
        are mounted.
        """
        return (self.size, self.mtime_ns) == (other.size, other.mtime_ns)

    def same_file(self, other: Identity) -> bool:
        """Whether both are names of one file (moved or hard-linked) that has not changed."""
        return self == other and self.inode != 0


def identify(path: Path) -> Identity:
    """The identity of the file now; symbolic links are followed.

    Raises:
        OSError: there is none, or it may not be looked at.
    """
    found = path.stat()
    return Identity(found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev)


def is_at(path: Path, identity: Identity | None) -> bool:
    """Whether the file that had this identity is there, unchanged."""
    try:
        return identity is not None and identify(path).same_content(identity)
    except OSError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A row of the ledger.

    Attributes:
        id: its number; never used again.
        path: of the source; relative to the watched folder, with ``/``, or as it was named.
        identity: of the source when it was queued.
        state: where it stands; ``reason`` says why, where that is not obvious.
        attempts: how often it was begun and failed by itself.
        interruptions: how often it was cut off with the process that did it (power, SIGKILL).
        completions: how often it was completed: more than once only if the source changed.
        next_try: not before this time; seconds since the epoch.
        destination: path of the result, empty as long as none is chosen.
        result: identity of the result when it was completed.
        made: identity of a result that was about to get its name when last heard of.
        digest: of the source's content, empty as long as nobody read it.
        settings: what the result was, or is being, made with, as a digest.
        error: kind of the error; ``exit_code`` what ``vsr upscale`` would have returned.
        log: path of the log.
        moved_to: where a quarantined source is now, empty if it is where it was.
        frames, total, fps, eta: progress; 0 and ``None`` where it is not known.
        queued_at, started_at, ended_at: seconds since the epoch.
    """

    id: int
    path: str
    identity: Identity
    state: State
    reason: str = ""
    attempts: int = 0
    interruptions: int = 0
    completions: int = 0
    next_try: float = 0.0
    destination: str = ""
    result: Identity | None = None
    made: Identity | None = None
    digest: str = ""
    settings: str = ""
    error: str = ""
    exit_code: int = 0
    log: str = ""
    moved_to: str = ""
    frames: int = 0
    total: int | None = None
    fps: float = 0.0
    eta: float | None = None
    queued_at: float = 0.0
    started_at: float | None = None
    ended_at: float | None = None

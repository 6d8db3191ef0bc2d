"""What a queue and its worker process tell each other."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.events import Progress, Warned
from pipelines.queue.job import Identity
from vsr import __version__
from vsr.errors import (
    EncodeError,
    NameTakenError,
    OutputError,
    VerifyError,
    VsrError,
    exit_code,
)
from vsr.types import Plan, Report

__all__ = [
    "Failed",
    "Finished",
    "Made",
    "Message",
    "Named",
    "NoRoom",
    "Order",
    "Outcome",
    "Planned",
    "Stopped",
    "failed_by",
]

_MACHINE = ("ModelError", "BackendError", "DependencyError", "PresetError")
# A folder of results that may not be written to, or is a file.
_PLACE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One file to be done.

    Attributes:
        source, destination: paths. Folders above the destination are made, and removed again if
            nothing comes of it.
        wishes: as for :func:`pipelines.upscale.prepare_upscale`.
        log: where what the run and its libraries say goes; empty for stderr.
        keep_free: bytes that must stay free on the destination's disk, ``None``: do not look.
        mark: for the name of the temporary file, as
            :class:`vsr.media.write.atomic.AtomicFile` takes it.
        pictures: prefix of the paths of two pictures, before and after; empty for none.
    """

    source: str
    destination: str
    wishes: Mapping[str, Any]
    log: str = ""
    keep_free: int | None = None
    mark: str = ""
    pictures: str = ""


@dataclass(frozen=True, slots=True)
class Planned:
    """The run begins. ``need``: bytes that it may take on the disk."""

    plan: Plan
    need: int
    total: int | None


@dataclass(frozen=True, slots=True)
class Made:
    """The result is complete, and waits for :class:`Named`; ``identity`` is what it will keep."""

    identity: Identity


@dataclass(frozen=True, slots=True)
class Named:
    """The answer to :class:`Made`: it is known what the result is, and it may get this name."""

    destination: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The result has its name. ``report`` is ``None`` if it had it before this run began."""

    destination: str
    report: Report | None


@dataclass(frozen=True, slots=True)
class Failed:
    """An error ended the run, with nothing left behind.

    Attributes:
        kind: name of the exception. what, where, remedy: as in :class:`vsr.errors.VsrError`.
        exit_code: what ``vsr upscale`` would have returned.
        name_taken: a file that is none of ours has the result's name.
        blameless: what is wrong is the machine, the settings or the folder of the results.
    """

    kind: str
    what: str
    where: str = ""
    remedy: str = ""
    exit_code: int = 1
    name_taken: bool = False
    blameless: bool = False

    def beside(self, path: str) -> str:
        """What went wrong, for people who see the ``path`` of the source beside it."""
        if not self.where or self.where.endswith(path):
            return self.what
        return f"{self.where}: {self.what}"


@dataclass(frozen=True, slots=True)
class NoRoom:
    """There is not enough room on the disk. ``need`` and ``free``: bytes."""

    need: int
    free: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """The run was told to stop; what can be gone on with is kept."""


Outcome = Finished | Failed | NoRoom | Stopped
Message = Planned | Progress | Warned | Made | Outcome


def failed_by(error: BaseException) -> Failed:
    """What ``error`` is for a queue."""
    kind, code = type(error).__name__, exit_code(error)
    blameless = kind in _MACHINE or _is_of_the_place(error)
    if isinstance(error, VsrError):
        taken = isinstance(error, NameTakenError)
        return Failed(kind, error.what, error.where, error.remedy, code, taken, blameless)
    remedy = f"This is a bug in vsr {__version__}, or a want of memory; the log has the traceback."
    return Failed(kind, f"{kind}: {error}", "", remedy, code, blameless=blameless)


def _is_of_the_place(error: BaseException) -> bool:
    if not isinstance(error, OutputError) or isinstance(error, EncodeError | VerifyError):
        return False
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in _PLACE

"""What a watcher is asked for, and what follows from it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.queue.names import name_beside, preset_of
from pipelines.queue.run import Policy
from pipelines.watch.find import Filter
from vsr import __version__
from vsr.errors import InputError, OutputError, UsageError

__all__ = ["WatchRequest", "is_same_folder", "ledger_path", "ledger_place"]

_HOME = ".vsr-watch"
_QUARANTINE = "vsr-quarantine"


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRequest:
    """A folder to watch and what to do with what is in it.

    Attributes:
        source: the watched folder. destination: the folder that gets the results.
        wishes: for :func:`pipelines.upscale.prepare_upscale`.
        wanted: which files are sources.
        settle: seconds for which a file must not change before it is taken.
        poll: seconds between two looks; ``None``: look when the system tells of a change.
        workers: how many files are done at the same time.
        once: end when everything that is there is done.
        policy: retries, and room on the disk.
        ledger: path of the ledger; ``None``: in ``.vsr-watch`` in the destination.
        quarantine: folder for what cannot be done; ``None``: ``vsr-quarantine`` in the source.
    """

    source: Path
    destination: Path
    wishes: Mapping[str, Any] = field(default_factory=dict)
    wanted: Filter = field(default_factory=Filter)
    settle: float = 10.0
    poll: float | None = None
    workers: int = 1
    once: bool = False
    policy: Policy = field(default_factory=Policy)
    ledger: Path | None = None
    quarantine: Path | None = None

    def check(self) -> None:
        """Make sure that this makes sense, before anything is done; makes the destination.

        Raises:
            InputError: there is nothing to watch. OutputError: the results have no place.
            UsageError: results would be taken for sources.
            VsrError: the preset or another wish cannot be had.
        """
        if not self.source.is_dir():
            raise InputError(
                "this is no folder" if self.source.exists() else "there is no such folder",
                where=str(self.source),
                remedy="Name the folder to watch, then the one that gets the results.",
            )
        try:
            self.destination.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"the folder cannot be made: {error.strerror}", where=str(self.destination)
            ) from error
        if self.destination.samefile(self.source):
            raise UsageError(
                "results cannot go into the watched folder itself",
                where=str(self.destination),
                remedy="Name another folder; it may be inside the watched one.",
            )
        if is_same_folder(self.quarantine_path, self.source):
            raise UsageError(
                "what cannot be done would come back into the watched folder at once",
                where=str(self.quarantine_path),
                remedy="Name another --quarantine; it may be inside the watched one.",
            )
        self.ending(".mp4")

    @property
    def home(self) -> Path:
        """The folder for logs and pictures; the ledger's, by default."""
        home = self.destination / _HOME
        if self.ledger is None:
            return home
        # Several ledgers may share a destination, and each numbers its jobs from 1.
        place = os.fsencode(os.path.realpath(self.ledger))
        return home / f"{self.ledger.stem}-{hashlib.blake2b(place, digest_size=4).hexdigest()}"

    @property
    def ledger_path(self) -> Path:
        """Where the ledger is."""
        return self.ledger or ledger_path(self.destination)

    @property
    def quarantine_path(self) -> Path:
        """Where sources go that cannot be done."""
        return self.quarantine or self.source / _QUARANTINE

    def ending(self, suffix: str) -> str:
        """Ending of the result of a source that ends in ``suffix``, both with the dot.

        Raises:
            VsrError: there is no such codec, container or preset.
        """
        return name_beside(f"x{suffix}", self.wishes).suffix

    @property
    def settings(self) -> str:
        """A digest of all that a result depends on besides its source."""
        wishes = sorted((name, repr(value)) for name, value in self.wishes.items() if value)
        text = repr((__version__, wishes, preset_of(self.wishes)))
        return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()


def is_same_folder(one: Path, other: Path) -> bool:
    """Whether these are names of one folder; a folder that is not there has one name only."""
    try:
        return one.samefile(other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


def ledger_path(destination: Path) -> Path:
    """Where the ledger of the results in ``destination`` is by default."""
    return destination / _HOME / "ledger.sqlite"


def ledger_place(path: Path) -> Path:
    """The ledger that ``path`` means: a ledger, or a folder that a watcher writes to."""
    return ledger_path(path) if path.is_dir() else path

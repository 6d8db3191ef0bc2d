"""What is in the watched folder, and whether it is all there yet."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from pipelines.queue.job import Identity, identify

__all__ = ["VIDEO_ENDINGS", "Filter", "Found", "Settling", "find", "has_writer"]

#: File name endings of videos: what is taken unless ``--include`` says otherwise.
VIDEO_ENDINGS = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".m2v", ".vob", ".ts"),
    *(".m2ts", ".mts", ".m2t", ".wmv", ".asf", ".flv", ".f4v", ".3gp", ".3g2", ".ogv", ".ogm"),
    *(".mxf", ".dv", ".divx", ".rm", ".rmvb", ".y4m", ".gif"),
)
# What browsers, copy programs and editors call files that they have not finished.
_UNFINISHED = (
    *(".part", ".partial", ".crdownload", ".download", ".opdownload", ".tmp", ".temp", ".filepart"),
    *(".!qb", ".!ut", ".aria2", ".swp", ".bak", "~"),
)


@dataclass(frozen=True, slots=True)
class Found:
    """A file. ``path``: relative to the watched folder, with ``/``."""

    path: str
    identity: Identity


@dataclass(frozen=True, slots=True)
class Filter:
    """Which files are sources.

    Attributes:
        include: patterns as of a shell, of which one must fit; none: files that end as videos do.
        exclude: patterns of which none may fit.

    A pattern with ``/`` is compared with the path below the watched folder, where ``*`` also stands
    for folders; one without is compared with the file's name. Case does not count. Hidden files,
    files in hidden folders, and those with names of unfinished downloads are never sources.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def takes(self, path: str) -> bool:
        """Whether the file at ``path``, relative and with ``/``, is a source."""
        low = path.lower()
        if any(part.startswith(".") for part in low.split("/")) or low.endswith(_UNFINISHED):
            return False
        if any(_fits(low, pattern) for pattern in self.exclude):
            return False
        if not self.include:
            return low.endswith(VIDEO_ENDINGS)
        return any(_fits(low, pattern) for pattern in self.include)


def _fits(path: str, pattern: str) -> bool:
    name = path if "/" in pattern else path.rpartition("/")[2]
    return fnmatchcase(name, pattern.lower().removeprefix("./"))


def find(
    root: Path,
    wanted: Filter,
    *,
    skip: Collection[Path] = (),
    problem: Callable[[OSError], None] | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Found]:
    """The sources below ``root``, in the order of their names.

    Links to files are followed, links to folders are not: they can go round in circles.

    Args:
        root: the watched folder.
        wanted: which files are sources.
        skip: folders that are left out, with all that is in them, whatever their names are here: a
            mount or a file system that takes no notice of case can give a folder several.
        problem: told of folders and files that cannot be looked at; by default they raise.
        stopped: asked before each entry of a folder; ``True`` ends the walk where it is.

    Raises:
        OSError: something cannot be looked at, and nobody wants to be told.
    """
    names = {os.path.realpath(folder) for folder in skip}
    try:
        places = {place for folder in skip if (place := _place(folder)) is not None}
    except OSError as error:
        # One that cannot be told from others now: results must not be taken for sources.
        _say(error, problem)
        return

    def is_left_out(folder: str) -> bool:
        return os.path.realpath(folder) in names or _place(folder) in places

    def walk(folder: str, prefix: str) -> Iterator[Found]:
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            _say(error, problem)
            return
        for entry in entries:
            if stopped():
                return
            path = f"{prefix}{entry.name}"
            try:
                if entry.is_dir(follow_symlinks=False):
                    if not entry.name.startswith(".") and not is_left_out(entry.path):
                        yield from walk(entry.path, f"{path}/")
                elif wanted.takes(path) and entry.is_file():
                    yield Found(path, identify(Path(entry.path)))
            except FileNotFoundError:
                continue  # it went away between the two looks
            except OSError as error:
                _say(error, problem)

    yield from walk(str(root), "")


def _place(folder: str | Path) -> tuple[int, int] | None:
    """What tells a folder from all others; ``None`` if it is not there, or nothing does."""
    try:
        found = os.stat(folder)  # noqa: PTH116 - a walk has no Path at hand
    except (FileNotFoundError, NotADirectoryError):
        return None
    return (found.st_dev, found.st_ino) if found.st_ino else None


def _say(error: OSError, problem: Callable[[OSError], None] | None) -> None:
    if problem is None:
        raise error
    problem(error)


class Settling:
    """Remembers how long each file has been what it is.

    A file is settled when size and modification time have not changed for ``seconds`` between two
    looks at it, and no program has it open for writing as far as the system tells. Its age does not
    count: what is copied may get an old modification time at once. An empty file is never settled:
    downloads and copies begin with one, and it is no video.

    Args:
        seconds: 0 takes files at the first look.
        clock: seconds that never go back.
        written: whether a file is being written; :func:`has_writer`.
    """

    def __init__(
        self,
        seconds: float,
        *,
        clock: Callable[[], float],
        written: Callable[[Path], bool],
    ) -> None:
        self.seconds = seconds
        self._clock = clock
        self._written = written
        self._since: dict[str, tuple[Identity, float]] = {}

    def now(self) -> float:
        """The clock's time."""
        return self._clock()

    def settled(self, root: Path, found: Found) -> bool:
        """Whether the file can be taken now; looks at it, and remembers."""
        now = self._clock()
        if not found.identity.size:
            self._since.pop(found.path, None)
            return False
        identity, since = self._since.get(found.path, (None, now))
        if identity is None or not identity.same_content(found.identity):
            self._since[found.path] = (found.identity, now)
            since = now
        if now - since < self.seconds or self._written(root / found.path):
            return False
        del self._since[found.path]
        return True

    def wait(self) -> float | None:
        """Seconds until the first of the remembered files can be settled; ``None`` without any."""
        if not self._since:
            return None
        first = min(since for _, since in self._since.values())
        # A file that is being written is looked at again and again, but not all the time.
        return max(first + self.seconds - self._clock(), min(self.seconds, 1.0) / 2)

    def keep(self, paths: Collection[str]) -> None:
        """Forget all files but these: the others are gone."""
        for path in [path for path in self._since if path not in paths]:
            del self._since[path]


def has_writer(path: Path) -> bool:
    """Whether a program has the file open for writing, as far as the system tells.

    Linux refuses a read lease on such a file. Elsewhere, on network drives and for files of other
    users nothing is known, and the answer is ``False``.
    """
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False  # what is wrong with it is told when its turn comes
    try:
        # If somebody opens the file in the moment the lease exists, the system tells by a signal:
        # one that is ignored by default.
        fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(file)
    return False

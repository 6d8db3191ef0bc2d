"""The folder beside the result that holds what is finished of a job.

``out.mp4.vsr/`` holds ``job.json`` (settings and segments), ``000000.segment`` and so on (finished
segments), ``lock``, and for a moment files that end in ``.part``. Everything is written under a
temporary name, brought to the disk and renamed; a segment's file is its own record, so that any
number of processes can add to the ledger without knowing of each other.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipelines.segments.cut import Cut
from pipelines.segments.worker import segment_path
from vsr.errors import OutputError, VerifyError
from vsr.media.av_errors import av_errors
from vsr.media.segments.packet_file import PacketFile
from vsr.media.write.atomic import cut_name, longest_name, sync_folder
from vsr.types import Segment
from vsr.types.plain import to_plain

__all__ = ["Ledger", "ledger_folder"]


def ledger_folder(destination: str) -> Path:
    """Where what is finished of the job for ``destination`` is kept.

    If its file system does not take a name that long: its beginning and a hash of the whole.
    """
    folder = Path(f"{destination}.vsr")
    most = longest_name(folder.parent)
    if len(os.fsencode(folder.name)) <= most:
        return folder
    mark = f".{hashlib.sha256(os.fsencode(folder.name)).hexdigest()[:16]}.vsr"
    return folder.with_name(cut_name(folder.name, most - len(mark)) + mark)


class Ledger:
    """A job's folder, held by one process at a time. A context manager.

    Args:
        destination: the result.
        needed: if not, a folder that is not ours or cannot be locked is left alone.

    Attributes:
        folder: the folder; it exists once :meth:`begin` or :meth:`load` says so.

    Raises (on entry):
        OutputError: somebody else is at work on the same result, or the folder is not ours.
    """

    def __init__(self, destination: str, *, needed: bool = True) -> None:
        self.folder = ledger_folder(destination)
        self._needed = needed
        self._where = destination
        self._job = self.folder / "job.json"
        self._lock = self.folder / "lock"
        self._handle: int | None = None

    def __enter__(self) -> Self:
        with av_errors(self.folder, "look for a job that was stopped", OutputError):
            there = self.folder.exists()
        if there:
            self._claim()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._handle is not None:
            os.close(self._handle)  # which unlocks
            self._handle = None

    @property
    def held(self) -> bool:
        """Whether the folder is there and nobody else can have it."""
        return self._handle is not None

    def settings(self) -> dict[str, str] | None:
        """The settings of the job that is kept here, ``None`` if there is none."""
        told = self._read()
        return None if told is None else dict(told["settings"])

    def source(self) -> str:
        """The source of the job that is kept here, as it was named to :meth:`begin`."""
        return str((self._read() or {}).get("source", ""))

    def cut(self) -> Cut:
        """How the job that is kept here was cut.

        Raises:
            OutputError: no job is kept here, or what is kept cannot be read.
        """
        told = self._read()
        if told is None:
            raise OutputError("there is no job in it", where=str(self.folder))
        cut = told["cut"]
        return Cut(
            segments=tuple(Segment(**segment) for segment in cut["segments"]),
            frames=cut["frames"],
            end=cut["end"],
            gaps=(cut["gaps"][0], cut["gaps"][1]),
            notes=tuple(cut["notes"]),
        )

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Hold the folder, which is created if need be, from before it is known what to keep.

        If the block fails, nothing is left of a folder in which nothing is kept.

        Raises:
            OutputError: it cannot be created, or somebody else has it.
        """
        if self._handle is None:
            with av_errors(self.folder, "create the folder of the job", OutputError):
                self.folder.mkdir(exist_ok=True)
            self._claim()
        try:
            yield
        except BaseException:
            self._unmake()
            raise

    def begin(self, settings: Mapping[str, str], cut: Cut, source: str = "") -> None:
        """Keep a new job, made from ``source``.

        Raises:
            OutputError: the folder cannot be written.
        """
        with self.claimed():
            self._write({"settings": dict(settings), "cut": to_plain(cut), "source": source})

    def joined(self, file: Path) -> None:
        """Note that the result is complete in ``file``, which only has to be given its name."""
        status = file.stat()
        self._write({**(self._read() or {}), "joined": [status.st_dev, status.st_ino]})

    def is_done(self) -> bool:
        """Whether the file that has the result's name is what :meth:`joined` was told of."""
        joined = (self._read() or {}).get("joined")
        try:
            status = Path(self._where).stat()
        except OSError:
            return False
        return bool(joined == [status.st_dev, status.st_ino])

    def finished(self, segments: Sequence[Segment]) -> tuple[dict[int, PacketFile], list[str]]:
        """Finished segments by index, read and compared with their hashes; what is damaged.

        Damaged ones and unfinished files are removed.
        """
        found, damaged = {}, []
        self.tidy()
        for segment in segments:
            path = segment_path(self.folder, segment.index)
            if not path.is_file():
                continue
            try:
                part = PacketFile(path)
                part.check()
            except VerifyError:
                damaged.append(f"Finished segment {segment.index} is damaged and is made anew.")
                path.unlink()
            else:
                found[segment.index] = part
        return found, damaged

    def tidy(self) -> None:
        """Remove what was not finished."""
        for path in self.folder.iterdir():
            if ".part" in path.suffixes:
                path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove everything, and the folder; nothing if it is not ours."""
        if self._handle is None:
            return  # nobody has it, or somebody else
        self.clear()
        with av_errors(self.folder, "remove what was kept of the job", OutputError):
            self._lock.unlink(missing_ok=True)
            # Somebody may have put something of his own there.
            with suppress(OSError):
                self.folder.rmdir()
        self.__exit__(None, None, None)

    def clear(self) -> None:
        """Remove everything that is kept, and hold the folder."""
        with av_errors(self.folder, "remove what was kept of the job", OutputError):
            self.tidy()
            for path in self.folder.glob("*.segment"):
                path.unlink(missing_ok=True)
            self._job.unlink(missing_ok=True)

    def count(self) -> int:
        """How many segments are finished."""
        return sum(1 for _ in self.folder.glob("*.segment"))

    def size(self) -> int:
        """Bytes of the finished segments."""
        return sum(path.stat().st_size for path in self.folder.glob("*.segment"))

    def _claim(self) -> None:
        if not self.folder.is_dir() or (any(self.folder.iterdir()) and not self._ours()):
            if not self._needed:
                return
            raise OutputError(
                f"{self.folder} is in the way: what is finished of the job would be kept there",
                where=self._where,
                remedy="Move it away, or use --no-resume.",
            )
        with av_errors(self.folder, "lock the folder of the job", OutputError):
            handle = os.open(self._lock, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            free = _lock(handle) and self._is_lock(handle)
        except OSError as error:
            os.close(handle)
            self._unmake()
            if not self._needed:
                return
            # Not done without: two runs would remove each other's unfinished files as left over.
            raise OutputError(
                f"the folder of the job cannot be locked ({error.strerror}), so that two runs "
                "could be at work in it",
                where=self._where,
                remedy="Write to a disk of this machine, or use --no-resume, which keeps nothing.",
            ) from error
        if not free:
            os.close(handle)
            raise OutputError(
                "another vsr is at work on the same result",
                where=self._where,
                remedy="Wait for it, or choose another name.",
            )
        self._handle = handle

    def _is_lock(self, handle: int) -> bool:
        """Whether it is still there: who had it may have removed it after we opened it."""
        try:
            return os.path.samestat(os.fstat(handle), self._lock.stat())
        except FileNotFoundError:
            return False

    def _unmake(self) -> None:
        """Remove a folder in which there is nothing but the lock."""
        if not self._job.exists():
            with suppress(OSError):
                self._lock.unlink(missing_ok=True)
                self.folder.rmdir()

    def _ours(self) -> bool:
        known = (self._job, self._lock)
        return any(path.exists() for path in known)

    def _read(self) -> dict[str, Any] | None:
        if not self._job.is_file():
            return None
        try:
            told: dict[str, Any] = json.loads(self._job.read_text())
        except ValueError:
            return None
        return told

    def _write(self, told: Mapping[str, Any]) -> None:
        path = self._job.with_suffix(".json.part")
        with av_errors(path, "write down the job", OutputError):
            with path.open("w") as file:
                json.dump(told, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            path.replace(self._job)
            sync_folder(self.folder)


def _lock(handle: int) -> bool:
    """Lock the file for as long as this process lives; whether nobody else has.

    Raises:
        OSError: it cannot be locked at all, as on some network file systems.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

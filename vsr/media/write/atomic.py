"""A file that appears under its name only when it is complete."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from pathlib import Path

from vsr.errors import OutputError
from vsr.media.av_errors import av_errors, map_av_error

__all__ = [
    "AtomicFile",
    "check_destination",
    "cut_name",
    "is_temporary",
    "longest_name",
    "sync_folder",
]

# Hexadecimal digits that tell temporary files apart.
_MARK = 8
# Bytes of a name on nearly all file systems.
_USUAL = 255
# Network file systems that know nothing of it, and folders that cannot be opened: those one may
# write to and not list, and all of Windows'.
_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EACCES, errno.EPERM}


def check_destination(destination: str, *, overwrite: bool, source: str | None = None) -> None:
    """Whether a file may be written there at all; see :class:`AtomicFile`.

    Raises:
        OutputError: the folder is missing, the destination has too long a name, exists and may
            not be replaced, is a folder, or is the source itself.
    """
    try:
        _check(destination, overwrite=overwrite, source=source)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise map_av_error(error, destination, "look at it", OutputError) from error
        raise OutputError(
            "this name is longer than its file system takes",
            where=destination,
            remedy="Choose a shorter one with -o.",
        ) from error


def _check(destination: str, *, overwrite: bool, source: str | None) -> None:
    path = Path(destination)
    if not path.parent.is_dir():
        raise OutputError(
            f"the folder {path.parent} does not exist",
            where=destination,
            remedy="Create it first or choose another one.",
        )
    # Not exists() and is_dir(): whether those tell of a name that cannot be depends on the Python.
    try:
        found = path.stat()
    except FileNotFoundError:
        return
    if stat.S_ISDIR(found.st_mode):
        raise OutputError("this is a folder", where=destination, remedy="Name a file inside it.")
    if source is not None and _is_same(found, source):
        raise OutputError(
            "the result would replace the video it is made from",
            where=destination,
            remedy="Choose another name.",
        )
    if not overwrite:
        raise _exists(destination)


def _is_same(found: os.stat_result, source: str) -> bool:
    try:
        return os.path.samestat(found, Path(source).stat())
    except OSError:  # a URL, or gone: no file that could be replaced
        return False


class AtomicFile:
    """A temporary file beside ``destination`` that takes its name on :meth:`commit`.

    The temporary name starts with a dot and keeps the ending. Until the commit the destination
    is not touched, and after :meth:`discard` nothing is left.

    Args:
        destination: the final path.
        overwrite: replace a file that is already there.
        source: the file being read, which must not be the destination.
        scratch: folder of the temporary file, on the same disk; by default the destination's.

    Attributes:
        path: the temporary file; it exists and is empty.

    Raises:
        OutputError: the folder is missing or not writable, the destination exists and may not
            be replaced, is a folder, or is the source itself.
    """

    def __init__(
        self,
        destination: str,
        *,
        overwrite: bool,
        source: str | None = None,
        scratch: Path | None = None,
    ) -> None:
        check_destination(destination, overwrite=overwrite, source=source)
        self.destination = Path(destination)
        self._overwrite = overwrite
        with av_errors(destination, "create a temporary file in the folder", OutputError):
            self.path = _create_in(scratch or self.destination.parent, self.destination)

    def commit(self) -> int:
        """Flush the file to the disk and give it its name; returns its size in bytes.

        Raises:
            OutputError: the disk failed, or meanwhile somebody created the destination and it
                may not be replaced.
        """
        with av_errors(self.destination, "finish the file", OutputError):
            _sync(self.path)
            size = self.path.stat().st_size
            if self._overwrite:
                self.path.replace(self.destination)
            else:
                self._take_free_name()
            sync_folder(self.destination.parent)
        return size

    def discard(self) -> None:
        """Remove the temporary file, if it is still there."""
        self.path.unlink(missing_ok=True)

    def _take_free_name(self) -> None:
        # A hard link, unlike a rename, fails if the name is taken: no gap between look and leap.
        try:
            os.link(self.path, self.destination)
        except FileExistsError:
            raise _exists(str(self.destination)) from None
        except OSError as error:
            if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}:
                raise
            self._claim_free_name()
        else:
            self.path.unlink()

    def _claim_free_name(self) -> None:
        # FAT, exFAT and some network drives have no hard links: claim the name, then replace it.
        try:
            os.close(os.open(self.destination, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            raise _exists(str(self.destination)) from None
        self.path.replace(self.destination)


def _exists(destination: str) -> OutputError:
    return OutputError(
        "the file already exists",
        where=destination,
        remedy="Choose another name, or allow overwriting (-y, overwrite=True).",
    )


def _create_in(folder: Path, destination: Path) -> Path:
    # Not tempfile's: those are private to the user, the result is to be like any new file.
    path = folder / _temporary(folder, destination, secrets.token_hex(_MARK // 2))
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return path


def _temporary(folder: Path, destination: Path, mark: str) -> str:
    end = f".{mark}.part{destination.suffix}"
    room = longest_name(folder) - len(os.fsencode(f".{end}"))
    return f".{cut_name(destination.stem[:64], room)}{end}"


def is_temporary(name: str, destination: Path) -> bool:
    """Whether a file called ``name``, beside ``destination``, is a temporary one for it."""
    begin, end = _temporary(destination.parent, destination, "?" * _MARK).split("?" * _MARK)
    mark = name.removeprefix(begin).removesuffix(end)
    return re.fullmatch(rf"[0-9a-f]{{{_MARK}}}", mark) is not None and name == begin + mark + end


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Bring the names of ``folder`` to the disk, where that can be asked for.

    What has been renamed is there with or without it; it only would not outlive a power cut.

    Raises:
        OSError: the disk failed.
    """
    try:
        _sync(folder)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise


def longest_name(folder: Path) -> int:
    """How many bytes a name in ``folder`` may have."""
    try:
        most = os.pathconf(folder, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):  # Windows; a system that does not say
        most = 0
    return most if most > 0 else _USUAL


def cut_name(name: str, size: int) -> str:
    """``name`` without what is beyond ``size`` bytes; never a part of a character."""
    while name and len(os.fsencode(name)) > size:
        name = name[:-1]
    return name

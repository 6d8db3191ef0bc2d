"""A file that appears under its name only when it is complete."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vsr.errors import NameTakenError, OutputError
from vsr.media.av_errors import av_errors, map_av_error
from vsr.types.place import on_disk

__all__ = [
    "AtomicFile",
    "check_destination",
    "claimed",
    "copy_whole",
    "cut_name",
    "give_name",
    "is_temporary",
    "longest_name",
    "sync_folder",
    "temporary_path",
]

# Hexadecimal digits that tell temporary files of one destination apart.
_MARK = 8
# Bytes of a name on nearly all file systems.
_USUAL = 255
# FAT, exFAT and some network drives have no hard links.
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
# Network file systems that know nothing of it, and folders that cannot be opened: those one may
# write to and not list, and all of Windows'.
_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EACCES, errno.EPERM}


def check_destination(destination: str, *, overwrite: bool, source: str | None = None) -> None:
    """Whether a file may be written there at all; see :class:`AtomicFile`.

    Raises:
        NameTakenError: the destination exists (a link that leads nowhere does) and may not be
            replaced.
        OutputError: the folder is missing, the destination has too long a name, is a folder, or
            is the source itself.
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
        # What it leads to may be on a drive that is not mounted; and its name is taken.
        if not overwrite and os.path.lexists(path):
            raise NameTakenError(
                "this is a link to something that is not there",
                where=destination,
                remedy="Mount the drive that it leads to, choose another name, or allow replacing "
                "the link (-y, overwrite=True).",
            ) from None
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
        return on_disk(source) and os.path.samestat(found, Path(source).stat())
    except OSError:  # gone: no file that could be replaced
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
        mark: eight hexadecimal digits in the temporary file's name, which no other one for this
            destination has; random ones by default.

    Attributes:
        path: the temporary file; it exists and is empty.

    Raises:
        NameTakenError: the destination exists and may not be replaced.
        OutputError: the folder is missing or not writable, the destination is a folder, or is the
            source itself.
    """

    def __init__(
        self,
        destination: str,
        *,
        overwrite: bool,
        source: str | None = None,
        scratch: Path | None = None,
        mark: str = "",
    ) -> None:
        check_destination(destination, overwrite=overwrite, source=source)
        self.destination = Path(destination)
        self._overwrite = overwrite
        with av_errors(destination, "create a temporary file in the folder", OutputError):
            self.path = _create_in(scratch or self.destination.parent, self.destination, mark)

    def rename(self, destination: str) -> None:
        """Let the file get another name in the same folder, where it replaces nothing."""
        if Path(destination) != self.destination:
            self.destination, self._overwrite = Path(destination), False

    def commit(self) -> int:
        """Flush the file to the disk and give it its name; returns its size in bytes.

        Raises:
            NameTakenError: meanwhile somebody created the destination and it may not be replaced.
            OutputError: the disk failed.
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
        try:
            give_name(self.path, self.destination)
        except FileExistsError:
            raise _exists(str(self.destination)) from None


def copy_whole(source: Path, destination: Path) -> None:
    """Copy a file and its times to a free name, which the copy gets when it is complete.

    Raises:
        OSError, OutputError: it cannot be copied, or the name is taken; nothing is left behind.
    """
    copy = AtomicFile(str(destination), overwrite=False)
    try:
        shutil.copy2(source, copy.path)
        copy.commit()
    finally:
        copy.discard()


def give_name(path: Path, destination: Path) -> None:
    """Rename a file, if nobody has the name.

    Raises:
        FileExistsError: the name is taken. OSError: the disk failed.
    """
    # A hard link, unlike a rename, fails if the name is taken: no gap between look and leap.
    try:
        os.link(path, destination)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with claimed(destination):
            path.replace(destination)
    else:
        path.unlink()


@contextmanager
def claimed(destination: Path) -> Iterator[None]:
    """Hold a free name with an empty file, which the block replaces; if it does not, it goes again.

    Raises:
        FileExistsError: the name is taken. OSError: the disk failed.
    """
    handles: list[int] = []
    ours: os.stat_result | None = None
    try:
        # By C code alone, so that no Ctrl-C comes between making the file and knowing of it.
        handles.extend(map(os.open, [destination], [os.O_CREAT | os.O_EXCL | os.O_WRONLY], [0o666]))
        ours = os.fstat(handles[0])
        os.close(handles.pop())
        yield
    finally:
        for handle in handles:
            ours = os.fstat(handle)
            os.close(handle)
        if ours is not None:
            _withdraw(destination, ours)


def _withdraw(destination: Path, claim: os.stat_result) -> None:
    try:
        found = destination.lstat()
    except FileNotFoundError:
        return
    if os.path.samestat(found, claim) and found.st_size == 0:
        destination.unlink(missing_ok=True)


def _exists(destination: str) -> NameTakenError:
    return NameTakenError(
        "the file already exists",
        where=destination,
        remedy="Choose another name, or allow overwriting (-y, overwrite=True).",
    )


def temporary_path(folder: Path, destination: Path, mark: str) -> Path:
    """The temporary file for ``destination`` in ``folder`` that has this mark."""
    begin, end = _around_mark(folder, destination)
    return folder / f"{begin}{mark}{end}"


def _create_in(folder: Path, destination: Path, mark: str) -> Path:
    # Not tempfile's: those are private to the user, the result is to be like any new file.
    path = temporary_path(folder, destination, mark or secrets.token_hex(_MARK // 2))
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return path


def _around_mark(folder: Path, destination: Path) -> tuple[str, str]:
    """How names of temporary files in ``folder`` begin and end."""
    # Names that are cut may begin alike; what is left over of one run must not seem another's.
    whole = hashlib.blake2b(os.fsencode(destination.name), digest_size=4).hexdigest()
    begin, end = f".{whole}.", f".part{destination.suffix}"
    room = longest_name(folder) - len(os.fsencode(f".{begin}{end}")) - _MARK
    return f".{cut_name(destination.stem[:64], room)}{begin}", end


def is_temporary(name: str, destination: Path) -> bool:
    """Whether a file called ``name``, beside ``destination``, is a temporary one for it."""
    begin, end = _around_mark(destination.parent, destination)
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

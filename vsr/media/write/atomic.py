"""A file that appears under its name only when it is complete."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

from vsr.errors import OutputError
from vsr.media.av_errors import av_errors

__all__ = ["AtomicFile", "check_destination"]


def check_destination(destination: str, *, overwrite: bool, source: str | None = None) -> None:
    """Whether a file may be written there at all; see :class:`AtomicFile`.

    Raises:
        OutputError: the folder is missing, the destination exists and may not be replaced, is a
            folder, or is the source itself.
    """
    path = Path(destination)
    if not path.parent.is_dir():
        raise OutputError(
            f"the folder {path.parent} does not exist",
            where=destination,
            remedy="Create it first or choose another one.",
        )
    if path.is_dir():
        raise OutputError("this is a folder", where=destination, remedy="Name a file inside it.")
    if path.exists():
        if source is not None and path.samefile(source):
            raise OutputError(
                "the result would replace the video it is made from",
                where=destination,
                remedy="Choose another name.",
            )
        if not overwrite:
            raise _exists(destination)


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
            _sync(self.destination.parent)
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
    name = f".{destination.stem[:64]}.{secrets.token_hex(4)}.part{destination.suffix}"
    path = folder / name
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return path


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

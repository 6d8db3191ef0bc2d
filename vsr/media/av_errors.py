"""The one place where FFmpeg's and the operating system's errors become this package's errors."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike, fspath

import av.error

from vsr.errors import InputError, OutputError, VsrError
from vsr.types.place import source_name

__all__ = ["av_errors", "map_av_error"]

# errno -> (what happened, remedy when reading, remedy when writing).
_BY_ERRNO: dict[int, tuple[str, str, str]] = {
    errno.ENOENT: (
        "there is no such file or folder",
        "Check the path for typing errors.",
        "Create the folder first.",
    ),
    errno.EISDIR: (
        "this is a folder, not a file",
        "Name the files inside it, as in folder/*.mp4; `vsr watch` takes a whole folder.",
        "Name a file inside it.",
    ),
    errno.EACCES: (
        "permission denied",
        "Make the file readable for this user.",
        "Choose a folder that this user may write to.",
    ),
    errno.EPERM: (
        "the operation is not permitted",
        "Make the file readable for this user; for a GPU, check its driver.",
        "Choose a folder that this user may write to; for a GPU, check its driver.",
    ),
    errno.ENOSPC: ("the disk is full", "", "Free some space or write to another disk."),
    errno.EFBIG: (
        "the file is larger than its file system or a limit allows",
        "",
        "Write to another disk (FAT32 ends at 4 GB), or check `ulimit -f`.",
    ),
    errno.EROFS: ("the file system is read-only", "", "Choose another folder."),
    errno.EIO: (
        "the disk or network reported an input/output error",
        "Copy the file to another disk, or download it, and try again.",
        "Write to another disk.",
    ),
    errno.ENOMEM: (
        "memory ran out",
        "Close other programs and try again.",
        "Lower the number of encoder threads, or close other programs.",
    ),
    errno.ETIMEDOUT: ("the connection timed out", "Check the network and the address.", ""),
    errno.ECONNREFUSED: ("the server refused the connection", "Check the address.", ""),
}

# FFmpeg's own classes -> the same; the nearest class in an error's tree wins.
_BY_CLASS: dict[type[BaseException], tuple[str, str, str]] = {
    av.error.InvalidDataError: (
        "FFmpeg finds no valid media data in it",
        "Check with a player whether the file is whole; download or copy it again if it is not.",
        "",
    ),
    av.error.DecoderNotFoundError: (
        "no decoder for it is built into this FFmpeg",
        "Convert the file with another program first.",
        "",
    ),
    av.error.EncoderNotFoundError: (
        "the encoder is not built into this FFmpeg",
        "",
        "Choose another codec; `vsr doctor` lists those that work here.",
    ),
    av.error.DemuxerNotFoundError: (
        "the file format is not known to this FFmpeg",
        "Convert the file with another program first.",
        "",
    ),
    av.error.MuxerNotFoundError: (
        "the file format is not known to this FFmpeg",
        "",
        "Choose another file name ending, such as .mp4 or .mkv.",
    ),
    av.error.ProtocolNotFoundError: (
        "the protocol before '://' is not built into this FFmpeg",
        "Download the file first.",
        "Write to a file instead.",
    ),
    av.error.PatchWelcomeError: (
        "FFmpeg does not support a feature that it uses",
        "Convert the file with another program first.",
        "Choose another codec or other settings.",
    ),
    av.error.HTTPError: ("the server answered with an error", "Check the address.", ""),
    av.error.ArgumentError: (
        "FFmpeg refused a setting",
        "Convert the file with another program first.",
        "Choose other settings.",
    ),
}


def map_av_error(
    error: BaseException,
    path: str | PathLike[str],
    doing: str,
    kind: type[VsrError] = InputError,
) -> VsrError:
    """The package's error for a foreign one; raise it ``from`` the original.

    Args:
        error: an ``av.error.FFmpegError`` or an ``OSError``.
        path: the file it happened to.
        doing: what was being done, as in "cannot ... ": ``"open the file"``.
        kind: class of the result. :class:`~vsr.errors.OutputError` and its kinds get remedies for
            writing, all others get remedies for reading.
    """
    what, reading, writing = _explanation(error)
    remedy = writing if issubclass(kind, OutputError) else reading
    where = source_name(fspath(path))
    return kind(f"cannot {doing}: {what}", where=where, remedy=remedy)


def _explanation(error: BaseException) -> tuple[str, str, str]:
    for cls in type(error).__mro__:
        if cls in _BY_CLASS:
            what, reading, writing = _BY_CLASS[cls]
            return f"{what} ({_text(error)})", reading, writing
    number = getattr(error, "errno", None)
    if number in _BY_ERRNO:
        return _BY_ERRNO[number]
    return _text(error), "", ""


def _text(error: BaseException) -> str:
    """The library's words without the number and the path, which are said elsewhere."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    log = getattr(error, "log", None)
    detail = f": {log[2].strip()}" if log else ""
    return f"{type(error).__name__}: {text}{detail}"


@contextmanager
def av_errors(
    path: str | PathLike[str], doing: str, kind: type[VsrError] = InputError
) -> Iterator[None]:
    """Run a block so that FFmpeg's and the operating system's errors come out as ``kind``.

    Arguments are those of :func:`map_av_error`. This package's own errors pass through.

    Raises:
        VsrError: of class ``kind``, ``from`` the original.
        BrokenPipeError: whoever read standard output has gone, which is nobody's failure.
    """
    try:
        yield
    except BrokenPipeError as error:
        if isinstance(error, av.error.FFmpegError):  # a server that we read from
            raise map_av_error(error, path, doing, kind) from error
        raise
    except (av.error.FFmpegError, OSError) as error:
        raise map_av_error(error, path, doing, kind) from error

"""Opening a file for reading, with errors that say what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import av.error
from av.codec.hwaccel import HWAccel
from av.container import InputContainer

from vsr.errors import InputError
from vsr.media.av_errors import map_av_error

__all__ = ["open_source", "read_through", "video_stream"]

# FFmpeg would "play" any text file as the screen of a terminal.
_NOT_VIDEO = {"tty": "it is a text file", "bin": "it is not a media file"}

# Paths that are not files of this machine, and what gives a file-like object for each.
_THROUGH: dict[str, Callable[[], Any]] = {}


@contextmanager
def read_through(path: str, opener: Callable[[], Any]) -> Iterator[None]:
    """While the block lasts, :func:`open_source` of ``path`` reads what ``opener`` gives.

    For sources that are somewhere else. Each call of ``opener`` gives a new binary file-like
    object with ``name``, ``read``, ``seek`` and ``tell``, at its beginning; what its methods
    raise comes out of FFmpeg's calls. Holds for all threads of the process.
    """
    _THROUGH[path] = opener
    try:
        yield
    finally:
        del _THROUGH[path]


def open_source(path: str, hwaccel: HWAccel | None = None) -> InputContainer:
    """Open ``path`` (a file, or a URL of a protocol that FFmpeg has).

    Args:
        path: what to open.
        hwaccel: decode what can be decoded so on a device.

    Raises:
        InputError: there is no such file, it is empty, a folder, not a media file, or broken; the
            error says which.
    """
    opener = _THROUGH.get(path)
    if "://" not in path and opener is None:
        _check_file(path)
    try:
        # Tags in an unknown encoding must not make a file unreadable.
        file = path if opener is None else opener()
        container = av.open(file, "r", metadata_errors="replace", hwaccel=hwaccel)
    except (av.error.FFmpegError, OSError) as error:
        if isinstance(error, av.error.InvalidDataError) and _lacks_moov(path):
            raise InputError(
                "its index (the 'moov' atom) is missing: the recording or download stopped before "
                "it was finished",
                where=path,
                remedy="Copy it again; if there is no better copy, `untrunc` may rebuild the index "
                "with the help of a whole file from the same camera or program.",
            ) from error
        raise map_av_error(error, path, "open the file") from error
    if container.format.name in _NOT_VIDEO:
        container.close()
        raise InputError(
            f"{_NOT_VIDEO[container.format.name]}, not a video", where=path, remedy="Name a video."
        )
    return container


def video_stream(container: InputContainer, index: int) -> av.VideoStream:
    """The video stream with this index in the file.

    Raises:
        InputError: it is not a video stream, or no decoder knows it.
    """
    stream = container.streams[index] if 0 <= index < len(container.streams) else None
    if not isinstance(stream, av.VideoStream) or stream.codec_context is None:
        videos = ", ".join(str(s.index) for s in container.streams.video) or "none"
        raise InputError(
            f"stream {index} is not a video stream that can be decoded",
            where=container.name,
            remedy=f"Its video streams are: {videos}.",
        )
    return stream


def _check_file(path: str) -> None:
    if path == "-":
        raise InputError(
            "pipes cannot be read: a file is looked at before it is read through",
            remedy="Save it first. A file of that name is ./-",
        )
    try:
        size = Path(path).stat().st_size
    except OSError as error:
        raise map_av_error(error, path, "open the file") from error
    if Path(path).is_file() and size == 0:
        raise InputError(
            "the file is empty (0 bytes)", where=path, remedy="Copy or download it again."
        )


def _lacks_moov(path: str) -> bool:
    """Whether this is an ISO base media file (ISO/IEC 14496-12) without a ``moov`` box."""
    file = Path(path)
    if not file.is_file():
        return False
    with file.open("rb") as data:
        end, at, seen = file.stat().st_size, 0, False
        while at + 8 <= end:
            data.seek(at)
            header = data.read(16)
            size, kind = int.from_bytes(header[:4], "big"), header[4:8]
            if kind == b"moov":
                return False
            if kind not in (b"ftyp", b"mdat", b"free", b"wide", b"skip", b"uuid", b"moof", b"sidx"):
                break
            seen = True
            if size == 1:
                size = int.from_bytes(header[8:16], "big")
            if size == 0:  # to the end of the file
                break
            at += max(size, 8)
        return seen

"""How far into a file its streams begin.

Program streams (.vob, .mpg) have no list of their streams: one is there from its first packet on.
That of DVD subtitles is the first line spoken. Transport streams (.ts, .m2ts) have a list, which
does not say how many channels a sound has. FFmpeg looks at the first seconds, and PyAV never learns
of what comes up later. So these files are looked into further, and where that brings more, each
opening of them reads as far as it must. In other formats without a list (.flv) it stays behind.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.error
from av.container import InputContainer

if TYPE_CHECKING:
    AnyPacket = av.Packet[Any]

__all__ = ["LOOK", "demuxed", "later_streams", "open_options"]

#: Bytes that are looked into; what is passed stays in memory until it is read.
LOOK = 100 << 20
# Read behind a stream's first packet, which may not be enough to know it.
_MARGIN = 1 << 20
# The names of FFmpeg's demuxers of program and transport streams.
_FORMATS = ("mpeg", "mpegts")
# How PyAV refuses a stream that a file does not have. Of more than so many that have come up, it is
# only known that there are so many.
_NO_STREAM = re.compile(r"stream index (\d+) out of range")
_MOST_LATE = 64

Options = dict[str, str]
# File, its length and time -> what it is opened with.
_KNOWN: dict[tuple[str, int, int], Options] = {}


def open_options(path: str, file: str, container: InputContainer) -> Options:
    """What to open a file with so that its streams are known; empty if they are by default.

    Args:
        path: a file of this machine. file: its name towards FFmpeg.
        container: the file, opened by default.
    """
    if container.format.name not in _FORMATS:
        return {}
    status = Path(path).stat()
    key = (str(Path(path).absolute()), status.st_size, status.st_mtime_ns)
    if key not in _KNOWN:
        _KNOWN[key] = _find_options(file, _facts(container))
    return _KNOWN[key]


def demuxed(container: InputContainer, streams: Iterable[Any]) -> Iterator[AnyPacket]:
    """``container.demux(streams)``, also where further streams come up on the way.

    PyAV then looks for them in a list that was made before, when it has read the last packet.
    """
    try:
        yield from container.demux(*streams)
    except IndexError:
        if not later_streams(container):
            raise


def later_streams(container: InputContainer) -> int:
    """How many streams have come up since the file was opened: PyAV gives none of their packets.

    To be asked at the end of the file. PyAV has no list of them, and FFmpeg's description of the
    file is a message: who listens to those may wait for ever while a decoder is freed beside
    (:func:`vsr.media.write.encoder_options.open_listening`). But of the streams that are to be
    demuxed it looks whether the file has them, before it reads; others' streams will do.
    """
    known = len(container.streams)
    with av.open(io.BytesIO(), "w", format="matroska") as others:
        for _ in range(known + _MOST_LATE):
            others.add_data_stream()
        try:
            next(container.demux(*list(others.streams)[known:]), None)
        except ValueError as error:
            found = _NO_STREAM.search(str(error))
            if found is None:
                raise
            return int(found[1]) - known
    return _MOST_LATE


def _find_options(file: str, default: list[tuple[object, ...]]) -> Options:
    with _opened(file, LOOK) as container:
        wanted = _facts(container)
        if wanted == default:
            return {}
        late = {i for i, facts in enumerate(wanted) if facts not in default[i : i + 1]}
        depth = _last_begin(container, late) + _MARGIN
    with _opened(file, depth) as container:
        enough = depth < LOOK and _facts(container) == wanted
    return _options(depth if enough else LOOK)


def _options(depth: int) -> Options:
    # An hour in microseconds: bytes are the limit.
    return {"probesize": str(depth), "analyzeduration": "3600000000"}


def _opened(file: str, depth: int) -> InputContainer:
    return av.open(file, "r", metadata_errors="replace", options=_options(depth))


def _last_begin(container: InputContainer, streams: set[int]) -> int:
    """Where in the file the last of the streams begins."""
    missing, last = set(streams), 0
    try:
        for packet in demuxed(container, container.streams):
            if packet.size and packet.stream.index in missing and packet.pos is not None:
                last = max(last, packet.pos)
                missing.remove(packet.stream.index)
            if not missing:
                return last
    except av.error.FFmpegError:
        pass  # damaged: who reads the file says so
    return LOOK


def _facts(container: InputContainer) -> list[tuple[object, ...]]:
    """What is known of each stream."""
    found: list[tuple[object, ...]] = []
    for stream in container.streams:
        context: Any = stream.codec_context
        names = ("name", "sample_rate", "channels", "width", "height", "pix_fmt")
        found.append((stream.type, *(getattr(context, name, None) for name in names)))
    return found

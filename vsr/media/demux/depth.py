"""How far into a file its streams begin.

Program streams (.vob, .mpg) have no list of their streams: one is there from its first packet on.
That of DVD subtitles is the first line spoken. Transport streams (.ts, .m2ts) have a list, which
does not say how many channels a sound has. FFmpeg looks at the first seconds, and PyAV never learns
of what comes up later. So these files are looked into further, and where that brings more, each
opening of them reads as far as it must.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import av
import av.error
import av.logging
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
_STREAM = re.compile(r"^\s*Stream #\d+:(\d+)", re.MULTILINE)

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
    """How many streams have come up since the file was opened: PyAV gives none of their packets."""
    if container.format.name not in _FORMATS:
        return 0
    level = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)
    try:
        text: str = cast(Any, container).dumps_format()  # not in its stubs
    finally:
        av.logging.set_level(level)
    return max(0, len(set(_STREAM.findall(text))) - len(container.streams))


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

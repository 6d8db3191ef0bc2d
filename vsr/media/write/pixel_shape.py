r"""The shape of pixels in Matroska, which FFmpeg's muxer takes from where PyAV does not reach.

Matroska says how large a picture is shown (DisplayWidth and DisplayHeight, RFC 9559, 5.1.4.1.28).
FFmpeg's muxer writes that from ``AVStream.sample_aspect_ratio``, and PyAV 18.1 sets only the one of
the codec's parameters, which MP4 is written from. Codecs that carry the shape themselves (H.264,
HEVC) come through; VP9, AV1, ProRes and FFV1 do not.

So room is made before the header is written, at the end of the track's name, where muxers put any
text: a line ``[pixel shape 16:11   ...]``. When the file is complete, that line gives way to the
two elements and what is left becomes a Void element. No byte outside the track's entry moves (but
the checksum of Tracks is made anew), so index and clusters stay valid and a file of any size costs
a few kilobytes of reading and writing.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import BinaryIO

from av.stream import Stream

from vsr.errors import VerifyError
from vsr.media.ebml import element

__all__ = ["display_size", "reserve_shape", "shaped_header", "write_shapes"]

# Relative error of the ratio in WebM, where whole pixels do not make it exact.
_NEAR = 10_000
# WebM's pictures may be shown taller than they are by this part, if that makes the ratio exact.
_TALLER = Fraction(1, 16)

_SEGMENT, _TRACKS, _CLUSTER, _ENTRY = 0x18538067, 0x1654AE6B, 0x1F43B675, 0xAE
_NAME, _VIDEO, _VOID, _CRC = 0x536E, 0xE0, 0xEC, 0xBF
_WIDTH, _HEIGHT, _SHOWN_WIDTH, _SHOWN_HEIGHT, _UNIT = 0xB0, 0xBA, 0x54B0, 0x54BA, 0x54B2
# Rows and columns that are not shown; the size on display is that of what remains.
_TOP, _BOTTOM, _LEFT, _RIGHT = 0x54BB, 0x54AA, 0x54CC, 0x54DD
# Values of DisplayUnit.
_PIXELS, _RATIO, _UNKNOWN = 0, 3, 4
_LINE = re.compile(rb"\n?\[pixel shape (\d+):(\d+) *\]$")
# Elements of 10, 10 and 7 bytes, longer lengths of Video and Name, and 5 for Void: 38 would do.
_ROOM = 64
# Longer than any muxer's: a damaged length must not fill the memory.
_MOST_TRACKS = 256 << 20


def reserve_shape(stream: Stream, sar: Fraction) -> None:
    """Make room for ``sar`` in a stream of Matroska or WebM whose header is not written yet.

    The stream's title must not change afterwards, and :func:`write_shapes` has to follow.
    """
    line = f"[pixel shape {sar.numerator}:{sar.denominator}".ljust(_ROOM) + "]"
    title = stream.metadata.get("title", "")
    stream.metadata["title"] = f"{title}\n{line}" if title else line


def write_shapes(path: Path, where: str, tracks: int, *, webm: bool) -> None:
    """Turn the room of :func:`reserve_shape` into the shape of pixels, in a complete file.

    Args:
        path: the file, changed in place. ``where``: what to call it in errors.
        tracks: how many streams room was made in.
        webm: the file is WebM, which has the size in pixels only. Matroska gets the exact ratio of
            the picture's sides, as FFmpeg's muxer writes it.

    Raises:
        VerifyError: the file is not built as FFmpeg's muxer builds it; nothing is changed.
        OSError: it cannot be read or written.
    """
    with path.open("r+b") as file:
        _write(file, where, tracks, webm=webm)


def shaped_header(header: bytes, where: str, tracks: int, *, webm: bool) -> bytes:
    """The beginning of a file, all of its tracks in it, as :func:`write_shapes` changes it.

    Raises:
        VerifyError: as there.
    """
    file = io.BytesIO(header)
    _write(file, where, tracks, webm=webm)
    return file.getvalue()


def _write(file: BinaryIO, where: str, tracks: int, *, webm: bool) -> None:
    start, size = _find_tracks(file, where)
    file.seek(start)
    old = file.read(size)
    children = list(_children(old, where))
    new, done = b"", 0
    for child in children:
        entry = _shaped(child.data, webm, where) if child.identifier == _ENTRY else None
        done += entry is not None
        new += child.head + (child.data if entry is None else entry)
    if done != tracks or len(new) != size:
        raise _strange(f"{done} tracks instead of {tracks} have room for it", where)
    if children[0].identifier == _CRC:
        # IEEE CRC-32, least significant byte first, over all that follows (RFC 8794, 11.3.1).
        rest = len(children[0].head) + len(children[0].data)
        for text in (old, new):
            sum_ = zlib.crc32(text[rest:]).to_bytes(4, "little")
            if text is old and sum_ != children[0].data:
                raise _strange("the checksum of its tracks is wrong", where)
        new = children[0].head + sum_ + new[rest:]
    file.seek(start)
    file.write(new)


def display_size(width: int, height: int, sar: Fraction) -> tuple[int, int]:
    """How large the picture is shown, in whole pixels.

    Its height is the picture's; or up to 1/16 more where that makes the ratio exact. Where it does
    not, the width is rounded, and the height is the first from the picture's on at which the ratio
    is off by less than 1/10000.

    Args:
        width, height: of the coded picture.
        sar: width of a pixel by its height.
    """
    across, down = (sar * width / height).as_integer_ratio()
    times = -(-height // down)
    if times * down <= height * (1 + _TALLER):
        return times * across, times * down
    for shown in count(height):
        wide = max(1, (2 * shown * across + down) // (2 * down))
        if abs(wide * down - shown * across) * _NEAR < shown * across:
            return wide, shown
    raise AssertionError("the error falls with the height")


@dataclass(frozen=True, slots=True)
class _Element:
    """Identifier and length as they stand in the file, and the content."""

    identifier: int
    head: bytes
    data: bytes


def _shaped(entry: bytes, webm: bool, where: str) -> bytes | None:
    """A track's entry of the same length with the shape in it; ``None``: it has no room for it."""
    children = list(_children(entry, where))
    name = next((c for c in children if c.identifier == _NAME), None)
    line = _LINE.search(name.data) if name is not None else None
    if name is None or line is None:
        return None
    sar = Fraction(int(line[1]), int(line[2]))
    new = b""
    for child in children:
        if child is name:
            title = name.data[: line.start()]
            new += element(_NAME, title) if title else b""
        elif child.identifier == _VIDEO:
            new += element(_VIDEO, _video(child.data, sar, webm, where))
        elif child.identifier != _VOID:
            new += child.head + child.data
    left = len(entry) - len(new)
    # The four bytes of a length take any rest from 5 on; the room leaves far more.
    if left < 5:
        raise _strange("the room for it is too small", where)
    return new + element(_VOID, bytes(left - 5))


def _video(data: bytes, sar: Fraction, webm: bool, where: str) -> bytes:
    children = list(_children(data, where))
    values = {c.identifier: int.from_bytes(c.data, "big") for c in children}
    # Stereoscopic pictures have a size already: that of one view.
    hidden = [values.get(border, 0) for border in (_LEFT, _RIGHT, _TOP, _BOTTOM)]
    width = values.get(_SHOWN_WIDTH, values.get(_WIDTH, 0) - sum(hidden[:2]))
    height = values.get(_SHOWN_HEIGHT, values.get(_HEIGHT, 0) - sum(hidden[2:]))
    if width <= 0 or height <= 0 or values.get(_UNIT, _PIXELS) not in (_PIXELS, _UNKNOWN):
        raise _strange("a track has no size in pixels", where)
    if webm:
        wide, high = display_size(width, height, sar)
        unit = b""
    else:
        wide, high = (sar * width / height).as_integer_ratio()
        unit = element(_UNIT, _RATIO)
    shown = (_SHOWN_WIDTH, _SHOWN_HEIGHT, _UNIT, _VOID)
    kept = b"".join(c.head + c.data for c in children if c.identifier not in shown)
    return kept + element(_SHOWN_WIDTH, wide) + element(_SHOWN_HEIGHT, high) + unit


def _find_tracks(file: BinaryIO, where: str) -> tuple[int, int]:
    """Where the content of Tracks begins, and its length."""
    inside = False
    while True:
        head = file.read(12)
        if len(head) < 2:
            raise _strange("it has no tracks", where)
        identifier, size, length = _head(head, 0, where)
        file.seek(length - len(head), 1)
        if identifier == _TRACKS and inside:
            if size is None or size > _MOST_TRACKS:
                raise _strange("its tracks have no sensible length", where)
            return file.tell(), size
        if identifier == _CLUSTER:
            raise _strange("its pictures come before its tracks", where)
        if identifier == _SEGMENT:
            inside = True
        elif size is None:
            raise _strange("an element has no length", where)
        else:
            file.seek(size, 1)


def _children(data: bytes, where: str) -> Iterator[_Element]:
    at = 0
    while at < len(data):
        identifier, size, length = _head(data, at, where)
        begin = at + length
        if size is None or begin + size > len(data):
            raise _strange("an element is longer than what it lies in", where)
        yield _Element(identifier, data[at:begin], data[begin : begin + size])
        at = begin + size


def _head(data: bytes, at: int, where: str) -> tuple[int, int | None, int]:
    """Identifier, length of the content (``None``: unknown) and length of this head in bytes."""
    first = data[at]
    wide = 9 - first.bit_length()
    if wide > 4 or at + wide >= len(data) or not data[at + wide]:
        raise _strange("it is no Matroska", where)
    identifier = int.from_bytes(data[at : at + wide], "big")
    long = 9 - data[at + wide].bit_length()
    value = int.from_bytes(data[at + wide : at + wide + long], "big")
    size = value - (1 << 7 * long)
    unknown = size == (1 << 7 * long) - 1
    return identifier, None if unknown else size, wide + long


def _strange(what: str, where: str) -> VerifyError:
    return VerifyError(f"the pixel aspect ratio cannot be written: {what}", where=where)

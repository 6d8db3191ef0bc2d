"""Text tracks of complete MP4 and MOV files: whether they are shown, and where.

A track is a ``trak`` box; looked at here are its ``tkhd`` (ISO/IEC 14496-12, 8.3.2), ``hdlr``
and ``stsd``. Sizes and places are fixed-point numbers with 16 bits behind the point.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

__all__ = ["TextPlace", "place_texts", "text_places", "turn_off_texts"]

# Handlers of tracks that are shown over the picture.
_HANDLERS = {b"sbtl", b"text", b"subt", b"clcp"}
# Where ``tkhd`` has the matrix, by its version.
_MATRIX = {0: 40, 1: 52}
_TO_STSD = (b"minf", b"stbl", b"stsd")
# In ``stsd`` with an entry of timed text (3GPP TS 26.245, 5.16): its type, and in it the box that
# text goes into and the size of letters.
_ENTRY_TYPE, _TEXT_BOX, _LETTERS = 12, 34, 49

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class TextPlace:
    """Where a text track lies on the picture: its size, and its distance from left and top."""

    width: int
    height: int
    left: int
    top: int


def turn_off_texts(path: Path) -> None:
    """Take the mark of what is shown from all text tracks of a file, which is changed in place.

    FFmpeg's muxer turns on the first one where none is to be on, and players then show it. The mark
    is ``track_enabled``, bit 0 of the flags.

    Raises:
        OSError: it cannot be read or written.
    """
    with path.open("r+b") as file:
        for _, track in _texts(file, path.stat().st_size):
            last = track[b"tkhd"][0] + 3  # the last of the three bytes of flags
            file.seek(last)
            flags = file.read(1)[0]
            file.seek(last)
            file.write(bytes([flags & ~1]))


def text_places(path: Path) -> dict[int, TextPlace]:
    """Where each text track lies, by the number of the track, from 0.

    Raises:
        OSError: the file cannot be read.
    """
    found = {}
    with path.open("rb") as file:
        for number, track in _texts(file, path.stat().st_size):
            begin, end = track[b"tkhd"]
            file.seek(begin)
            content = file.read(min(end - begin, 100))
            at = _MATRIX.get(content[0], 100) if content else 100
            if len(content) >= at + 44:
                left, top, _, width, height = struct.unpack_from(">2iI2I", content, at + 24)
                found[number] = TextPlace(width, height, left, top)
    return found


def place_texts(path: Path, places: Sequence[TextPlace | None], scale: int) -> None:
    """Place text tracks as others are placed on a smaller picture.

    FFmpeg copies the size of such a track and forgets its place, so that players which go by them
    would show small text in a corner of an enlarged picture.

    Args:
        path: a complete file, changed in place.
        places: of its text tracks on the smaller picture, in the order of the file; ``None`` leaves
            one as it is. Further ones, such as FFmpeg's of chapters, are left, too.
        scale: how many times as large this picture is; its letters and their box become so, too.

    Raises:
        OSError: it cannot be read or written.
    """
    with path.open("r+b") as file:
        tracks = [track for _, track in _texts(file, path.stat().st_size)]
        for place, track in zip(places, tracks, strict=False):
            if place is None:
                continue
            begin, _ = track[b"tkhd"]
            file.seek(begin)
            at = begin + _MATRIX.get(file.read(1)[0], 40)
            file.seek(at + 24)
            file.write(struct.pack(">2i", *(_fitting(v * scale) for v in (place.left, place.top))))
            file.seek(at + 36)
            size = (_fitting(v * scale) for v in (place.width, place.height))
            file.write(struct.pack(">2I", *size))
            _enlarge_letters(file, track, scale)


def _enlarge_letters(file: BinaryIO, track: dict[bytes, Span], scale: int) -> None:
    span = track.get(b"mdia")
    for kind in _TO_STSD:
        inside = {} if span is None else {k: (a, b) for k, a, b in _boxes(file, *span)}
        span = inside.get(kind)
    if span is None or span[1] - span[0] <= _LETTERS:
        return
    file.seek(span[0])
    content = bytearray(file.read(_LETTERS + 1))
    if content[_ENTRY_TYPE : _ENTRY_TYPE + 4] != b"tx3g":
        return
    sides = struct.unpack_from(">4h", content, _TEXT_BOX)
    struct.pack_into(">4h", content, _TEXT_BOX, *(_short(side * scale) for side in sides))
    content[_LETTERS] = min(content[_LETTERS] * scale, 255)
    file.seek(span[0])
    file.write(content)


def _fitting(value: int) -> int:
    return max(-(1 << 31), min((1 << 31) - 1, value))


def _short(value: int) -> int:
    return max(-(1 << 15), min((1 << 15) - 1, value))


def _texts(file: BinaryIO, size: int) -> Iterator[tuple[int, dict[bytes, Span]]]:
    """Number of each text track, and where its boxes' contents begin and end."""
    for movie, *moov in _boxes(file, 0, size):
        tracks = (
            {kind: (a, b) for kind, a, b in _boxes(file, *trak)}
            for box, *trak in (_boxes(file, *moov) if movie == b"moov" else ())
            if box == b"trak"
        )
        for number, track in enumerate(tracks):
            inside = {kind: begin for kind, begin, _ in _boxes(file, *track.get(b"mdia", (0, 0)))}
            if b"hdlr" not in inside or b"tkhd" not in track:
                continue
            file.seek(inside[b"hdlr"] + 8)  # behind version, flags and a reserved field
            if file.read(4) in _HANDLERS:
                yield number, track


def _boxes(file: BinaryIO, begin: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Boxes that lie from ``begin`` to ``end``: type, and where the content begins and ends."""
    while begin + 8 <= end:
        file.seek(begin)
        head = file.read(16)
        size, content = int.from_bytes(head[:4], "big"), begin + 8
        if size == 1:
            size, content = int.from_bytes(head[8:], "big"), begin + 16
        elif size == 0:
            size = end - begin
        if size < content - begin:
            return
        yield head[4:8], content, min(begin + size, end)
        begin += size

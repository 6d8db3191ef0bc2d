"""EBML elements, of which Matroska files are made (RFC 8794)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

__all__ = ["element", "elements"]


def element(identifier: int, value: bytes | str | int | float) -> bytes:
    """One EBML element: identifier, length (four bytes), and the value in EBML's coding of it."""
    if isinstance(value, float):
        data = struct.pack(">d", value)
    elif isinstance(value, int):
        data = value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")
    else:
        data = value.encode() if isinstance(value, str) else value
    length = (0x10000000 | len(data)).to_bytes(4, "big")
    return identifier.to_bytes((identifier.bit_length() + 7) // 8, "big") + length + data


def elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Identifiers and contents of the elements that ``data`` consists of.

    For what FFmpeg's muxer has written; files of others may be damaged, or lack lengths.
    """
    at = 0
    while at < len(data):
        wide = 9 - data[at].bit_length()
        begin = at + wide + 9 - data[at + wide].bit_length()
        size = int.from_bytes(data[at + wide : begin], "big") - (1 << 7 * (begin - at - wide))
        yield int.from_bytes(data[at : at + wide], "big"), data[begin : begin + size]
        at = begin + size

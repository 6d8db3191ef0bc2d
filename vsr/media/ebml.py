"""EBML elements, of which Matroska files are made (RFC 8794)."""

from __future__ import annotations

import struct

__all__ = ["element"]


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

"""What frames carry besides pixels, of every type that FFmpeg knows.

PyAV has FFmpeg's types as an enumeration, which ends where its own list does: asked what a frame
carries, it raises ``ValueError`` if there is one newer type among it, as in every photo with EXIF
tags. The enumeration is told here to take those as well; nothing else of it changes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import cast

import av
from av.sidedata.sidedata import SideData, Type

__all__ = ["has_dolby_colors", "side_data"]

# AVFrameSideDataType of FFmpeg 8 (libavutil/frame.h), beyond the last that PyAV 18 has.
_NEWER = {28: "LCEVC", 29: "VIEW_ID", 30: "REFERENCE_DISPLAYS", 31: "EXIF"}


def side_data(frames: Iterable[av.VideoFrame]) -> Iterator[SideData]:
    """Everything that the frames carry. Types without a name are ``TYPE_`` and their number."""
    for frame in frames:
        # PyAV calls the container a mapping, but it iterates over its values.
        yield from cast("Iterable[SideData]", frame.side_data)


def has_dolby_colors(frames: Iterable[av.VideoFrame]) -> bool:
    """Whether the picture is Dolby Vision's profile 5 (or 10.0): IPT-PQ-C2, reshaped.

    Other profiles have a base layer of usual colours. FFmpeg tells them by the header of the
    metadata (``ff_dovi_guess_profile_hevc``): profile 0 of the "VDR RPU", with a base layer of full
    range. In its structures (libavutil/dovi_meta.h) AVDOVIMetadata begins with the header's place,
    and AVDOVIRpuDataHeader has these two at bytes 4 and 10.
    """
    for data in side_data(frames):
        if data.type is Type.DOVI_METADATA:
            content = bytes(data)
            header: int = struct.unpack_from("N", content)[0]
            return content[header + 4] == 0 and content[header + 10] == 1
    return False


def _newer(kind: type[Type], value: object) -> Type | None:
    """A member for a value that has none: what an enumeration asks before it raises."""
    if not isinstance(value, int):
        return None
    member = object.__new__(kind)
    member._name_ = _NEWER.get(value, f"TYPE_{value}")
    member._value_ = value  # type: ignore[assignment]
    return cast(Type, kind._value2member_map_.setdefault(value, member))


Type._missing_ = classmethod(_newer)  # type: ignore[method-assign,assignment]

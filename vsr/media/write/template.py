"""Streams that carry what PyAV has no setter for, made as Matroska headers in memory.

PyAV 18.1 can copy a stream's parameters but not set these: mastering display and content light
level in the container, chroma siting, and the encoder delay of copied audio. So a file that says
nothing else is written into memory (a Matroska header of a few hundred bytes, RFC 9559), opened,
and its stream used as the template: FFmpeg's Matroska reader fills the fields in.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import av
from av.stream import Stream

from vsr.types import ChromaSite, HdrMetadata

__all__ = ["AUDIO_IDS", "audio_template", "video_template"]

# FFmpeg's codec names -> Matroska's codec IDs.
_VIDEO_IDS = {
    "h264": "V_MPEG4/ISO/AVC",
    "hevc": "V_MPEGH/ISO/HEVC",
    "av1": "V_AV1",
    "vp9": "V_VP9",
    "prores": "V_PRORES",
    "ffv1": "V_FFV1",
}
#: Audio codecs that :func:`audio_template` can make: those that start with an encoder delay.
AUDIO_IDS = {
    "aac": "A_AAC",
    "mp3": "A_MPEG/L3",
    "mp2": "A_MPEG/L2",
    "ac3": "A_AC3",
    "eac3": "A_EAC3",
    "opus": "A_OPUS",
}
# ChromaSitingHorz and ChromaSitingVert: 1 is left / top collocated, 2 is half.
_SITINGS = {ChromaSite.LEFT: (1, 2), ChromaSite.CENTER: (2, 2), ChromaSite.TOPLEFT: (1, 1)}


@contextmanager
def video_template(codec: str, site: ChromaSite, hdr: HdrMetadata | None) -> Iterator[Stream]:
    """A video stream of ``codec`` whose parameters hold chroma siting and HDR metadata."""
    colour = b""
    if site in _SITINGS:
        horizontal, vertical = _SITINGS[site]
        colour += _element(0x55B7, horizontal) + _element(0x55B8, vertical)
    if hdr is not None and hdr.max_cll is not None:
        colour += _element(0x55BC, hdr.max_cll) + _element(0x55BD, hdr.max_fall or 0)
    if hdr is not None:
        colour += _mastering(hdr)
    picture = _element(0xB0, 64) + _element(0xBA, 64)
    if colour:
        picture += _element(0x55B0, colour)
    track = _element(0x83, 1) + _element(0x86, _VIDEO_IDS[codec]) + _element(0xE0, picture)
    with _opened(track) as stream:
        yield stream


@contextmanager
def audio_template(
    codec: str, rate: int, channels: int, extradata: bytes | None, delay: Fraction
) -> Iterator[Stream]:
    """An audio stream of ``codec`` (one of :data:`AUDIO_IDS`) that starts ``delay`` s too early.

    Args:
        codec: FFmpeg's name.
        rate: sampling rate in Hz. ``channels``: their number.
        extradata: codec private data of the stream that is copied.
        delay: seconds of sound before time zero that only prime the decoder.
    """
    sound = _element(0xB5, float(rate)) + _element(0x9F, channels)
    track = (
        _element(0x83, 2)
        + _element(0x86, AUDIO_IDS[codec])
        + (_element(0x63A2, extradata) if extradata else b"")
        + _element(0x56AA, round(delay * 10**9))
        + _element(0xE1, sound)
    )
    with _opened(track) as stream:
        yield stream


def _mastering(hdr: HdrMetadata) -> bytes:
    data = b""
    if hdr.primaries is not None:
        coordinates = [float(value) for point in hdr.primaries for value in point]
        for number, value in enumerate(coordinates):
            data += _element(0x55D1 + number, value)
    if hdr.min_luminance is not None and hdr.max_luminance is not None:
        data += _element(0x55D9, float(hdr.max_luminance))
        data += _element(0x55DA, float(hdr.min_luminance))
    return _element(0x55D0, data) if data else b""


@contextmanager
def _opened(track: bytes) -> Iterator[Stream]:
    # EBML header, then a segment of segment info, one track entry and one empty cluster.
    header = _element(0x4282, "matroska") + _element(0x4287, 4) + _element(0x4285, 2)
    info = _element(0x2AD7B1, 1_000_000) + _element(0x4D80, "vsr") + _element(0x5741, "vsr")
    entry = _element(0xD7, 1) + _element(0x73C5, 1) + track
    body = (
        _element(0x1549A966, info)
        + _element(0x1654AE6B, _element(0xAE, entry))
        + _element(0x1F43B675, _element(0xE7, 0))
    )
    file = io.BytesIO(_element(0x1A45DFA3, header) + _element(0x18538067, body))
    with av.open(file, "r", format="matroska") as container:
        yield container.streams[0]


def _element(identifier: int, value: bytes | str | int | float) -> bytes:
    """One EBML element: identifier, length, and the value in EBML's coding of its type."""
    if isinstance(value, float):
        data = struct.pack(">d", value)
    elif isinstance(value, int):
        data = value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")
    else:
        data = value.encode() if isinstance(value, str) else value
    length = (0x10000000 | len(data)).to_bytes(4, "big")
    return identifier.to_bytes((identifier.bit_length() + 7) // 8, "big") + length + data

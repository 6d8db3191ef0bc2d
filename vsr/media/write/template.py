"""Streams that carry what PyAV has no setter for, made as Matroska headers in memory.

PyAV 18.1 can copy a stream's parameters but not set these: mastering display and content light
level in the container, chroma siting, borders that are not shown, the encoder delay of copied
audio, and codec private data. So a file that says nothing else is written into memory (a Matroska
header of a few hundred bytes, RFC 9559), opened, and its stream used as the template: FFmpeg's
Matroska reader fills the fields in.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction

import av
from av.stream import Stream

from vsr.media.ebml import element
from vsr.types import ChromaSite, HdrMetadata

__all__ = ["AUDIO_IDS", "audio_template", "dvd_subtitle_template", "video_template"]

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
def video_template(
    codec: str,
    site: ChromaSite,
    hdr: HdrMetadata | None,
    size: tuple[int, int] = (64, 64),
    crop: Sequence[int] = (0, 0, 0, 0),
) -> Iterator[Stream]:
    """A video stream of ``codec`` whose parameters hold chroma siting, HDR metadata and borders.

    Args:
        codec: FFmpeg's name. ``site``, ``hdr``: what is known of each.
        size: width and height, which only ``crop`` goes by.
        crop: rows at top and bottom and columns left and right that players are to hide.
    """
    colour = b""
    if site in _SITINGS:
        horizontal, vertical = _SITINGS[site]
        colour += element(0x55B7, horizontal) + element(0x55B8, vertical)
    if hdr is not None and hdr.max_cll is not None:
        colour += element(0x55BC, hdr.max_cll) + element(0x55BD, hdr.max_fall or 0)
    if hdr is not None:
        colour += _mastering(hdr)
    picture = element(0xB0, size[0]) + element(0xBA, size[1])
    for identifier, hidden in zip((0x54BB, 0x54AA, 0x54CC, 0x54DD), crop, strict=True):
        picture += element(identifier, hidden) if hidden else b""
    if colour:
        picture += element(0x55B0, colour)
    track = element(0x83, 1) + element(0x86, _VIDEO_IDS[codec]) + element(0xE0, picture)
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
    sound = element(0xB5, float(rate)) + element(0x9F, channels)
    track = (
        element(0x83, 2)
        + element(0x86, AUDIO_IDS[codec])
        + (element(0x63A2, extradata) if extradata else b"")
        + element(0x56AA, round(delay * 10**9))
        + element(0xE1, sound)
    )
    with _opened(track) as stream:
        yield stream


@contextmanager
def dvd_subtitle_template(extradata: bytes) -> Iterator[Stream]:
    """A stream of DVD subtitles; ``extradata``: lines of a VobSub ``.idx``, such as ``size:``."""
    track = element(0x83, 0x11) + element(0x86, "S_VOBSUB") + element(0x63A2, extradata)
    with _opened(track) as stream:
        yield stream


def _mastering(hdr: HdrMetadata) -> bytes:
    data = b""
    if hdr.primaries is not None:
        coordinates = [float(value) for point in hdr.primaries for value in point]
        for number, value in enumerate(coordinates):
            data += element(0x55D1 + number, value)
    if hdr.min_luminance is not None and hdr.max_luminance is not None:
        data += element(0x55D9, float(hdr.max_luminance))
        data += element(0x55DA, float(hdr.min_luminance))
    return element(0x55D0, data) if data else b""


@contextmanager
def _opened(track: bytes) -> Iterator[Stream]:
    # EBML header, then a segment of segment info, one track entry and one empty cluster.
    header = element(0x4282, "matroska") + element(0x4287, 4) + element(0x4285, 2)
    info = element(0x2AD7B1, 1_000_000) + element(0x4D80, "vsr") + element(0x5741, "vsr")
    entry = element(0xD7, 1) + element(0x73C5, 1) + track
    body = (
        element(0x1549A966, info)
        + element(0x1654AE6B, element(0xAE, entry))
        + element(0x1F43B675, element(0xE7, 0))
    )
    file = io.BytesIO(element(0x1A45DFA3, header) + element(0x18538067, body))
    with av.open(file, "r", format="matroska") as container:
        yield container.streams[0]

"""What frames carry besides pixels, and what tags say of them: is it lost, does it still hold?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

from vsr.types import StreamInfo, Trim, VideoStreamInfo

__all__ = ["cut_tags", "cut_timecode", "lost_side_data"]

_Stream = TypeVar("_Stream", bound=StreamInfo)

# Carried over, or spoken of with HDR: see vsr.plan.encode and the display matrix.
_HANDLED = {
    *("displaymatrix", "mastering_display_metadata", "content_light_level"),
    *("dovi_metadata", "dovi_rpu_buffer", "dynamic_hdr_plus", "dynamic_hdr_vivid"),
}
# By-products of coding, which nobody misses and most files have:
_BY_PRODUCTS = {
    # what encoders write about themselves (x264's settings); it would be wrong about the result
    "sei_unregistered",
    # how the source's pictures were coded, or what a program found in them, for its encoder
    *("motion_vectors", "video_enc_params", "video_hint", "regions_of_interest"),
    "detection_bboxes",
    # fields that MPEG-2 has in every stream: FFmpeg attaches the window to every frame, and the
    # GOP's timecode mostly counts from zero (a real one is a tag of the stream, or S12M)
    *("panscan", "gop_timecode"),
}
_NAMES = {
    "a53_cc": "closed captions (CEA-608/708, within the pictures)",
    "afd": "active format description (AFD)",
    "ambient_viewing_environment": "ambient viewing environment",
    "exif": "EXIF tags",
    "film_grain_params": "film grain parameters",
    "icc_profile": "ICC colour profile",
    "lcevc": "LCEVC enhancement layer",
    "reference_displays": "3D reference displays",
    "s12m_timecode": "timecodes of single frames (SMPTE ST 12-1)",
    "spherical": "spherical projection",
    "stereo3d": "stereoscopic 3D arrangement",
    "view_id": "view numbers (MV-HEVC, of whose views the first is decoded)",
}
# What Matroska's programs count of a whole stream: with a language behind it, or without.
_COUNTED = ("BPS", "DURATION", "NUMBER_OF_", "_STATISTICS_")
# Hours, minutes, seconds and frames; numbers are dropped unless a colon is before the last.
_TIMECODE = re.compile(r"(\d\d):([0-5]\d):([0-5]\d)([:;.,])(\d\d\d?)")


def lost_side_data(kinds: Iterable[str]) -> Iterator[str]:
    """A sentence for each type of frame side data that the result will lack.

    A type that is not known here is named as well: what it is worth, nobody has decided.

    Args:
        kinds: names of FFmpeg's types as PyAV has them, in lower case.
    """
    for kind in sorted(set(kinds) - _HANDLED - _BY_PRODUCTS):
        name = _NAMES.get(kind, f"{kind.replace('_', ' ')} metadata")
        yield f"{name}: the source's frames carry this, and the result's do not."


def cut_tags(stream: _Stream, video: VideoStreamInfo, trim: Trim) -> _Stream:
    """``stream`` with the tags that hold for the wanted part: its timecode, no counts."""
    if not trim:
        return stream
    tags = []
    for key, value in stream.metadata:
        said: str | None = value
        if key.upper() == "TIMECODE":
            said = cut_timecode(value, video, trim)
        if said is not None and not key.upper().startswith(_COUNTED):
            tags.append((key, said))
    return replace(stream, metadata=tuple(tags))


def cut_timecode(timecode: str, video: VideoStreamInfo, trim: Trim) -> str | None:
    """The timecode (SMPTE ST 12-1) of the first wanted frame, if ``timecode`` is that of the first.

    ``None``: it cannot be told, as the rate is not known, or the timecode is none at that rate.
    """
    first = video.start or 0
    if trim.start is None or trim.start <= first:
        return timecode
    parts, rate = _TIMECODE.fullmatch(timecode.strip()), video.average_rate
    if parts is None or not rate:
        return None
    fps, drops = round(rate), parts[4] != ":"
    hours, minutes, seconds, number = (int(parts[group]) for group in (1, 2, 3, 5))
    if hours >= 24 or number >= fps or (drops and fps % 30):
        return None
    # Every minute but each tenth begins without its first two numbers (at 60 frames/s four).
    left_out = fps // 15 if drops else 0
    minutes += 60 * hours
    frame = (60 * minutes + seconds) * fps + number - left_out * (minutes - minutes // 10)
    frame += round((trim.start - first) * video.time_base * rate)
    tens, rest = divmod(frame, 600 * fps - 9 * left_out)
    later = 0 if rest < 60 * fps else 1 + (rest - 60 * fps) // (60 * fps - left_out)
    seconds, number = divmod(frame + left_out * (9 * tens + later), fps)
    clock = f"{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{clock}{parts[4]}{number:02}"

"""Names, languages, dates and chapters: what a file says about itself and its streams."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from av.stream import Disposition, Stream

from vsr.media.containers import CONTAINERS
from vsr.plan.side_data import cut_timecode
from vsr.plan.tags.languages import language_for
from vsr.types import Plan, StreamInfo

__all__ = ["chapters", "describe_stream", "file_metadata"]

# Tags that describe the old file or the old samples, in upper case.
_FILE_TAGS = {"MAJOR_BRAND", "MINOR_VERSION", "COMPATIBLE_BRANDS", "ENCODER", "DURATION"}
_SAMPLE_TAGS = (
    "BPS",
    "DURATION",
    "NUMBER_OF_",
    "_STATISTICS_",
    "ENCODER",
    "VENDOR_ID",
    "ALPHA_MODE",
)
# What names languages, by muxer.
_LANGUAGES = {row.muxer: row.languages for row in CONTAINERS.values()}


def describe_stream(stream: Stream, source: StreamInfo, *, same_samples: bool = True) -> None:
    """Give ``stream`` the language, title, other tags and dispositions of ``source``.

    Args:
        stream: of the result.
        source: what it is made from.
        same_samples: the packets are copied; if not, tags that describe them are left out.
    """
    tags = dict(source.metadata)
    if "name" in tags:
        # What QuickTime files call the name of a track, FFmpeg writes from its title.
        tags.setdefault("title", tags.pop("name"))
    for key in list(tags):
        stale = key.upper().startswith(_SAMPLE_TAGS)
        if stale and (not same_samples or key.upper() in _FILE_TAGS):
            del tags[key]
        elif key.lower() == "language":
            language = language_for(tags.pop(key), _LANGUAGES[stream.container.format.name])
            if language.code is not None:
                tags["language"] = language.code
    stream.metadata.update(tags)
    flags = Disposition(0)
    for name in source.dispositions:
        flags |= Disposition[name]
    stream.disposition = flags


def chapters(plan: Plan) -> list[Any]:
    """The source's chapters in PyAV's form, moved by the plan's shift and cut to its trim."""
    end = _planned_end(plan)
    kept: list[Any] = []
    for chapter in plan.info.chapters:
        start = chapter.start * chapter.time_base + plan.time_shift
        stop = chapter.end * chapter.time_base + plan.time_shift
        if (plan.trim and stop <= 0) or (end is not None and start >= end):
            continue
        start, stop = max(start, Fraction(0)), stop if end is None else min(stop, end)
        kept.append(
            {
                "id": chapter.id,
                "start": round(start / chapter.time_base),
                "end": round(stop / chapter.time_base),
                "time_base": chapter.time_base,
                "metadata": dict(chapter.metadata),
            }
        )
    return kept


def _planned_end(plan: Plan) -> Fraction | None:
    """When a trimmed result ends, as far as that is known before it is read; ``None``: not cut."""
    trim, video = plan.trim, plan.video
    if trim.end is not None:
        return trim.end * video.time_base + plan.time_shift
    if trim.frames is not None and video.average_rate:
        start = trim.start if trim.start is not None else video.start or 0
        return start * video.time_base + plan.time_shift + trim.frames / video.average_rate
    return None


def file_metadata(plan: Plan) -> dict[str, str]:
    """The source's tags, without those that describe the old file itself.

    A timecode is that of the first frame of the wanted part.
    """
    tags: dict[str, str] = {}
    for key, value in plan.info.metadata:
        told: str | None = value
        if key.upper() == "TIMECODE":
            told = cut_timecode(value, plan.video, plan.trim)
        if told is not None and key.upper() not in _FILE_TAGS:
            tags[key] = told
    return tags

"""What was odd about a source, in sentences: for one reader, or for the segments of a job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise

import av
from av.container import InputContainer
from av.stream import Discard, Disposition

from vsr.media.demux.depth import later_streams
from vsr.media.read.reader import ReadStats
from vsr.types import VideoStreamInfo

__all__ = [
    "UNREADABLE",
    "UNREADABLE_REST",
    "count_gaps",
    "cut_short",
    "is_gap",
    "joined",
    "nominal_step",
    "odd_frames",
]

#: What a file is that cannot be read to its end, or to that of the part that is wanted.
UNREADABLE = (
    "The file is cut short: it is damaged at a place behind which nothing of it can be read."
)
#: The same, where all pictures of the part lie before that place.
UNREADABLE_REST = (
    "Nothing can be read of the file behind a damaged place near the end of the part: sound and "
    "subtitles may end too early."
)

# Seconds by which files end before the end they announce without anything missing.
_TOLERANCE = Fraction(1, 2)


def odd_frames(stats: ReadStats, video: VideoStreamInfo) -> Iterator[str]:
    """What was odd about the frames that were read."""
    yield from joined(stats.joins, stats.outliers)
    if stats.invented_pts:
        yield f"{stats.invented_pts} frames had no timestamp and were spaced evenly."
    if stats.moved_pts:
        seconds = float(stats.largest_move * video.time_base)
        yield (
            f"{stats.moved_pts} frames had a timestamp not after the one before and were "
            f"moved, by {seconds:.3f} s at most."
        )
    if stats.gaps:
        places = "one place" if stats.gaps == 1 else f"{stats.gaps} places"
        rate = video.average_rate
        lasting = f", {float(stats.gap_frames / rate):.2f} s," if rate else ""
        yield (
            f"The timestamps jump at {places}; at the file's frame rate about "
            f"{stats.gap_frames} frames{lasting} are missing there."
        )
    if stats.scaled:
        yield (
            f"{stats.scaled} frames had another size or format and were scaled to "
            f"{video.width}x{video.height} {video.format.name}."
        )
    if stats.recolored:
        yield (
            f"{stats.recolored} frames are tagged with another colour matrix or range than the "
            "first and were converted to its."
        )
    if stats.miscolored:
        yield (
            f"{stats.miscolored} frames are tagged with another transfer, other primaries or a "
            "matrix that cannot be converted to the first frame's; they are taken for like it."
        )
    if stats.unflagged and not stats.flagged:
        yield "No frame is flagged as interlaced; all were deinterlaced all the same."


def joined(joins: int, outliers: int) -> Iterator[str]:
    """What a file is whose timestamps begin anew at so many places, or are damaged."""
    if outliers:
        packets = (
            "One packet has a timestamp" if outliers == 1 else f"{outliers} packets have timestamps"
        )
        yield f"{packets} far from those before and behind, and got one between them."
    if joins:
        places = "one place" if joins == 1 else f"{joins} places"
        yield (
            f"Timestamps begin anew at {places}, where recordings were joined; they go on without "
            "a break in the result."
        )


def nominal_step(video: VideoStreamInfo) -> int | None:
    """Ticks between frames at the file's frame rate, if it has one."""
    rate = video.average_rate
    return max(1, round(1 / (rate * video.time_base))) if rate else None


def is_gap(step: int, nominal: float, video: VideoStreamInfo) -> bool:
    """Where frames come at a constant rate, a longer step means that some are missing."""
    return not video.variable_rate and 2 * step > 3 * nominal + 2


def count_gaps(pts: Sequence[int], video: VideoStreamInfo) -> tuple[int, int]:
    """Places where rising timestamps jump, and about how many frames are missing there."""
    nominal = nominal_step(video)
    if nominal is None:
        return 0, 0
    steps = [b - a for a, b in pairwise(pts)]
    found = [step for step in steps if is_gap(step, nominal, video)]
    return len(found), sum(round(step / nominal) - 1 for step in found)


def cut_short(
    container: InputContainer,
    stream: av.VideoStream,
    packets: int,
    video_end: Fraction,
    last_end: Fraction,
) -> Iterator[str]:
    """What the container announced and the file did not hold, once it has been read whole.

    Args:
        container: at its end.
        stream: the video.
        packets: video packets that were read.
        video_end: seconds at which the last of them ends.
        last_end: seconds at which the last packet of any stream ends.
    """
    if late := later_streams(container):
        streams = "One stream begins" if late == 1 else f"{late} streams begin"
        yield f"{streams} further into the file than it was looked into, and stayed behind."
    time_base = stream.time_base or Fraction(1, av.time_base)
    announced = _end(stream.start_time, stream.duration, time_base)
    # Edit lists hide packets, so their number alone does not mean that the file is cut short.
    if announced is not None and announced - video_end > _TOLERANCE and packets < stream.frames:
        yield (
            f"The file is cut short: it announces {stream.frames} video packets, but only "
            f"{packets} could be read."
        )
    # FFmpeg writes into Matroska when a file ends, not for how long it lasts, and into FLV how long
    # it lasts from where decoding begins, which may be seconds before the first frame is shown.
    counted = "matroska" in container.format.name or container.format.name == "flv"
    start = 0 if counted else container.start_time
    announced = _end(start, container.duration, Fraction(1, av.time_base))
    others = any(
        s.discard == Discard.all and not s.disposition & Disposition.attached_pic
        for s in container.streams.video
    )
    if stream.duration is None and announced is not None and last_end and not others:
        begin = Fraction(container.start_time or 0, av.time_base)
        if announced - last_end > max(_TOLERANCE, (announced - begin) / 20):
            yield (
                f"The file is cut short: it announces {float(announced - begin):.2f} s, but "
                f"ends after {float(last_end - begin):.2f} s."
            )


def _end(start: int | None, duration: int | None, time_base: Fraction) -> Fraction | None:
    """Seconds at which something ends."""
    return None if duration is None else ((start or 0) + duration) * time_base

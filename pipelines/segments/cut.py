"""Where a job is cut."""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from pipelines.reading import expected_frames
from vsr.media.read.notes import count_gaps
from vsr.media.read.scan import FrameScan, first_is_interlaced, scan_frames
from vsr.types import Plan, Segment
from vsr.types.place import is_once, on_disk

__all__ = ["Cut", "cut_job", "segment_length", "why_whole"]

#: Files that are open cannot be removed or replaced there; nobody has tried.
WINDOWS = os.name == "nt"

#: A segment is about so long, like the preset's longest distance between key frames: so much work
#: is lost at most, and so seldom does a key frame stand where none would have.
_FRAMES, _SECONDS = 250, 10


@dataclass(frozen=True, slots=True)
class Cut:
    """A job in segments.

    Attributes:
        segments: in order.
        frames: how many they hold together as far as packets tell, ``None`` if they do not.
        end: pts of the first frame behind the part, ``None`` if it ends with the file or is not
            known yet.
        gaps: places where timestamps jump, and about how many frames are missing there.
        notes: what was odd, one sentence each.
    """

    segments: tuple[Segment, ...]
    frames: int | None
    end: int | None = None
    gaps: tuple[int, int] = (0, 0)
    notes: tuple[str, ...] = ()


def segment_length(plan: Plan) -> int:
    """Frames of a segment: whole groups of pictures that make ten seconds, or 250 frames."""
    rate = plan.video.average_rate or Fraction(25)
    wanted = max(1, min(_FRAMES, round(_SECONDS * rate)))
    gop = max(1, plan.encode.gop)
    return gop * -(-wanted // gop)


def why_whole(plan: Plan, *, shared: bool = False) -> str:
    """Why ``plan`` is not done in segments; empty if it can be.

    ``shared``: other machines do it, for which even a single segment is worth having.
    """
    if is_once(plan.source):
        return "the source is a pipe"
    if not on_disk(plan.source):
        return "the source is not a file on this machine"
    if WINDOWS:
        return "segments are kept on Linux and macOS only"
    if plan.encode.format.alpha and plan.encode.encoder == "libvpx-vp9":
        return "VP9 has its alpha beside its packets, which segments do not keep"
    expected = None if shared else expected_frames(plan)
    if expected is not None and 2 * expected < 3 * segment_length(plan):
        return "it is short"
    return ""


def cut_job(plan: Plan) -> Cut:
    """Cut the part of the video that ``plan`` wants, by the packets of the source.

    Borders are the source's key frames where there are any near: decoding begins there without
    detours, and scenes often do, too.

    Raises:
        InputError: the source cannot be read.
    """
    scan = scan_frames(plan.source, plan.video, plan.trim)
    length = segment_length(plan)
    every = None
    if plan.deinterlace:
        every = not first_is_interlaced(plan.source, plan.video, plan.trim.start)
    if scan.problem:
        return _counted(plan, scan, length, every)
    borders = list(_borders(scan, length))
    if _detour(scan, borders) > len(scan.pts):
        # Key frames are so rare that seeking would decode more than reading straight through.
        return _counted(plan, scan, length, every)
    return Cut(
        segments=tuple(_sought(plan, scan, borders, every)),
        frames=len(scan.pts),
        end=scan.end,
        gaps=count_gaps(scan.pts, plan.video),
        notes=scan.notes,
    )


def _borders(scan: FrameScan, length: int) -> Iterator[int]:
    """Places of the first frames of all segments but the first."""
    keys = [bisect_left(scan.pts, pts) for pts in scan.keys]
    at, count = 0, len(scan.pts)
    while 2 * (count - at) >= 3 * length:
        at = _near(keys, at + length, at + -(-3 * length // 4), at + 3 * length // 2)
        yield at


def _near(keys: Sequence[int], wanted: int, low: int, high: int) -> int:
    """The key frame nearest to ``wanted`` in ``low..high``; ``wanted`` if there is none."""
    found = keys[bisect_left(keys, low) : bisect_right(keys, high)]
    return min(found, key=lambda key: abs(key - wanted), default=wanted)


def _detour(scan: FrameScan, borders: Sequence[int]) -> int:
    """Frames that are decoded only to reach the segments' first ones."""
    keys = [bisect_left(scan.pts, pts) for pts in scan.keys]
    total = 0
    for border in borders:
        before = bisect_right(keys, border)
        total += border - (keys[before - 1] if before else 0)
    return total


def _sought(
    plan: Plan, scan: FrameScan, borders: Sequence[int], every: bool | None
) -> Iterator[Segment]:
    firsts, ends = [0, *borders], [*borders, len(scan.pts)]
    for index, (first, end) in enumerate(zip(firsts, ends, strict=True)):
        yield Segment(
            index=index,
            first=first,
            frames=end - first,
            start=scan.pts[first] if first else plan.trim.start,
            end=scan.pts[end] if end < len(scan.pts) else scan.end,
            every_frame=every,
        )


def _counted(plan: Plan, scan: FrameScan, length: int, every: bool | None) -> Cut:
    expected = expected_frames(plan) if plan.trim else scan.packets
    count = max(1, (2 * (expected or scan.packets) - length) // (2 * length) + 1)
    segments = tuple(
        Segment(
            index=index,
            first=index * length,
            frames=length if index < count - 1 else None,
            how="count",
            every_frame=every,
        )
        for index in range(count)
    )
    return Cut(segments, expected, notes=scan.notes)

"""What a plan asks of a reader, and how much it will give."""

from __future__ import annotations

from vsr.media.read.reader import ReadRequest
from vsr.types import Plan

__all__ = ["expected_frames", "read_request"]


def read_request(plan: Plan) -> ReadRequest:
    """What the reader is asked for."""
    side = tuple(a.stream.index for a in plan.streams if a.action in ("copy", "convert"))
    return ReadRequest(
        path=plan.source,
        video=plan.video,
        batch=plan.batch,
        trim=plan.trim,
        deinterlace=plan.deinterlace,
        on_resize=plan.on_resize,
        side_streams=side,
        color=plan.color,
    )


def expected_frames(plan: Plan) -> int | None:
    """How many frames the run will give, as far as the container says."""
    video, trim = plan.video, plan.trim
    total = video.frames
    if trim.start is not None or trim.end is not None:
        rate = video.average_rate
        first = trim.start if trim.start is not None else (video.start or 0)
        last = trim.end
        if last is None and video.duration is not None:
            last = (video.start or 0) + video.duration
        total = None
        if rate is not None and last is not None:
            total = max(1, round((last - first) * video.time_base * rate))
    if trim.frames is not None:
        total = trim.frames if total is None else min(total, trim.frames)
    return total

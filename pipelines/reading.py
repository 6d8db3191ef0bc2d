"""What a plan asks of a reader, and how much it will give."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from vsr.media.read.choose import check_reader, choose_reader
from vsr.media.read.reader import ReadRequest
from vsr.types import Plan, Reason

__all__ = ["expected_frames", "read_request", "settle_reader"]


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
        device=plan.device,
    )


def expected_frames(plan: Plan) -> int | None:
    """How many frames the run will give, as far as the container says.

    A part is reckoned by the average rate: to its end, or to that of the stream or, where the
    container tells neither that nor the number of frames, of the file.
    """
    video, trim = plan.video, plan.trim
    total = video.frames
    if trim.start is not None or trim.end is not None:
        begin, tick, rate = video.start or 0, video.time_base, video.average_rate
        first = begin if trim.start is None else trim.start
        last: int | Fraction | None = trim.end
        if last is None and video.duration is not None:
            last = begin + video.duration
        elif last is None and total is None and plan.info.duration is not None:
            last = begin + plan.info.duration / tick
        if rate is None:
            total = None
        elif last is not None:
            total = max(1, round((last - first) * tick * rate))
        elif total is not None:
            total = max(1, total - round((first - begin) * tick * rate))
    if trim.frames is not None:
        total = trim.frames if total is None else min(total, trim.frames)
    return total


def settle_reader(plan: Plan, asked: str) -> Plan:
    """The plan with the reader that ``asked`` means on this machine: a row's name, or ``auto``.

    Raises:
        UsageError: there is no such reader.
        BackendError: the one asked for cannot run here, or not read this source.
    """
    request = read_request(plan)
    if asked != "auto":
        check_reader(asked, request)
        return replace(plan, reader=asked)
    name, why = choose_reader(request)
    reasons = (*plan.reasons, Reason("reader", name, why)) if why else plan.reasons
    return replace(plan, reader=name, reasons=reasons)

"""What a reader is asked for, by a plan or from Python, and how much it will give."""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch

from vsr.media.frames import frames as read_frames
from vsr.media.read.choose import check_reader, choose_reader
from vsr.media.read.reader import ReadRequest
from vsr.types import FrameBatch, Plan, Reason
from vsr.values import Check, WrongValueError, checked, path, seconds, text, whole

__all__ = ["expected_frames", "frames", "read_request", "settle_reader"]


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


def frames(
    source: str | Path,
    *,
    batch: int = 1,
    start: Fraction | float | None = None,
    end: Fraction | float | None = None,
    count: int | None = None,
    video_stream: int | None = None,
    reader: str = "pyav",
    device: str | torch.device = "cpu",
) -> Generator[FrameBatch, None, None]:
    """Every frame of a video, in presentation order, with its timestamp.

    Colour is decided as on the command line: tags where there are any, the usual conventions where
    not. Interlaced frames come as they are. The file is opened when the first batch is asked for,
    and closed after the last one, or by ``close()``; who leaves a loop early lets
    :func:`contextlib.closing` call that.

    Args:
        source: any file FFmpeg reads, or a URL of a protocol that it knows.
        batch: frames per batch, 1 or more; the last may have fewer.
        start: beginning of the wanted part in seconds from the first frame, 0 or more; a ``float``
            is taken as it is written: 0.1 is a tenth. ``None``: the first frame.
        end: end of the wanted part, likewise; frames shown then or later are left out. ``None``:
            that of the video.
        count: no more frames than this, 1 or more.
        video_stream: index of the stream, as FFmpeg counts; the default one if there are several.
        reader: row of the reader table: ``pyav``, ``nvdec``, ``dali``.
        device: where frames are wanted, ``cpu`` or ``cuda:N``; ``nvdec`` and ``dali`` leave them
            there, with ``pyav`` they are on the CPU.

    Returns:
        A generator of batches. One thread at a time may ask it for the next one.

    Raises:
        UsageError: an argument does not take such a value; at once. There is no such reader, or no
            such video stream; when the first batch is asked for, as all that follows.
        InputError: the file cannot be read, or no frame lies in the part.
        DecodeError: it broke while it was being decoded.
        BackendError: the reader cannot run here, or not read this file.
    """
    asked: dict[str, Any] = {"source": source, "batch": batch, "start": start, "end": end}
    asked |= {"count": count, "video_stream": video_stream, "reader": reader, "device": device}
    asked = checked(_TAKES, asked, needed=("source", "batch", "reader", "device"))
    return _read(**asked)


def _read(source: str, **asked: Any) -> Generator[FrameBatch, None, None]:
    yield from read_frames(source, **asked)


def _place(value: Any) -> str:
    name = str(value) if isinstance(value, str | torch.device) else ""
    if not _DEVICE.fullmatch(name):
        raise WrongValueError("'cpu' or 'cuda:N'")
    return "cuda:0" if name == "cuda" else name


_DEVICE = re.compile(r"cpu|cuda(:[0-9]+)?")
_TAKES: dict[str, Check] = {
    "source": path,
    "batch": whole(1),
    "start": seconds,
    "end": seconds,
    "count": whole(1),
    "video_stream": whole(0),
    "reader": text,
    "device": _place,
}

"""The frames of a file, for people who write their own loop."""

from __future__ import annotations

import re
from collections.abc import Generator
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch

from vsr.media.pipes.interrupted import carried
from vsr.media.pipes.source import forget_pipe, let_go
from vsr.media.probe import probe
from vsr.media.read.reader import ReadRequest, open_reader
from vsr.media.read.timestamps import snap_trim
from vsr.plan import Request, select_video
from vsr.plan.color import decide_color
from vsr.plan.notes import Notes
from vsr.types import FrameBatch, Trim
from vsr.values import Check, WrongValueError, checked, path, seconds, text, whole

__all__ = ["frames"]


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
        source: any file FFmpeg reads, a URL of a protocol that it knows, a named pipe, or ``-``,
            standard input.
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


def _read(
    source: str,
    *,
    batch: int,
    reader: str,
    device: str,
    start: Fraction | None = None,
    end: Fraction | None = None,
    count: int | None = None,
    video_stream: int | None = None,
) -> Generator[FrameBatch, None, None]:
    info = probe(source)
    video = select_video(info, video_stream)
    trim = Trim()
    if (start, end, count) != (None, None, None):
        trim = snap_trim(source, video, start, end, count)
    request = ReadRequest(
        path=source,
        video=video,
        batch=batch,
        trim=trim,
        color=decide_color(video, Request(source=source), Notes()),
        device=device,
    )
    try:
        with carried(), open_reader(reader, request) as opened:
            if not trim:
                let_go(source)
            for item in opened:
                if isinstance(item, FrameBatch):
                    yield item
    finally:
        forget_pipe(source)


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

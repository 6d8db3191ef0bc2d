"""The frames of a file, for people who write their own loop."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from vsr.media.probe import probe
from vsr.media.read.reader import ReadRequest, open_reader
from vsr.media.read.timestamps import snap_trim
from vsr.plan import Request, select_video
from vsr.plan.color import decide_color
from vsr.plan.notes import Notes
from vsr.types import FrameBatch, Trim

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
    device: str = "cpu",
) -> Iterator[FrameBatch]:
    """Every frame of a video, in presentation order, with its timestamp.

    Colour is decided as on the command line: tags where there are any, the usual conventions where
    not. Interlaced frames come as they are.

    Args:
        source: any file FFmpeg reads.
        batch: frames per batch; the last may have fewer.
        start: beginning of the wanted part in seconds from the first frame.
        end: end of the wanted part, likewise.
        count: no more frames than this.
        video_stream: index of the stream; the default one if there are several.
        reader: row of the reader table.
        device: where frames are wanted, ``cpu`` or ``cuda:N``; ``nvdec`` leaves them there.

    Raises:
        InputError: the file cannot be read.
        BackendError: the reader cannot run here, or not read this file.
    """
    path = str(source)
    info = probe(path)
    video = select_video(info, video_stream)
    trim = Trim()
    if (start, end, count) != (None, None, None):
        trim = snap_trim(path, video, _exact(start), _exact(end), count)
    request = ReadRequest(
        path=path,
        video=video,
        batch=batch,
        trim=trim,
        color=decide_color(video, Request(source=path), Notes()),
        device=device,
    )
    with open_reader(reader, request) as opened:
        for item in opened:
            if isinstance(item, FrameBatch):
                yield item


def _exact(seconds: Fraction | float | None) -> Fraction | None:
    if seconds is None:
        return None
    # 0.1 means a tenth to whoever typed it, not the nearest binary fraction.
    return Fraction(str(seconds)) if isinstance(seconds, float) else Fraction(seconds)

"""The files of a comparison: what they are, and that they show the same frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from vsr.errors import InputError
from vsr.media.probe import probe
from vsr.media.read.timestamps import shown_times
from vsr.media.view.pairing import Timeline, check_pairs
from vsr.plan import select_video
from vsr.types import MediaInfo, VideoStreamInfo
from vsr.types.place import source_name

__all__ = ["ComparedFile", "FileFacts", "open_files"]


@dataclass(frozen=True, slots=True)
class FileFacts:
    """One of the files.

    Attributes:
        path: as given.
        name: how page and strip call it; unique.
        codec: FFmpeg's name.
        width, height: as shown, after turning it by the display matrix.
        frames: how many there are at different times.
        duration: seconds; of the video stream, or else of the file, or from the first frame to
            the last.
        size: bytes.
        bit_rate: bits per second, of the whole file; ``None`` for a single frame.
    """

    path: str
    name: str
    codec: str
    width: int
    height: int
    frames: int
    duration: Fraction
    size: int
    bit_rate: float | None


@dataclass(frozen=True, slots=True)
class ComparedFile:
    """A file, its video stream, when its frames are shown, and what is told about it.

    ``hidden``: frames that share their timestamp with another one before them.
    """

    info: MediaInfo
    video: VideoStreamInfo
    line: Timeline
    facts: FileFacts
    hidden: int = 0


def open_files(paths: Sequence[str]) -> list[ComparedFile]:
    """Probe all files and see that they fit together.

    Raises:
        InputError: one cannot be read, pictures have different shapes, or a frame has no partner
            at its time.
    """
    names = _names(paths)
    files = []
    for path, name in zip(paths, names, strict=True):
        info = probe(path)
        video = select_video(info, None)
        times, tick = shown_times(path, video, once=False)
        line = Timeline(path, tuple(dict.fromkeys(times)), tick)
        # The two fields of an interlaced picture may be two packets.
        hidden = 0 if video.interlaced else len(times) - len(line.pts)
        files.append(ComparedFile(info, video, line, _facts(name, info, video, line), hidden))
    first = files[0].facts
    for file in files[1:]:
        other = file.facts
        # A smaller one may be rounded to whole pixels in either direction.
        apart = abs(first.width * other.height - first.height * other.width)
        if apart > max(first.width, first.height, other.width, other.height):
            raise InputError(
                f"its picture, {other.width}x{other.height}, has another shape than that of "
                f"{source_name(first.path)}, {first.width}x{first.height}",
                where=source_name(other.path),
                remedy="Compare files that show the same picture at one shape.",
            )
    check_pairs([file.line for file in files])
    return files


def _names(paths: Sequence[str]) -> list[str]:
    """File names, with their folders where those alone would not tell them apart."""
    short = [Path(source_name(path)).name for path in paths]
    times = Counter(short)
    named = [path if times[name] > 1 else name for path, name in zip(paths, short, strict=True)]
    twice = Counter(named)
    return [
        f"{name} ({number})" if twice[name] > 1 else name
        for number, name in enumerate(named, start=1)
    ]


def _facts(name: str, info: MediaInfo, video: VideoStreamInfo, line: Timeline) -> FileFacts:
    width, height = video.width, video.height
    matrix = video.display_matrix
    if matrix is not None and abs(matrix[1]) > abs(matrix[0]):
        width, height = height, width
    if video.duration is not None:
        duration = video.duration * video.time_base
    else:
        duration = info.duration or line.time(len(line.pts) - 1)
    return FileFacts(
        path=info.path,
        name=name,
        codec=video.codec,
        width=width,
        height=height,
        frames=len(line.pts),
        duration=duration,
        size=info.size,
        bit_rate=float(info.size * 8 / duration) if duration else None,
    )

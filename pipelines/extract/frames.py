"""Exactly some frames of a video, losslessly, with their timestamps and a hash of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from pipelines.events import Event, Warned
from pipelines.extract.job import ExtractJob, ExtractReport, frame_batches
from vsr.errors import InputError, UsageError
from vsr.media.probe import probe
from vsr.media.read.part import Mistrusted, Part, locate
from vsr.media.read.scenes import Scene, scenes
from vsr.plan import select_video
from vsr.types.place import on_disk

__all__ = ["ExtractReport", "extract", "list_scenes"]

Listener = Callable[[Event], None]


def extract(
    source: str | Path,
    destination: str | Path | None = None,
    *,
    first: int | None = None,
    stop: int | None = None,
    start: Fraction | None = None,
    end: Fraction | None = None,
    frames: int | None = None,
    scene: int | None = None,
    video_stream: int | None = None,
    reader: str = "pyav",
    overwrite: bool = False,
    on_event: Listener | None = None,
) -> ExtractReport:
    """Write exactly the frames asked for, losslessly, and a manifest beside them.

    The clip is read back and each frame's hash compared before it gets its name. Pictures only:
    sound and all other streams stay behind.

    Args:
        source: any file FFmpeg reads.
        destination: ``.mkv`` or ``.mp4`` for FFV1; a folder or ``frames_%06d.png`` for PNG files,
            numbered by the frames' indices; by default ``<stem>_clip.mkv`` beside the source.
        first: index of the first frame, from 0. ``stop``: index of the one behind the last.
        start: seconds from the file's first frame. ``end``: likewise; frames shown at that time
            or later are not wanted.
        frames: exactly so many.
        scene: number of the scene between two cuts, from 1, as :func:`list_scenes` counts.
        video_stream: index of the stream; the default one if there are several.
        reader: row of the reader table.
        overwrite: replace results that are there.
        on_event: called with progress and warnings, from the calling thread.

    Raises:
        UsageError: the request contradicts itself.
        InputError: the source cannot be read, or not all of the frames are in it.
        OutputError: the result cannot be written. ``VerifyError``: it was, and is not the same.
    """
    begun = time.perf_counter()
    path = str(source)
    part = _part(first, stop, start, end, frames, scene)
    info = probe(path)
    video = select_video(info, video_stream)
    target = str(destination) if destination is not None else _beside(path)
    job = ExtractJob(info, video, target, overwrite, reader, on_event or (lambda _: None))
    job.look_ahead()
    if scene is not None:
        part = _scene_part(job, scene, frames)
    located = locate(path, video, part)
    try:
        report = job.run(part, located)
    except Mistrusted:
        report = job.run(part, None)
    for message in report.warnings:
        job.tell(Warned(message))
    return replace(report, seconds=time.perf_counter() - begun)


def list_scenes(
    source: str | Path, *, video_stream: int | None = None, reader: str = "pyav"
) -> Iterator[Scene]:
    """The scenes of a video, each as soon as its end is known; the whole video is decoded.

    Raises:
        InputError: the file cannot be read.
    """
    video = select_video(probe(str(source)), video_stream)
    yield from scenes(frame_batches(str(source), video, reader))


def _part(
    first: int | None,
    stop: int | None,
    start: Fraction | None,
    end: Fraction | None,
    frames: int | None,
    scene: int | None,
) -> Part:
    ways = [(first, stop) != (None, None), (start, end) != (None, None), scene is not None]
    if sum(ways) > 1:
        raise UsageError(
            "a range of indices, a time and a scene exclude each other",
            remedy="Give --range, or --start and --end, or --scene.",
        )
    if first is not None and first < 0:
        raise UsageError("the index of a frame is not below 0")
    for low, high in ((first or 0, stop), (start or Fraction(0), end)):
        if high is not None and high <= low:
            raise UsageError(
                f"the part ends at {float(high):g}, where it begins ({float(low):g}) or before",
                remedy="The frame at the end is not part of it: 10:12 are the frames 10 and 11.",
            )
    if stop is not None and frames is not None:
        raise UsageError("a range with an end and a number of frames exclude each other")
    return Part(first or 0, stop, start, end, frames)


def _scene_part(job: ExtractJob, number: int, frames: int | None) -> Part:
    count = 0
    found = list_scenes(job.path, video_stream=job.video.index, reader=job.reader)
    for count, scene in enumerate(found, 1):  # noqa: B007 - the count is used behind the loop
        if scene.number == number:
            stop = scene.stop if frames is None else scene.first + frames
            if stop > scene.stop:
                raise InputError(
                    f"scene {number} has only {scene.stop - scene.first} frames",
                    where=job.path,
                    remedy="`vsr extract --list-scenes` shows them.",
                )
            return Part(scene.first, stop)
    raise InputError(
        f"there is no scene {number}: the video has {count}",
        where=job.path,
        remedy="`vsr extract --list-scenes` shows them; they are counted from 1.",
    )


def _beside(source: str) -> str:
    if not on_disk(source):
        kind = "URL" if "://" in source else "pipe"
        raise UsageError(f"a {kind} has no folder for the result", remedy="Name it: -o clip.mkv.")
    path = Path(source)
    return str(path.with_name(f"{path.stem}_clip.mkv"))

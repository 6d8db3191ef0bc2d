"""A result that is a file: written under a temporary name, read back, and given its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import av
from av.container import OutputContainer

from vsr.errors import OutputError
from vsr.media.av_errors import av_errors
from vsr.media.containers import CONTAINERS
from vsr.media.source import ffmpeg_name
from vsr.media.write.atomic import AtomicFile
from vsr.media.write.into.sink import WriteResult, Written
from vsr.media.write.mp4.left_out import find_left_out
from vsr.media.write.mp4.texts import place_texts, text_places, turn_off_texts
from vsr.media.write.pixel_shape import write_shapes
from vsr.media.write.remux import Lane
from vsr.media.write.verify import verify
from vsr.types import Plan
from vsr.types.place import on_disk

__all__ = ["FileSink"]


class FileSink:
    """See :class:`vsr.media.write.into.sink.Sink`.

    Args:
        plan: the plan.
        scratch, mark: as :class:`vsr.media.write.writer.Writer` takes them.

    Raises:
        OutputError: see :class:`vsr.media.write.atomic.AtomicFile`.
    """

    def __init__(self, plan: Plan, scratch: Path | None, mark: str) -> None:
        self._plan = plan
        self._container = CONTAINERS[plan.container]
        self._shapes = 0
        self._file = AtomicFile(
            plan.destination,
            overwrite=plan.overwrite,
            source=plan.source,
            scratch=scratch,
            mark=mark,
        )

    def open(self, muxer: str, options: Mapping[str, str]) -> OutputContainer:
        """Begin the file."""
        name = ffmpeg_name(str(self._file.path))
        return av.open(name, "w", format=muxer, container_options=dict(options))

    def begun(self, video: int, shapes: int) -> None:  # noqa: ARG002 - as all sinks
        """Shapes are written when the file is complete."""
        self._shapes = shapes

    def finish(self, written: Written, before_commit: Callable[[Path], str | None]) -> WriteResult:
        """Complete the file, verify it, and give it its name."""
        plan, file, video = self._plan, self._file, written.video
        with av_errors(plan.destination, "finish the file", OutputError):
            if self._shapes:
                webm = self._container.muxer == "webm"
                write_shapes(file.path, plan.destination, self._shapes, webm=webm)
            if self._container.shows_text and not _shown_texts(written.lanes):
                turn_off_texts(file.path)
            self._place_texts(file.path, written.lanes)
        frames = len(video.times)
        left_out = find_left_out(file.path, plan, written.lanes)
        lost: tuple[str, ...] = ()
        if plan.verify:
            frames, lost = verify(
                file.path, plan, video.stream.index, video.times, video.time_base, written.lanes
            )
        file.rename(before_commit(file.path) or plan.destination)
        size = file.commit()
        lost = (*left_out.said, *lost)
        return WriteResult(frames, size, plan.verify, tuple(written.said()), lost, left_out.untrue)

    def discard(self) -> None:
        """Remove the temporary file; nothing is left of it after a commit."""
        self._file.discard()

    def _place_texts(self, path: Path, lanes: Sequence[Lane]) -> None:
        """Give copied text tracks of MP4 and MOV the size and place that they had, enlarged."""
        source = self._plan.source
        lanes = [lane for lane in lanes if lane.action.codec == "mov_text"]
        if not any(lane.action.action == "copy" for lane in lanes):
            return
        lanes.sort(key=lambda lane: lane.stream.index)
        # Of what is no file here, there are the sizes that FFmpeg has copied.
        local = on_disk(source) and Path(source).is_file()
        known = text_places(Path(source)) if local else {}
        places = [
            known.get(lane.action.stream.index, size) if lane.action.action == "copy" else None
            for lane, size in zip(lanes, text_places(path).values(), strict=False)
        ]
        place_texts(path, places, self._plan.model.scale)


def _shown_texts(lanes: Sequence[Lane]) -> bool:
    """Whether some of the result's subtitles are to be on by default."""
    streams = (lane.action.stream for lane in lanes)
    return any(s.kind == "subtitle" and "default" in s.dispositions for s in streams)

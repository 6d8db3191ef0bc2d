"""Deinterlacing with FFmpeg's bwdif: one frame for each frame, timestamps untouched."""

from __future__ import annotations

from collections import deque
from fractions import Fraction

import av
import av.error
from av.filter import Graph

from vsr.errors import DecodeError
from vsr.media.av_errors import av_errors

__all__ = ["Deinterlacer"]


class Deinterlacer:
    """Runs frames of one size and format through bwdif.

    bwdif (the Bob Weaver deinterlacing filter, after W3FDIF by BBC R&D and yadif) keeps the first
    field of each frame and interpolates the other. It holds a frame back until it has seen the
    next one, so :meth:`flush` must be called at the end.

    Args:
        path: the file, for error messages.
        every_frame: deinterlace all frames instead of those flagged as interlaced.
        format: planar format to hand out; bwdif takes no packed ones.
        time_base: seconds per tick of the frames' timestamps.
    """

    def __init__(self, path: str, format: str, time_base: Fraction, *, every_frame: bool) -> None:  # noqa: A002
        self._path = path
        self._format = format
        self._time_base = time_base
        self._frames = "all" if every_frame else "interlaced"
        self._graph: Graph | None = None
        # The filter halves the time base and knows no frame without timestamp: what it must not
        # touch waits here.
        self._waiting: deque[av.VideoFrame] = deque()

    def push(self, frame: av.VideoFrame) -> list[av.VideoFrame]:
        """Take a frame; give those that are finished.

        Raises:
            DecodeError: the filter failed.
        """
        with av_errors(self._path, "deinterlace", DecodeError):
            if self._graph is None:
                self._graph = self._build(frame)
            self._waiting.append(frame)
            self._graph.vpush(frame)
            return self._pull(self._graph)

    def flush(self) -> list[av.VideoFrame]:
        """Give the frames held back; the next frame may have another size.

        Raises:
            DecodeError: the filter failed or lost a frame.
        """
        if self._graph is None:
            return []
        with av_errors(self._path, "deinterlace", DecodeError):
            self._graph.vpush(None)
            done = self._pull(self._graph)
        self._graph = None
        if self._waiting:
            raise DecodeError(
                f"bwdif kept {len(self._waiting)} frames for itself",
                where=self._path,
                remedy="Use --deinterlace off.",
            )
        return done

    def _build(self, frame: av.VideoFrame) -> Graph:
        graph = Graph()
        source = graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=self._time_base,
        )
        planar = graph.add("format", f"pix_fmts={self._format}")
        bwdif = graph.add("bwdif", f"mode=send_frame:parity=auto:deint={self._frames}")
        graph.link_nodes(source, planar, bwdif, graph.add("buffersink")).configure()
        return graph

    def _pull(self, graph: Graph) -> list[av.VideoFrame]:
        done: list[av.VideoFrame] = []
        while True:
            try:
                result = graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return done
            original = self._waiting.popleft()
            result.pts, result.time_base = original.pts, self._time_base
            result.duration = original.duration
            done.append(result)

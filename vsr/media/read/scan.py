"""Where the frames of a file lie, told by its packets: what a job is cut into segments by."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import cast

import av
import av.error
from av.container import InputContainer
from av.stream import Discard, Stream

from vsr.media.av_errors import av_errors
from vsr.media.demux.continuity import Continuity
from vsr.media.demux.depth import demuxed
from vsr.media.demux.insistent import Insistent
from vsr.media.read.notes import UNREADABLE, cut_short, joined
from vsr.media.read.timestamps import DEEPEST_REORDER, frame_pts
from vsr.media.source import open_source, video_stream
from vsr.types import Trim, VideoStreamInfo

__all__ = ["FrameScan", "first_is_interlaced", "scan_frames"]


@dataclass(frozen=True, slots=True)
class FrameScan:
    """The frames of the wanted part of a video stream, as its packets announce them.

    Attributes:
        pts: their timestamps, rising, in the stream's ticks; packets without one are missing.
        keys: those of key frames, rising.
        end: timestamp of the first frame behind the part, ``None`` if it ends with the file.
        packets: video packets that were read.
        problem: why frames cannot be sought by these timestamps, empty if they can.
        notes: what the container announced and the file does not hold.
    """

    pts: array[int] = field(default_factory=lambda: array("q"))
    keys: array[int] = field(default_factory=lambda: array("q"))
    end: int | None = None
    packets: int = 0
    problem: str = ""
    notes: tuple[str, ...] = ()


def scan_frames(path: str, video: VideoStreamInfo, trim: Trim) -> FrameScan:
    """Read the packets of ``trim``'s part of the file without decoding any.

    Raises:
        InputError: the file cannot be read.
    """
    scan = _Scan(trim)
    with open_source(path) as container, av_errors(path, "scan the file"):
        stream = video_stream(container, video.index)
        continuity = Continuity(container, stream.index)
        whole = scan.read(container, stream, continuity)
        problem = scan.problem(video, continuity)
        notes = list(joined(continuity.joins, continuity.outliers.mended))
        if whole and not trim and not scan.broken:
            notes += scan.shortfall(container, stream)
    return scan.part(problem, tuple(notes))


def first_is_interlaced(path: str, video: VideoStreamInfo, start: int | None) -> bool:
    """Whether the first frame that a reader of the part would see is flagged as interlaced.

    Raises:
        InputError: the file cannot be read.
    """
    with open_source(path) as container, av_errors(path, "read the first frame"):
        stream = video_stream(container, video.index)
        if start is not None and video.timing == "presentation":
            container.seek(start, stream=stream, backward=True)
        for packet in demuxed(container, [stream]):
            try:
                frames = packet.decode()
            except av.error.FFmpegError:  # the reader counts it; here the first good one matters
                continue
            if frames:
                return frames[0].interlaced_frame
    return False


class _Scan:
    """Collects what the packets say."""

    def __init__(self, trim: Trim) -> None:
        self._trim = trim
        self._found: list[tuple[int, bool]] = []
        self._untimed = self._damaged = self._packets = 0
        self._inside = self._behind = 0
        self._video_end = self._last_end = Fraction(0)
        self.broken = False  # the file cannot be read to its end

    def read(
        self, container: InputContainer, stream: av.VideoStream, continuity: Continuity
    ) -> bool:
        """Read until nothing of the part can come any more; whether that is the file's end."""
        watched = [
            s
            for s in container.streams
            if s.index == stream.index or s.type in ("audio", "subtitle")
        ]
        for other in container.streams:
            if other not in watched:
                other.discard = Discard.all
        source = Insistent(container, watched)
        for packet in continuity.through(source):
            self._take(packet, packet.stream.index == stream.index)
            # Seeking may be misled by times that begin anew anywhere.
            if self._behind > DEEPEST_REORDER and not continuity.possible:
                break
        self._damaged += source.failures
        self.broken = source.broken is not None
        return self._behind <= DEEPEST_REORDER or continuity.possible

    def _take(self, packet: av.Packet[Stream], is_video: bool) -> None:
        if packet.size == 0:
            return
        if packet.pts is not None:
            end = (packet.pts + (packet.duration or 0)) * packet.time_base
            self._last_end = max(self._last_end, end)
            if is_video:
                self._video_end = max(self._video_end, end)
        if not is_video:
            return
        self._packets += 1
        self._damaged += packet.is_corrupt
        pts = frame_pts(cast("av.Packet[av.VideoStream]", packet))
        if pts is None:
            self._untimed += packet.pts is None
            return
        self._found.append((pts, packet.is_keyframe))
        trim = self._trim
        if trim.end is not None:
            self._behind += pts >= trim.end
        elif trim.frames is not None and (trim.start is None or pts >= trim.start):
            self._inside += 1
            self._behind = max(0, self._inside - trim.frames)

    def problem(self, video: VideoStreamInfo, continuity: Continuity) -> str:
        """Why frames cannot be sought."""
        if video.timing == "decoding":
            return "packets do not tell when frames are shown"
        if continuity.joins:
            return "timestamps begin anew in the middle of the file"
        if not continuity.steady:
            return "timestamps are damaged"
        if self._untimed:
            return f"{self._untimed} packets have no presentation time"
        if self._damaged:
            return f"{self._damaged} packets are damaged"
        if len({pts for pts, _ in self._found}) < len(self._found):
            return "frames share a presentation time"
        return ""

    def shortfall(self, container: InputContainer, stream: av.VideoStream) -> Iterator[str]:
        """What the container announced and the file does not hold."""
        return cut_short(container, stream, self._packets, self._video_end, self._last_end)

    def part(self, problem: str, notes: tuple[str, ...]) -> FrameScan:
        """The frames that are wanted."""
        trim, found = self._trim, sorted(self._found)
        times = array("q", (pts for pts, _ in found))
        low = 0 if trim.start is None else bisect_left(times, trim.start)
        high = len(times) if trim.end is None else bisect_left(times, trim.end)
        if trim.frames is not None:
            high = min(high, low + trim.frames)
        if self.broken and high == len(times):
            notes += (UNREADABLE,)
        return FrameScan(
            pts=times[low:high],
            keys=array("q", (pts for pts, key in found[low:high] if key)),
            end=times[high] if high < len(times) else None,
            packets=self._packets,
            problem=problem,
            notes=notes,
        )

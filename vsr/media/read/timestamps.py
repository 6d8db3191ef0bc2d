"""When frames are shown: timestamps read off packets, and requested times snapped to them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice

import av
import av.error
from av.container import InputContainer
from av.stream import Discard

from vsr.errors import InputError
from vsr.media.av_errors import av_errors
from vsr.media.demux.continuity import Continuity
from vsr.media.demux.insistent import Insistent
from vsr.media.demux.outliers import DEEPEST_REORDER
from vsr.media.read.notes import is_gap, nominal_step
from vsr.media.read.reader import ReadStats
from vsr.media.source import open_source, video_stream
from vsr.types import Trim, VideoStreamInfo

__all__ = [
    "DEEPEST_REORDER",
    "DecodingTimes",
    "Stamps",
    "expected_end",
    "first_shown",
    "frame_pts",
    "has_packet_pts",
    "shown_times",
    "snap_trim",
]


def has_packet_pts(container: InputContainer) -> bool:
    """Whether packets tell when frames are shown; AVI stores no presentation timestamps."""
    return container.format.name != "avi"


class Stamps:
    """Gives each of a stream's frames, in the order in which they are shown, its timestamp.

    That is the frame's own. One that has none is that many nominal steps of the stream after the
    last one that has one (where the rate varies: steps between the last two that have one), or
    after the stream's start; one that is not after its predecessor moves to one tick after it.
    Timestamps are therefore strictly increasing, and both are counted. Nothing is held back until
    the next one that is told: with a wrong frame rate, frames before that are shown too early, or
    those behind it are moved until times have caught up.

    Args:
        video: the stream.
        stats: where it is counted.

    Attributes:
        previous: the last frame's, in ticks; ``None`` at first.
        step: ticks between the last two neighbours that have timestamps; the nominal ones at first.
    """

    def __init__(self, video: VideoStreamInfo, stats: ReadStats) -> None:
        self._video, self._stats = video, stats
        nominal = nominal_step(video)
        self._nominal = nominal or float("inf")
        self._exact: Fraction | None = None
        if video.average_rate and not video.variable_rate:
            self._exact = 1 / (video.average_rate * video.time_base)
        self.previous: int | None = None
        self.step = nominal or 1
        self._from = video.start or 0  # the last that a frame had
        self._since = 0  # frames since then

    def of(self, pts: int | None) -> int:
        """The timestamp, in ticks, of the next frame, whose own is ``pts``."""
        before = self.previous
        if pts is None:
            self._stats.invented_pts += 1
            pts = self._from + round(self._since * (self._exact or self.step))
            if before is not None and pts <= before:
                pts = before + 1
            self._since += 1
            self.previous = pts
            return pts
        if before is not None and pts <= before:
            self._stats.moved_pts += 1
            self._stats.largest_move = max(self._stats.largest_move, before + 1 - pts)
            pts = before + 1
        elif before is not None:
            self._note_gap(pts - before)
            if before == self._from:
                self.step = pts - before
        self.previous = self._from = pts
        self._since = 1
        return pts

    def _note_gap(self, step: int) -> None:
        if is_gap(step, self._nominal, self._video):
            self._stats.gaps += 1
            self._stats.gap_frames += round(step / self._nominal) - 1


class DecodingTimes:
    """When frames are shown whose packets tell when they are decoded: when they come out.

    A frame's time is that of the packet which made the decoder give it away, as for players. What
    FFmpeg calls its pts is the time of the packet that it lay in: with B-frames that comes earlier
    or later, and the times of frames in order jump back and forth. Frames that come out when there
    are no more packets follow at the stream's frame rate. AVI stores nothing else, nor do writers
    that know nothing of B-frames in other formats (FFmpeg's for ASF, and for H.264 in MXF).
    """

    def __init__(self, video: VideoStreamInfo) -> None:
        self._step = nominal_step(video) or 1
        self._previous: int | None = None

    def of(self, frame: av.VideoFrame) -> int | None:
        """The next frame's time in ticks; ``None`` where nothing tells it."""
        found = frame.dts
        if found is None:
            found = frame.pts if self._previous is None else self._previous + self._step
        self._previous = found if found is not None else self._previous
        return found


def frame_pts(packet: av.Packet[av.VideoStream]) -> int | None:
    """Timestamp of the frame that will come out of ``packet``.

    ``None`` if none will: the packet only flushes, is cut away by an edit list, is a hidden VP8 or
    VP9 reference frame, or carries no timestamp.
    """
    if packet.size == 0 or packet.is_discard or _is_hidden(packet):
        return None
    return packet.pts


def _is_hidden(packet: av.Packet[av.VideoStream]) -> bool:
    """Whether the packet holds nothing but a frame that is not shown.

    ``show_frame`` is bit 4 of the first byte in VP8 (RFC 6386, 9.1). In VP9 it follows the frame
    marker, the profile, ``show_existing_frame`` and ``frame_type`` (bitstream specification, 6.2);
    several frames in one packet (a superframe, annex B) include one that is shown.
    """
    codec = packet.stream.codec_context.codec.canonical_name
    if codec == "vp8":
        return not memoryview(packet)[0] & 0x10
    if codec == "vp9":
        data = memoryview(packet)
        if data[-1] & 0xE0 == 0xC0:
            return False
        at = 2 if data[0] & 0x30 == 0x30 else 3  # profile 3 has one more bit
        show_existing, show = data[0] >> at & 1, data[0] >> (at - 2) & 1
        return not show_existing and not show
    return False


def snap_trim(
    path: str,
    video: VideoStreamInfo,
    start: Fraction | None = None,
    end: Fraction | None = None,
    frames: int | None = None,
    *,
    origin: Fraction | None = None,
) -> Trim:
    """The frames that a request in seconds means.

    The file is scanned without decoding until the end of the part is known; it is decoded where
    packets do not tell when frames are shown (``video.timing``).

    Args:
        path: the file.
        video: the stream, as :func:`vsr.media.probe.probe` found it.
        start: seconds after the first frame, as a player's clock shows them; the first frame
            wanted is the first one shown at that time or later. ``None``: the first of all.
        end: seconds after the first frame; frames shown at that time or later are not wanted.
        frames: no more frames than this.
        origin: what ``start`` and ``end`` are counted from, in seconds on the file's own clock;
            by default the time of its first frame.

    Returns:
        The part, with every bound a timestamp of an existing frame. ``end`` is ``None`` if the part
        reaches to the last frame or only its number of frames was given, ``start`` if it begins
        with the first one.

    Raises:
        InputError: no frame lies in that part, or the file cannot be read.
    """
    if start is None and end is None and (frames is None or frames > 0):
        return Trim(frames=frames)
    found: list[int] = []  # sorted
    low = high = 0
    with open_source(path) as container, av_errors(path, "scan the file"):
        stream = video_stream(container, video.index)
        tick = stream.time_base or Fraction(1, av.time_base)
        for pts in _timestamps(container, stream, video):
            at = bisect_left(found, pts)
            if at < len(found) and found[at] == pts:
                continue
            found.insert(at, pts)
            zero = found[0] if origin is None else origin / tick
            low = 0 if start is None else bisect_left(found, zero + start / tick)
            high = len(found) if end is None else bisect_left(found, zero + end / tick)
            if frames is not None:
                high = min(high, low + frames)
            # Frames that are shown before this one may still come, but not from further away.
            if len(found) > high + DEEPEST_REORDER:
                break
    if not found:
        raise InputError("no frame of the video has a timestamp", where=path)
    if low >= high:
        if low == len(found):
            length = float((found[-1] - found[0]) * tick)
            what = f"the part begins behind the last frame, which is shown at {length:.3f} s"
        else:
            what = "no frame begins in the part: it ends before or with its first frame"
        raise InputError(what, where=path, remedy="Choose another start, end or number of frames.")
    return Trim(
        start=found[low] if low else None,
        end=found[high] if high < len(found) else None,
        frames=frames,
    )


def expected_end(path: str, video: VideoStreamInfo, trim: Trim) -> int | None:
    """Timestamp of the frame behind a part of which the number of frames is given and no end.

    Read off the packets. ``None``: there is none, or packets do not tell when frames are shown.

    Raises:
        InputError: the file cannot be read.
    """
    if trim.end is not None or trim.frames is None or video.timing != "presentation":
        return trim.end
    start = None if trim.start is None else trim.start * video.time_base
    origin = None if start is None else Fraction(0)
    # From the very first frame, if need be, as otherwise the number alone is taken for the part.
    return snap_trim(path, video, start or Fraction(0), frames=trim.frames, origin=origin).end


def first_shown(path: str, video: VideoStreamInfo) -> Fraction:
    """When the first frame of a stream is shown, in seconds; read off its first packets.

    Raises:
        InputError: no frame has a timestamp, or the file cannot be read.
    """
    with open_source(path) as container, av_errors(path, "scan the file"):
        stream = video_stream(container, video.index)
        tick = stream.time_base or Fraction(1, av.time_base)
        found = list(islice(_timestamps(container, stream, video), DEEPEST_REORDER + 1))
    if not found:
        raise InputError("no frame of the video has a timestamp", where=path)
    return min(found) * tick


def shown_times(
    path: str, video: VideoStreamInfo, *, once: bool = True
) -> tuple[tuple[int, ...], Fraction]:
    """When each frame of a stream is shown.

    The whole file is scanned without decoding; it is decoded where packets do not tell.

    Args:
        path: the file.
        video: the stream, as :func:`vsr.media.probe.probe` found it.
        once: give a timestamp that several frames share only once.

    Returns:
        The timestamps in ascending order, and the seconds per tick.

    Raises:
        InputError: no frame has a timestamp, or the file cannot be read.
    """
    with open_source(path) as container, av_errors(path, "scan the file"):
        stream = video_stream(container, video.index)
        tick = stream.time_base or Fraction(1, av.time_base)
        found = sorted(_timestamps(container, stream, video))
    if not found:
        raise InputError("no frame of the video has a timestamp", where=path)
    return tuple(dict.fromkeys(found) if once else found), tick


def _timestamps(
    container: InputContainer, stream: av.VideoStream, video: VideoStreamInfo
) -> Iterator[int]:
    """Timestamps of the stream's frames, nearly in order; in order where they are decoded."""
    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all
    packets = Continuity(container, stream.index).through(Insistent(container, [stream]))
    if video.timing == "presentation":
        yield from (pts for pts in map(frame_pts, packets) if pts is not None)
        return
    times = DecodingTimes(video) if video.timing == "decoding" else None
    stamps = Stamps(video, ReadStats())
    for packet in packets:
        try:
            frames = packet.decode()
        except av.error.FFmpegError:  # the reader counts it; here only times matter
            continue
        for frame in frames:
            if times is not None:
                frame.pts = times.of(frame)
            yield stamps.of(frame.pts if frame.pts is not None else frame.dts)

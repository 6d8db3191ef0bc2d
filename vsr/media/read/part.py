"""Exactly the frames that were asked for, by time or by index, each with its index in the file.

An index counts the frames that decoding the whole file gives, in presentation order, from 0. Where
packets tell their frames' timestamps, the index is read off them without decoding, and the reader
seeks; whatever casts doubt on that (:func:`locate`, and what comes out of the reader) leads to
decoding from the first frame, which is right by definition.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from av.stream import Discard

from vsr.errors import InputError
from vsr.media.av_errors import av_errors
from vsr.media.demux.continuity import Continuity
from vsr.media.demux.insistent import Insistent
from vsr.media.read.reader import ReadRequest, ReadStats, open_reader
from vsr.media.read.timestamps import DEEPEST_REORDER, frame_pts
from vsr.media.source import open_source, video_stream
from vsr.types import FrameBatch, Trim, VideoStreamInfo

__all__ = ["Located", "Mistrusted", "Part", "locate", "part_frames"]

# Their packets may hold two frames or none (packed B-frames).
_UNEVEN = {"mpeg4"}


@dataclass(frozen=True, slots=True)
class Part:
    """The frames that are wanted: those that satisfy all that is given.

    Attributes:
        first: index of the first one. ``stop``: index of the one behind the last.
        start: seconds from the file's first frame; the first frame wanted is the first one shown
            at that time or later. ``end``: frames shown at that time or later are not wanted.
        frames: exactly so many.
    """

    first: int = 0
    stop: int | None = None
    start: Fraction | None = None
    end: Fraction | None = None
    frames: int | None = None


@dataclass(frozen=True, slots=True)
class Located:
    """Where a part is: the index of its first frame, and the timestamps of all of them."""

    first: int
    times: tuple[int, ...]


class Mistrusted(Exception):  # noqa: N818 - no failure: the other way is taken
    """Packets said something else about the frames than decoding them did."""


def locate(path: str, video: VideoStreamInfo, part: Part) -> Located | None:
    """Read a part's timestamps off the packets, or ``None`` where these cannot be trusted.

    They cannot where those are no presentation times (AVI, :attr:`VideoStreamInfo.timing`); where a
    packet lacks one, shares one, is damaged or cannot be read; in MPEG-4 part 2, whose packets may
    hold two frames; and if the first frame that decodes is another one than the packets say
    (recordings that begin inside a group of pictures).

    Raises:
        InputError: the file cannot be read, or the part is not in it.
    """
    found: list[int] = []  # sorted
    low = high = 0
    if video.timing != "presentation" or video.codec in _UNEVEN:
        return None
    with open_source(path) as container, av_errors(path, "scan the file"):
        stream = video_stream(container, video.index)
        for other in container.streams:
            if other.index != stream.index:
                other.discard = Discard.all
        continuity = Continuity(container, stream.index)
        packets = Insistent(container, [stream])
        for packet in continuity.through(packets):
            pts = frame_pts(packet)
            if pts is None:
                if packet.size and packet.pts is None:
                    return None
                continue
            at = bisect_left(found, pts)
            if packet.is_corrupt or (at < len(found) and found[at] == pts):
                return None
            found.insert(at, pts)
            low, high = _bounds(found, part, video.time_base)
            # Frames that are shown before this one may still come, but not from further away.
            if len(found) > high + DEEPEST_REORDER:
                break
    if packets.failures or not found or not continuity.steady:
        return None
    if _first_decoded(path, video.index) != found[0]:
        return None
    _check(part, path, low, high, len(found), (found[-1] - found[0]) * video.time_base)
    return Located(low, tuple(found[low:high]))


def part_frames(
    request: ReadRequest, part: Part, located: Located | None, stats: ReadStats, reader: str
) -> Iterator[FrameBatch]:
    """The frames of ``part``, ``first_index`` being the index in the file.

    Args:
        request: the file and its stream; its trim is not looked at.
        part: what is wanted.
        located: where it is, or ``None`` to find it by decoding from the first frame.
        stats: takes what the reader counted and warned of.
        reader: row of the reader table.

    Raises:
        Mistrusted: reading at ``located`` gave other frames, or damaged ones, or some between there
            and the key frame before are: what a decoder makes of damage depends on where it
            started. Start again without ``located``.
        InputError: the file cannot be read, or the part is not in it.
    """
    if located is not None:
        yield from _sought(request, located, stats, reader)
    else:
        yield from _counted(request, part, stats, reader)


def _sought(
    request: ReadRequest, located: Located, stats: ReadStats, name: str
) -> Iterator[FrameBatch]:
    times = located.times
    trim = Trim(start=times[0] if located.first else None, frames=len(times))
    done = 0
    with open_reader(name, replace(request, trim=trim)) as reader:
        for batch in reader:
            if isinstance(batch, FrameBatch):
                if batch.pts != times[done : done + len(batch)]:
                    raise Mistrusted
                yield replace(batch, first_index=located.first + done)
                done += len(batch)
        seen = reader.stats
        damaged = seen.corrupt_packets or seen.concealed_frames or seen.run_in_damage
        if done != len(times) or damaged:
            raise Mistrusted
        _take_over(seen, stats)


def _counted(request: ReadRequest, part: Part, stats: ReadStats, name: str) -> Iterator[FrameBatch]:
    """Decode from the first frame; nothing has to be known about the file."""
    origin: int | None = None
    count = given = 0
    low = part.first if part.start is None else None
    last = 0
    with open_reader(name, replace(request, trim=Trim())) as reader:
        for batch in reader:
            if not isinstance(batch, FrameBatch):
                continue
            origin = batch.pts[0] if origin is None else origin
            last = batch.pts[-1]
            if low is None and part.start is not None:
                at = bisect_left(batch.pts, origin + part.start / batch.time_base)
                low = count + at if at < len(batch) else None
            high = _stop(part, low, count, batch, origin)
            inside = slice(
                max(0, (count + len(batch) if low is None else low) - count),
                len(batch) if high is None else max(0, high - count),
            )
            piece = _cut(batch, inside, count)
            count += len(batch)
            if piece is not None:
                given += len(piece)
                yield piece
            if high is not None and high <= count:
                break
        _take_over(reader.stats, stats)
    tick = request.video.time_base
    first = count if low is None else low
    wanted = part.stop if part.stop is not None else first + given
    length = (last - (origin or 0)) * tick
    _check(part, request.path, first, min(wanted, first + given), count, length)


def _stop(part: Part, low: int | None, count: int, batch: FrameBatch, origin: int) -> int | None:
    """Index of the frame at which the part ends, if it is known by the end of ``batch``."""
    stops = [] if part.stop is None else [part.stop]
    if part.frames is not None and low is not None:
        stops.append(low + part.frames)
    if part.end is not None:
        at = bisect_left(batch.pts, origin + part.end / batch.time_base)
        if at < len(batch):
            stops.append(count + at)
    return min(stops, default=None)


def _cut(batch: FrameBatch, inside: slice, count: int) -> FrameBatch | None:
    """The frames of ``batch`` in ``inside``; ``count``: the index of its first frame."""
    if inside.start >= min(inside.stop, len(batch)):
        return None
    return replace(
        batch,
        planes=tuple(plane[inside] for plane in batch.planes),
        pts=batch.pts[inside],
        durations=batch.durations[inside],
        first_index=count + inside.start,
    )


def _bounds(found: list[int], part: Part, tick: Fraction) -> tuple[int, int]:
    low = part.first
    if part.start is not None:
        low = max(low, bisect_left(found, found[0] + part.start / tick))
    high = len(found) if part.stop is None else min(part.stop, len(found))
    if part.end is not None:
        high = min(high, bisect_left(found, found[0] + part.end / tick))
    if part.frames is not None:
        high = min(high, low + part.frames)
    return low, high


def _check(part: Part, path: str, low: int, high: int, known: int, length: Fraction) -> None:
    """Raise unless all frames asked for are there.

    Args:
        low, high: indices that were found. ``known``: number of frames in the file, or more than
            the part needs. ``length``: seconds from the first to the last of them.
    """
    missing = ""
    if low >= known:
        missing = f"the part begins behind the last frame: the video has {known} frames"
        missing += f", and the last is shown at {float(length):.3f} s"
    elif low >= high:
        missing = "no frame begins in the part: it ends before or with its first frame"
    elif part.stop is not None and high < part.stop and part.end is None and part.frames is None:
        missing = f"the video has {known} frames, so there is none with the index {part.stop - 1}"
    elif part.frames is not None and high - low < part.frames:
        missing = f"only {high - low} of the {part.frames} frames asked for are there"
    if missing:
        raise InputError(
            missing,
            where=path,
            remedy="Choose another start, end or number of frames; indices count from 0.",
        )


def _first_decoded(path: str, index: int) -> int | None:
    with open_source(path) as container, av_errors(path, "decode the first frame"):
        for frame in container.decode(video_stream(container, index)):
            return frame.pts
    return None


def _take_over(seen: ReadStats, stats: ReadStats) -> None:
    stats.frames += seen.frames
    stats.corrupt_packets += seen.corrupt_packets
    stats.concealed_frames += seen.concealed_frames
    stats.invented_pts += seen.invented_pts
    stats.moved_pts += seen.moved_pts
    stats.warnings += seen.warnings

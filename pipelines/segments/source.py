"""The frames of segments, one segment after the other, as one source for the engine."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace

from pipelines.reading import read_request
from vsr.engine.distinct import Border, Item
from vsr.media.read.reader import Reader, ReadStats, open_reader
from vsr.types import FrameBatch, Plan, ReadTally, Segment, Trim

__all__ = ["Begin", "End", "read_segments"]


@dataclass(slots=True)
class Begin(Border):
    """The frames of ``segment`` follow."""

    segment: Segment


@dataclass(slots=True)
class End(Border):
    """All frames of ``segment`` have come; ``read``: what the reader met there."""

    segment: Segment
    read: ReadTally


def read_segments(plan: Plan, segments: Iterable[Segment]) -> Iterator[Item]:
    """Frames of ``segments``, each between :class:`Begin` and :class:`End`.

    The next segment is asked for as soon as one has been decoded, while the network is still at
    work on that one.

    Raises:
        VsrError: as readers do.
    """
    counter = _Counter(plan)
    try:
        for segment in segments:
            yield Begin(segment)
            if segment.how == "count":
                read = yield from counter.frames(segment)
            else:
                read = yield from _frames(plan, segment)
            yield End(segment, read)
    finally:
        counter.close()


def _frames(plan: Plan, segment: Segment) -> Generator[FrameBatch, None, ReadTally]:
    request = replace(
        read_request(plan),
        trim=Trim(start=segment.start, end=segment.end),
        side_streams=(),
        seek=segment.how == "seek",
        steady=True,  # where times begin anew, segments are counted
        may_be_empty=True,
        every_frame=segment.every_frame,
    )
    with open_reader(plan.reader, request) as reader:
        for item in reader:
            if isinstance(item, FrameBatch):
                yield item
        return _tally(reader.stats)


class _Counter:
    """Reads a part from its beginning and gives stretches of it by number.

    It goes on from where it stands, so that consecutive segments cost one pass.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._reader: Reader | None = None
        self._batches: Iterator[FrameBatch] = iter(())
        self._left: FrameBatch | None = None
        self._at = 0  # number of the next frame
        self._end: int | None = None  # frames in all, once known
        self._told = ReadTally()  # what segments before have been told
        self._stack = ExitStack()

    def frames(self, segment: Segment) -> Generator[FrameBatch, None, ReadTally]:
        """The frames of ``segment``; none if the part ends before it."""
        if self._end is not None and segment.first >= self._end:
            return ReadTally()
        if self._reader is None or self._at > segment.first:
            self._open(segment)
        end = None if segment.frames is None else segment.first + segment.frames
        given = 0
        while end is None or self._at < end:
            batch = self._next()
            if batch is None:
                self._end = self._at
                break
            skipped = min(len(batch), max(0, segment.first - self._at))
            taken = len(batch) if end is None else min(len(batch), end - self._at)
            self._at += taken
            if taken < len(batch):
                self._left = _part(batch, taken, len(batch))
            if taken > skipped:
                given += taken - skipped
                yield _part(batch, skipped, taken)
            else:
                self._told = self._tally()  # belongs to segments before
        told, self._told = self._told, self._tally()
        return replace(_difference(self._told, told), frames=given)

    def close(self) -> None:
        """Close the file."""
        self._stack.close()
        self._reader = None

    def _open(self, segment: Segment) -> None:
        self.close()
        request = replace(
            read_request(self._plan),
            side_streams=(),
            seek=False,
            may_be_empty=True,
            every_frame=segment.every_frame,
        )
        self._reader = self._stack.enter_context(open_reader(self._plan.reader, request))
        self._batches = (item for item in self._reader if isinstance(item, FrameBatch))
        self._left, self._at, self._told = None, 0, ReadTally()

    def _next(self) -> FrameBatch | None:
        left, self._left = self._left, None
        return next(self._batches, None) if left is None else left

    def _tally(self) -> ReadTally:
        return ReadTally() if self._reader is None else _tally(self._reader.stats)


def _part(batch: FrameBatch, first: int, end: int) -> FrameBatch:
    return replace(
        batch,
        planes=tuple(plane[first:end] for plane in batch.planes),
        pts=batch.pts[first:end],
        durations=batch.durations[first:end],
        first_index=batch.first_index + first,
    )


#: What is known of a whole read, and not of a stretch of it.
_NOT_COUNTED = ("end", "largest_move")


def _tally(stats: ReadStats) -> ReadTally:
    return ReadTally(**{field.name: getattr(stats, field.name) for field in fields(ReadTally)})


def _difference(now: ReadTally, before: ReadTally) -> ReadTally:
    """What came up between two looks at the same reader."""
    changes = {
        field.name: getattr(now, field.name) - getattr(before, field.name)
        for field in fields(ReadTally)
        if field.name not in _NOT_COUNTED
    }
    return replace(now, **changes)

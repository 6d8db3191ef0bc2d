"""What a writer needs of the place that its result goes to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from av.container import OutputContainer
from av.packet import Packet

from vsr.media.write.remux import Lane
from vsr.types import Plan

if TYPE_CHECKING:
    from av.video.stream import VideoStream

__all__ = ["Sink", "VideoLane", "WriteResult", "Written"]


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What was written.

    Attributes:
        frames: read back, or encoded where verification was off.
        bytes: size of the result.
        verified: whether it was read back.
        warnings: everything odd, one sentence each.
        given_up: what the result lacks of the plan, as reading it back shows.
        untrue: sentences of the plan's ``given_up`` about streams that have not got into it.
    """

    frames: int
    bytes: int
    verified: bool
    warnings: tuple[str, ...]
    given_up: tuple[str, ...] = ()
    untrue: tuple[str, ...] = ()

    def lacking(self, plan: Plan) -> tuple[str, ...]:
        """All that it lacks: what ``plan``, its plan, says, and what only the run could."""
        return (*(said for said in plan.given_up if said not in self.untrue), *self.given_up)


class VideoLane(Protocol):
    """What gives the result its pictures: an encoder, or what encoders made before.

    Attributes:
        stream: of the result. ``time_base``: seconds per tick of ``times``.
        times: presentation times of all frames.
    """

    stream: VideoStream
    time_base: Fraction

    @property
    def times(self) -> Sequence[int]:
        """See above."""
        ...

    def flush(self) -> Iterable[Packet[Any]]:
        """The packets that are still held back."""
        ...


@dataclass(frozen=True, slots=True)
class Written:
    """What a writer has written.

    Attributes:
        video: the pictures.
        lanes: the other streams.
        warnings: what was odd on the way; what the lanes say comes to it.
    """

    video: VideoLane
    lanes: Sequence[Lane]
    warnings: Sequence[str]

    def said(self) -> Iterator[str]:
        """All that was odd, one sentence each."""
        yield from self.warnings
        for lane in self.lanes:
            yield from lane.warnings()


class Sink(Protocol):
    """A place that takes one result."""

    def open(self, muxer: str, options: Mapping[str, str]) -> OutputContainer:
        """Begin a file of FFmpeg's format ``muxer`` there.

        Raises:
            av.error.FFmpegError, OSError: it cannot be begun.
        """
        ...

    def begun(self, video: int, shapes: int) -> None:
        """The header has been written.

        Args:
            video: index of the stream with the pictures.
            shapes: so many of its tracks have room for the shape of their pixels
                (:mod:`vsr.media.write.pixel_shape`), which is to be put there.
        """
        ...

    def finish(self, written: Written, before_commit: Callable[[Path], str | None]) -> WriteResult:
        """See :meth:`vsr.media.write.writer.Writer.finish`; the file has been closed."""
        ...

    def discard(self) -> None:
        """Leave nothing behind that is not finished, and take nothing more."""
        ...

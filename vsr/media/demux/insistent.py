"""Reading on behind what a demuxer fails at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import av.error
from av.container import InputContainer

from vsr.media.demux.depth import demuxed

if TYPE_CHECKING:
    AnyPacket = av.Packet[Any]

__all__ = ["Insistent"]

# A demuxer that fails so often in a row will not recover.
_MOST_FAILURES = 100


class Insistent:
    """The packets that :func:`~vsr.media.demux.depth.demuxed` gives; damaged places are passed.

    Where the demuxer fails at the same place again and again, the file ends, like one that is cut
    off there: with an empty packet for each stream. But what a disk or a network fails at is not
    the file's end, and is raised.

    Args:
        container: the file, read from where it stands.
        streams: those that are wanted.

    Attributes:
        failures: damaged places so far.
        broken: the error that the file ended with before its end, if it did.

    Raises (while it is iterated over):
        FFmpegError: the file cannot be read on, and it is not the file's fault.
    """

    def __init__(self, container: InputContainer, streams: Iterable[Any]) -> None:
        self._container, self._streams = container, list(streams)
        self.failures = 0
        self.broken: av.error.FFmpegError | None = None

    def __iter__(self) -> Iterator[AnyPacket]:
        row = 0
        while True:
            try:
                for packet in demuxed(self._container, self._streams):
                    row = 0
                    yield packet
                return
            except av.error.FFmpegError as error:
                row += 1
                self.failures += 1
                if row < _MOST_FAILURES:
                    continue
                if isinstance(error, OSError | av.error.HTTPError):
                    raise
                self.broken = error
                self.failures -= row - 1
                break
        for stream in self._streams:
            drain: AnyPacket = av.Packet()
            drain.stream = stream
            drain.time_base = stream.time_base or Fraction(1)
            yield drain

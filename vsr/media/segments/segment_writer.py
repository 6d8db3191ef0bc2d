"""The frames of one segment into one file of packets, by an encoder of its own."""

from __future__ import annotations

import io
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.container import OutputContainer

from vsr.errors import OutputError
from vsr.media.av_errors import av_errors
from vsr.media.containers import CONTAINERS
from vsr.media.segments.packet_file import PacketFileWriter
from vsr.media.write.encoder import VideoEncoder
from vsr.types import FrameBatch, Plan, SegmentTally

__all__ = ["SegmentWriter"]


class SegmentWriter:
    """Encodes the frames of one segment exactly as the plan says. A context manager.

    The encoder starts with a key frame and is drained at the end, so that no packet refers to
    another segment. Its settings, those of the container included, are the result's, so that all
    segments have the parameter sets that the result's header will hold.

    Args:
        plan: the plan.
        path: of the finished file; until then it has a temporary name beside it.

    Raises (on entry):
        EncodeError: the encoder refuses its settings.
        OutputError: the file cannot be created.
    """

    def __init__(self, plan: Plan, path: Path) -> None:
        self._plan = plan
        self._path = path
        self._last: tuple[int, int] = (-1, 0)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        muxer = CONTAINERS[self._plan.container].muxer
        with ExitStack() as stack:
            # Nothing is ever written to it: an encoder wants to know which container it is for.
            output = stack.enter_context(_nowhere(muxer, self._plan.destination))
            # Who cut the job has opened the same encoder, and listened, before anything was read.
            self._encoder = VideoEncoder(output, self._plan, listen=False)
            self._file = stack.enter_context(PacketFileWriter(self._path))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def write(self, batch: FrameBatch) -> None:
        """Encode frames: planes on the CPU in the plan's format and size, in order.

        Raises:
            EncodeError: the frames are not what the plan says, or the encoder failed.
            OutputError: the disk is full or failed.
        """
        for packet in self._encoder.encode(batch):
            self._add(packet)

    def drain(self) -> None:
        """Write the packets that are still inside the encoder.

        Raises:
            EncodeError: the encoder failed.
            OutputError: the disk is full or failed.
        """
        if self._encoder.times:
            for packet in self._encoder.flush():
                self._add(packet)

    def commit(self, tally: SegmentTally) -> int:
        """Give the file its name, after :meth:`drain`; returns its size in bytes.

        Args:
            tally: what is kept beside the packets; ``last_duration`` is filled in here.

        Raises:
            OutputError: the disk is full or failed.
        """
        done = replace(tally, last_duration=self._last[1])
        return self._file.commit(done, self._encoder.stream.codec_context.extradata)

    def _add(self, packet: av.Packet[av.VideoStream]) -> None:
        self._last = max(self._last, (int(packet.pts or 0), int(packet.duration or 0)))
        self._file.add(packet)


def _nowhere(muxer: str, where: str) -> OutputContainer:
    with av_errors(where, "open the encoder", OutputError):
        return av.open(io.BytesIO(), "w", format=muxer)

"""A result that goes to standard output, for whoever reads it there.

What has been written is gone: it gets no name in the end, and nothing can be taken back. So its
reader is to look at the exit code. It is checked all the same, on its way: a thread reads the same
bytes and counts what is in them.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import av
from av.container import OutputContainer

from vsr.errors import OutputError, VerifyError
from vsr.media.av_errors import av_errors
from vsr.media.pipes.interrupted import carrying
from vsr.media.write.into.sink import WriteResult, Written
from vsr.media.write.pixel_shape import shaped_header
from vsr.media.write.verify import ReadBack, check_frame, lacking
from vsr.types import Plan
from vsr.types.place import result_name

__all__ = ["PipeSink"]

_STDOUT, _STDERR = 1, 2
# Pieces that the check may be behind, of at most 32 KB each.
_BEHIND = 256


class PipeSink:
    """See :class:`vsr.media.write.into.sink.Sink`.

    While it is open, whatever else this process prints to standard output goes to standard error.

    Args:
        plan: the plan.

    Raises:
        OutputError: standard output is a terminal.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._where = result_name(plan.destination)
        if os.isatty(_STDOUT):
            raise OutputError(
                "the result would go to the terminal",
                where=self._where,
                remedy="Pipe it on, as in: vsr upscale input.mp4 -o - | mpv -",
            )
        self._held: bytearray | None = bytearray()  # the header, until its shapes are in it
        self._shapes = 0
        self._webm = False
        self._begun = self._discarded = False
        self._size = 0
        self._checked = _Check(self._where) if plan.verify else None
        sys.stdout.flush()
        self._handle = os.dup(_STDOUT)
        os.dup2(_STDERR, _STDOUT)
        if sys.platform == "win32":
            import msvcrt

            msvcrt.setmode(self._handle, os.O_BINARY)

    def open(self, muxer: str, options: Mapping[str, str]) -> OutputContainer:
        """Begin the file. Each packet goes out as soon as its turn has come."""
        self._webm = muxer == "webm"
        every = {**options, "flush_packets": "1"}
        return av.open(self, "w", format=muxer, container_options=every)

    def begun(self, video: int, shapes: int) -> None:
        """Shapes are put into the header when the last of it comes, with the first packet."""
        self._shapes, self._begun = shapes, True
        if self._checked is not None:
            self._checked.video = video

    def write(self, data: bytes) -> int:
        """Take bytes from FFmpeg.

        Raises:
            BrokenPipeError: nobody reads them any more.
            OSError: they cannot be written.
        """
        if self._discarded:
            return len(data)
        with carrying():
            if self._held is None:
                self._pass(data)
            else:
                self._held += data
                if self._begun:
                    self._release()
        return len(data)

    def finish(self, written: Written, before_commit: Callable[[Path], str | None]) -> WriteResult:
        """See what became of it."""
        plan, video = self._plan, written.video
        with av_errors(self._where, "finish the file", OutputError):
            self._release()
        before_commit(Path(plan.destination))
        lost: tuple[str, ...] = ()
        if self._checked is not None:
            with av_errors(self._where, "read what was written", VerifyError):
                lost = self._checked.compare(plan, written)
        return WriteResult(len(video.times), self._size, plan.verify, tuple(written.said()), lost)

    def discard(self) -> None:
        """Take nothing more, and give standard output back."""
        self._discarded = True
        if self._checked is not None:
            self._checked.end()
        if self._handle >= 0:
            sys.stdout.flush()
            os.dup2(self._handle, _STDOUT)
            os.close(self._handle)
            self._handle = -1

    def _release(self) -> None:
        """Let the header go, with its shapes."""
        if self._held is None:
            return
        held, self._held = bytes(self._held), None
        if self._shapes:
            held = shaped_header(held, self._where, self._shapes, webm=self._webm)
        self._pass(held)

    def _pass(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._handle, rest) :]
        self._size += len(data)
        if self._checked is not None:
            self._checked.take(data)


class _Check:
    """Reads what has been written, in a thread, while more of it is being written."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._pieces: queue.Queue[bytes] = queue.Queue(_BEHIND)
        self._rest: bytes | None = b""  # of the piece at hand; None at the end
        self._ended = False
        self.video = 0  # index of the video stream, to be set before the header is taken
        self._read: ReadBack | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="vsr-check", daemon=True)
        self._thread.start()

    def take(self, data: bytes) -> None:
        """These bytes have been written."""
        if self._thread.is_alive():
            self._pieces.put(data)

    def end(self) -> None:
        """There are no more."""
        if not self._ended:
            self._ended = True
            self.take(b"")

    def compare(self, plan: Plan, written: Written) -> tuple[str, ...]:
        """Wait for the thread, and compare what it has read with what was to be written.

        Returns:
            What it lacks of the plan.

        Raises:
            VerifyError: something differs.
        """
        self.end()
        self._thread.join()
        if self._error is not None:
            raise self._error
        video, read = written.video, self._read
        if read is None:
            raise VerifyError("nothing was written", where=self._where)
        with read.container:
            hidden = read.compare(plan, video.times, video.time_base, written.lanes, self._where)
            size = (plan.width, plan.height)
            first = check_frame(read.first, read.times[0], size, "first", self._where)
        return lacking(first, hidden, plan, self._where)

    def read(self, size: int) -> bytes:
        """What FFmpeg's reader asks for."""
        if self._rest is not None and not self._rest:
            self._rest = self._pieces.get() or None
        if self._rest is None:
            return b""
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def _run(self) -> None:
        try:
            container = av.open(self, "r", metadata_errors="replace")
            self._read = ReadBack.of(container, self.video, self._where, decode=True)
        except BaseException as error:  # noqa: BLE001 - whoever compares raises it
            self._error = error
        # Nobody is to wait for a check that has ended.
        while self.read(1 << 20):
            pass

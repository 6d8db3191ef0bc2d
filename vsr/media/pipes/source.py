"""A source that gives its bytes once, read as often as it takes.

A file is looked at before it is read through: for its streams, for what the writer copies, and then
for its frames. So what comes out of a pipe is kept in temporary files, from where it is read anew.
:meth:`Pipe.let_go` ends that: from then on only what is still to be read is kept, and a live feed
may go on for as long as it likes.

FFmpeg is told that nobody can go back in it, as in a pipe of its own, and so asks for nothing from
the end, which of a live feed may never come. One form of files cannot be read that way: MP4 and MOV
whose index comes last. They are read as files are, for which all of the pipe must have come.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from vsr.errors import InputError, OutputError
from vsr.media.pipes.interrupted import carrying
from vsr.stopping import PATIENCE
from vsr.types.place import STANDARD, source_name

__all__ = ["Pipe", "forget_pipe", "let_go", "open_pipe", "stopping_with"]

# Bytes of one temporary file, and of one read.
_CHUNK, _READ = 64 << 20, 1 << 20
# ISO base media files (ISO/IEC 14496-12): boxes that may come first, and what is looked for.
_FIRST_BOXES = (b"ftyp", b"wide", b"free", b"skip", b"mdat", b"pnot")
_INDEX, _FRAGMENT, _SAMPLES = b"moov", b"moof", b"mdat"

# Path -> what has come out of it.
_PIPES: dict[str, Pipe] = {}
_REGISTER = threading.Lock()


class Pipe:
    """What has come out of a pipe. Threads may read it side by side.

    Args:
        path: its name; ``-`` is standard input.

    Raises:
        InputError: standard input is a terminal.
        OSError: it cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        if path == STANDARD and os.isatty(0):
            raise InputError(
                "nothing is piped into it: it is the terminal",
                where=source_name(path),
                remedy="Name a file, or pipe one in: producer | vsr upscale - -o out.mp4.",
            )
        self._handle = os.dup(0) if path == STANDARD else os.open(path, os.O_RDONLY)
        if sys.platform == "win32":
            import msvcrt

            msvcrt.setmode(self._handle, os.O_BINARY)
        self._chunks: deque[IO[bytes]] = deque()
        self._first = 0  # number of the first chunk that is kept
        self._size = 0  # bytes that have come
        self._ended = self._stopped = self._going = self._sought = False
        self._turn = threading.Lock()

    def open(self) -> PipeReader:
        """A file-like object at the first byte.

        Raises:
            InputError: its beginning is kept no longer, or nothing came out of it.
        """
        if self._going:
            raise InputError(
                "a pipe that is being read cannot be read from its beginning again",
                where=source_name(self.path),
                remedy="Save what comes out of it to a file first.",
            )
        if not self.read(0, 1):
            raise InputError(
                "nothing came out of the pipe (0 bytes)",
                where=source_name(self.path),
                remedy="Look at what the program before it says.",
            )
        if not self._sought:
            self._sought = self._ends_in_index()
        return SeekingReader(self) if self._sought else PipeReader(self)

    def read(self, at: int, size: int) -> bytes:
        """Up to ``size`` bytes from the offset ``at``; none if it ends there. Waits for them.

        Raises:
            OutputError: what came cannot be kept: the disk is full.
            InputError: what is asked for is kept no longer.
        """
        with self._turn:
            while at >= self._size and not self._ended:
                self._fetch()
            number, inside = divmod(at, _CHUNK)
            if at >= self._size:
                return b""
            if number < self._first:
                raise InputError(
                    "the beginning of a pipe is kept no longer", where=source_name(self.path)
                )
            if self._going:
                for _ in range(number - self._first):
                    self._chunks.popleft().close()
                    self._first += 1
            file = self._chunks[number - self._first]
            file.seek(inside)
            return file.read(min(size, self._size - at, _CHUNK - inside))

    def size(self) -> int:
        """How many bytes come out of it in all. Waits for the last one."""
        with self._turn:
            while not self._ended:
                self._fetch()
            return self._size

    def let_go(self) -> None:
        """Keep nothing from now on that has been read; one reader goes on, nobody opens it anew.

        Of a pipe that is read as files are, everything is kept.
        """
        self._going = not self._sought

    def stop(self) -> None:
        """End it for whoever waits for more; from any thread."""
        self._stopped = True

    def close(self) -> None:
        """Forget all that has come."""
        self.stop()
        with self._turn:
            self._ended, self._size = True, 0
            while self._chunks:
                self._chunks.popleft().close()
            if self._handle >= 0:
                os.close(self._handle)
                self._handle = -1

    def _fetch(self) -> None:
        """Keep what comes next, which may be the end."""
        while not self._ready():
            if self._stopped:
                self._ended = True
                return
        room = _CHUNK - self._size % _CHUNK
        data = os.read(self._handle, min(_READ, room))
        if not data:
            self._ended = True
            return
        try:
            if self._size % _CHUNK == 0:
                self._chunks.append(tempfile.TemporaryFile(prefix="vsr-pipe-"))  # noqa: SIM115
            self._chunks[-1].seek(self._size % _CHUNK)
            self._chunks[-1].write(data)
            self._chunks[-1].flush()
        except OSError as error:
            raise OutputError(
                f"what comes out of the pipe cannot be kept: {error.strerror}",
                where=tempfile.gettempdir(),
                remedy="Free some space there, or set TMPDIR to a folder on another disk.",
            ) from error
        self._size += len(data)

    def _ready(self) -> bool:
        """Whether reading would not wait."""
        if sys.platform == "win32":  # where select() knows sockets only
            return True
        return bool(select.select([self._handle], [], [], PATIENCE)[0])

    def _ends_in_index(self) -> bool:
        """Whether it is an MP4 or MOV file whose samples come before what says where they are."""
        at = 0
        while len(head := self._exactly(at, 16)) == 16:
            size, kind = int.from_bytes(head[:4], "big"), head[4:8]
            if (at == 0 and kind not in _FIRST_BOXES) or kind in (_INDEX, _FRAGMENT):
                return False
            if kind == _SAMPLES:
                return True
            at += max(size, 8)
        return False

    def _exactly(self, at: int, size: int) -> bytes:
        """So many bytes, unless it ends before."""
        found = b""
        while len(found) < size and (more := self.read(at + len(found), size - len(found))):
            found += more
        return found


class PipeReader:
    """A way through a pipe that goes only forward, as PyAV takes it."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._at = 0

    @property
    def name(self) -> str:
        """What errors call it."""
        return self._pipe.path

    def read(self, size: int) -> bytes:
        """The next bytes; none at the end."""
        with carrying():
            data = self._pipe.read(self._at, size)
        self._at += len(data)
        return data


class SeekingReader(PipeReader):
    """The same of a pipe that has to be read like a file."""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go somewhere; from the end, once that has come."""
        if whence == io.SEEK_SET:
            self._at = offset
        elif whence == io.SEEK_CUR:
            self._at += offset
        elif whence == io.SEEK_END:
            with carrying():
                self._at = self._pipe.size() + offset
        else:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return self._at

    def tell(self) -> int:
        """Where it is."""
        return self._at


def open_pipe(path: str) -> PipeReader:
    """The pipe of that name from its first byte, also if that has been read before.

    Raises:
        InputError: nothing came out of it, or its beginning is kept no longer; or standard input is
            a terminal.
        OSError: it cannot be opened.
    """
    with _REGISTER:
        pipe = _PIPES.get(path)
        if pipe is None:
            pipe = _PIPES[path] = Pipe(path)
    return pipe.open()


def let_go(path: str) -> None:
    """See :meth:`Pipe.let_go`; of what is no pipe, nothing."""
    if path in _PIPES:
        _PIPES[path].let_go()


def forget_pipe(path: str) -> None:
    """Forget what has come out of a pipe, when it is done with; of what is no pipe, nothing."""
    with _REGISTER:
        pipe = _PIPES.pop(path, None)
    if pipe is not None:
        pipe.close()


@contextmanager
def stopping_with(path: str) -> Iterator[None]:
    """When the block fails, end the pipe of that name for a thread that waits for more of it."""
    try:
        yield
    except BaseException:
        with suppress(KeyError):
            _PIPES[path].stop()
        raise

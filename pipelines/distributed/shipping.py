"""A file of the first machine, read on another one in byte ranges as they are needed."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vsr.errors import InputError

__all__ = ["BLOCK", "RangeReader", "ShippedFile"]

#: Ranges begin at multiples of so many bytes.
BLOCK = 1 << 20
#: Blocks of a range that goes on where the one before has ended.
_AHEAD = 4
#: Seconds after which nobody will answer any more.
_PATIENCE = 600.0


class ShippedFile:
    """What has come so far of a file, in a sparse file of this machine. Threads may share it.

    Memory holds no more of the file than the range that is arriving.

    Args:
        name: the file's path where it is, for messages and for FFmpeg's guess at the format.
        size: its bytes.
        cache: path of the local file; it is created.
        ask: asks for a range ``(offset, bytes)``, which :meth:`give` then brings.
    """

    def __init__(self, name: str, size: int, cache: Path, ask: Callable[[int, int], None]) -> None:
        self.name, self.size = name, size
        self._ask = ask
        self._file = os.open(cache, os.O_CREAT | os.O_RDWR | os.O_TRUNC, 0o600)
        os.truncate(cache, size)
        self._here: set[int] = set()
        self._asked: set[int] = set()
        self._last = -2  # the block that was asked for last
        self._changed = threading.Condition()

    def read(self, offset: int, count: int) -> bytes:
        """Up to ``count`` bytes from ``offset`` on; waits for what is not here yet.

        Raises:
            InputError: it does not come.
        """
        count = max(0, min(count, self.size - offset))
        if not count:
            return b""
        for block in range(offset // BLOCK, (offset + count - 1) // BLOCK + 1):
            self._await(block)
        return os.pread(self._file, count, offset)

    def give(self, offset: int, data: bytes) -> None:
        """Take a range that was asked for."""
        blocks = range(offset // BLOCK, -(-(offset + len(data)) // BLOCK))
        os.pwrite(self._file, data, offset)
        with self._changed:
            self._here.update(blocks)
            self._asked.difference_update(blocks)
            self._changed.notify_all()

    def open(self) -> RangeReader:
        """A new file-like object at the file's beginning."""
        return RangeReader(self)

    def close(self) -> None:
        """Close the local file."""
        os.close(self._file)

    def _await(self, block: int) -> None:
        with self._changed:
            if block not in self._here and block not in self._asked:
                self._request(block)
            if not self._changed.wait_for(lambda: block in self._here, _PATIENCE):
                raise InputError(
                    f"byte {block * BLOCK} of the source has not come in {_PATIENCE:.0f} seconds",
                    where=self.name,
                    remedy="Check the network between the nodes, or use shared storage.",
                )

    def _request(self, block: int) -> None:
        last = -(-self.size // BLOCK)
        # Whoever reads on will want what follows, too; whoever jumps about will not.
        most = _AHEAD if block == self._last + 1 else 1
        end = block + 1
        while end < min(last, block + most) and end not in self._here | self._asked:
            end += 1
        self._asked.update(range(block, end))
        self._last = end - 1
        offset = block * BLOCK
        self._ask(offset, min(end * BLOCK, self.size) - offset)


class RangeReader(io.RawIOBase):
    """One reader's place in a :class:`ShippedFile`."""

    def __init__(self, file: ShippedFile) -> None:
        super().__init__()
        self.name = file.name
        self._shipped = file
        self._at = 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """It can be sought."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` as far as the file goes; returns how many bytes that were."""
        data = self._shipped.read(self._at, len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place in the file."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._shipped.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """The place in the file."""
        return self._at

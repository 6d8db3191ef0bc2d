"""A finished segment that arrives from another machine in chunks."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from pipelines.segments.worker import segment_path
from vsr.errors import OutputError
from vsr.media.av_errors import av_errors
from vsr.media.segments.packet_file import PacketFile, sync_folder

__all__ = ["CHUNK", "Arriving"]

#: Bytes of a chunk.
CHUNK = 4 << 20


class Arriving:
    """The file of a segment, under a temporary name until it is whole.

    Args:
        folder: the ledger's.
        index: of the segment.
        size: bytes of its file.

    Attributes:
        index: as given. ``got``: bytes that have come.

    Raises (all methods):
        OutputError: the disk is full or failed.
    """

    def __init__(self, folder: Path, index: int, size: int) -> None:
        self.index, self.got, self._size = index, 0, size
        self._final = segment_path(folder, index)
        self._path = self._final.with_name(f"{self._final.name}.{os.getpid()}.part")
        with av_errors(self._path, "create the file of a segment", OutputError):
            self._file = self._path.open("wb")

    @property
    def complete(self) -> bool:
        """Whether all bytes have come."""
        return self.got >= self._size

    def add(self, data: bytes) -> None:
        """Append a chunk."""
        with av_errors(self._path, "write the file of a segment", OutputError):
            self._file.write(data)
        self.got += len(data)

    def commit(self) -> None:
        """Compare the file with its hash, bring it to the disk and give it its name.

        Raises:
            VerifyError: it is damaged.
        """
        with av_errors(self._path, "finish the file of a segment", OutputError):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        PacketFile(self._path).check()
        with av_errors(self._path, "finish the file of a segment", OutputError):
            self._path.replace(self._final)
            sync_folder(self._final.parent)

    def discard(self) -> None:
        """Remove what has come so far."""
        # Closing flushes, which fails once more on a full disk; that is being raised already.
        with suppress(OSError):
            self._file.close()
        self._path.unlink(missing_ok=True)

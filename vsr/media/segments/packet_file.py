r"""A finished segment on the disk: encoded packets, and what is to be known about them.

No container of FFmpeg keeps everything that is needed here: Matroska rounds times to milliseconds
and rewrites H.264, NUT takes no ProRes. So packets are written as they leave the encoder::

    "vsr segment 1\n"
    per packet:  pts int64, key uint8, size uint32 (little endian), the bytes
    footer:      JSON, UTF-8
    its length uint32, SHA-256 of everything before (32 bytes)

The file gets its name when it is complete and on the disk, so a file with that name is whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from av.packet import Packet

from vsr.errors import OutputError, VerifyError
from vsr.media.av_errors import av_errors
from vsr.media.write.atomic import sync_folder
from vsr.types import ReadTally, SegmentTally

__all__ = ["EncodedPacket", "PacketFile", "PacketFileWriter", "sync_folder"]

_MAGIC = b"vsr segment 1\n"
_HEAD = struct.Struct("<qBI")
_TAIL = struct.Struct("<I32s")
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class EncodedPacket:
    """One packet: ``pts`` in ticks of the encoder, ``key`` for key frames, the bitstream."""

    pts: int
    key: bool
    data: bytes


class PacketFileWriter:
    """Writes one segment under a temporary name. A context manager.

    Leaving the block before :meth:`commit` has returned removes the temporary file.

    Raises (all methods):
        OutputError: the disk is full or failed.
    """

    def __init__(self, path: Path) -> None:
        self._final = path
        self._path = path.with_name(f"{path.name}.{os.getpid()}.part")
        self._times: list[int] = []
        self._hash = hashlib.sha256()
        with av_errors(self._path, "create the file of a segment", OutputError):
            self._file: BinaryIO = self._path.open("wb")
        self._write(_MAGIC)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.discard()

    def add(self, packet: Packet[Any]) -> None:
        """Append a packet as the encoder gave it."""
        data, pts = bytes(packet), int(packet.pts or 0)
        self._write(_HEAD.pack(pts, packet.is_keyframe, len(data)))
        self._write(data)
        self._times.append(pts)

    def commit(self, tally: SegmentTally, extradata: bytes | None) -> int:
        """Complete the file, bring it to the disk and give it its name; returns its size."""
        footer = {
            "tally": asdict(tally),
            "times": self._times,
            "extradata": None if extradata is None else extradata.hex(),
        }
        text = json.dumps(footer).encode()
        self._write(text)
        self._write(_TAIL.pack(len(text), self._hash.digest()))
        with av_errors(self._path, "finish the file of a segment", OutputError):
            self._file.flush()
            os.fsync(self._file.fileno())
            size = self._file.tell()
            self._file.close()
            self._path.replace(self._final)
            sync_folder(self._final.parent)
        return size

    def discard(self) -> None:
        """Remove what is not finished; nothing after a commit."""
        # Closing flushes, which fails once more on a full disk; that is being raised already.
        with contextlib.suppress(OSError):
            self._file.close()
        self._path.unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        with av_errors(self._path, "write the file of a segment", OutputError):
            self._file.write(data)
        self._hash.update(data)


class PacketFile:
    """Reads one finished segment.

    Args:
        path: the file.

    Attributes:
        path, size: the file and its bytes.
        tally: what happened when it was made.
        times: presentation time of each packet in decoding order, in ticks of the encoder.
        extradata: the encoder's parameter sets; empty if it has none.

    Raises:
        VerifyError: the file is not whole.
        OutputError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with av_errors(path, "read the file of a segment", OutputError):
            self.size = path.stat().st_size
            footer = self._footer()
        told = footer["tally"]
        read = ReadTally(**told.pop("read"))
        told["busy"] = tuple(told["busy"])
        self.tally = SegmentTally(read=read, **told)
        self.times: tuple[int, ...] = tuple(footer["times"])
        self.extradata = bytes.fromhex(footer["extradata"] or "")

    def check(self) -> None:
        """Compare the whole file with its hash.

        Raises:
            VerifyError: it is damaged.
            OutputError: it cannot be read.
        """
        digest, left = hashlib.sha256(), self.size - _TAIL.size
        with (
            av_errors(self.path, "read the file of a segment", OutputError),
            self.path.open("rb") as file,
        ):
            while left > 0:
                data = file.read(min(_CHUNK, left))
                if not data:
                    break
                digest.update(data)
                left -= len(data)
            if digest.digest() != _TAIL.unpack(file.read(_TAIL.size))[1]:
                raise self._damaged()

    def __iter__(self) -> Iterator[EncodedPacket]:
        """The packets in decoding order."""
        with (
            av_errors(self.path, "read the file of a segment", OutputError),
            self.path.open("rb") as file,
        ):
            file.seek(len(_MAGIC))
            for _ in self.times:
                pts, key, size = _HEAD.unpack(file.read(_HEAD.size))
                data = file.read(size)
                if len(data) != size:
                    raise self._damaged()
                yield EncodedPacket(pts, bool(key), data)

    def _footer(self) -> dict[str, Any]:
        with self.path.open("rb") as file:
            if self.size < len(_MAGIC) + _TAIL.size or file.read(len(_MAGIC)) != _MAGIC:
                raise self._damaged()
            file.seek(-_TAIL.size, os.SEEK_END)
            length, _ = _TAIL.unpack(file.read(_TAIL.size))
            if length > self.size - len(_MAGIC) - _TAIL.size:
                raise self._damaged()
            file.seek(-_TAIL.size - length, os.SEEK_END)
            try:
                footer: dict[str, Any] = json.loads(file.read(length))
            except ValueError as error:
                raise self._damaged() from error
        return footer

    def _damaged(self) -> VerifyError:
        return VerifyError(
            "the file of a finished segment is damaged",
            where=str(self.path),
            remedy="Remove it: the same command makes it anew.",
        )

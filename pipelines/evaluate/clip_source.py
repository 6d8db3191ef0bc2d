"""A clip that is read for evaluation: its frames, how its colours are read, what was odd."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from pipelines.evaluate.options import EvalOptions
from vsr.media.probe import probe
from vsr.media.read.reader import ReadRequest, open_reader
from vsr.media.read.timestamps import snap_trim
from vsr.plan import Request, select_video
from vsr.plan.color import decide_color, is_hdr, matrix_label
from vsr.plan.notes import Notes
from vsr.types import Color, ColorRange, FrameBatch, Matrix, PixelFormat, Trim

__all__ = ["ClipSource", "file_sha256"]


class ClipSource:
    """A clip; each call of :meth:`frames` reads it anew, one frame at a time.

    Attributes:
        path: as given.
        color: how its samples are read, nothing that matters unspecified.
        time_base: seconds per tick.
        rate: average frames per second, ``None`` if unknown.
        total: frames that the part has, as far as the container says.
        notes: what people should know about it, a sentence each.

    Raises:
        InputError: it cannot be read, or the part has no frame.
    """

    def __init__(self, path: str, options: EvalOptions) -> None:
        self.path = path
        info = probe(path)
        self._video = select_video(info, None)
        self.color: Color = decide_color(self._video, Request(source=path), Notes())
        part = (options.start, options.end, options.frames)
        self._trim = (
            Trim() if part == (None, None, None) else snap_trim(path, self._video.index, *part)
        )
        self.time_base = self._video.time_base
        self.rate = self._video.average_rate
        self.notes = [f"{path}: {warning}" for warning in info.warnings]
        if self._video.interlaced:
            self.notes.append(f"{path} is interlaced; its frames are compared as they are.")
        if self.color.matrix is Matrix.RGB:
            self.notes.append(f"{path} is RGB and has no Y; MATLAB's rgb2ycbcr is taken.")
        if is_hdr(self.color):
            self.notes.append(
                f"{path} is HDR ({self.color.transfer.name}); its codes are compared, which the "
                "measures were not made for."
            )
        if self._video.format.alpha:
            self.notes.append(f"{path} has alpha, which is not compared.")

    @property
    def full_range(self) -> bool:
        """Its luma is 0..255; that of an RGB clip, which has none of its own, is MATLAB's."""
        return self.color.range is ColorRange.FULL and self.color.matrix is not Matrix.RGB

    @property
    def format(self) -> PixelFormat:
        """The planar format of its frames."""
        return self._video.format

    @property
    def size(self) -> tuple[int, int]:
        """``(width, height)``."""
        return self._video.width, self._video.height

    @property
    def total(self) -> int | None:
        """Frames of the part, as far as the container says."""
        trim, total = self._trim, self._video.frames
        if trim.start is not None or trim.end is not None:
            return trim.frames
        if trim.frames is None:
            return total
        return trim.frames if total is None else min(total, trim.frames)

    def frames(self, *, noting: bool = False) -> Iterator[FrameBatch]:
        """Its frames in order, one a batch.

        Args:
            noting: add what the reader found odd to :attr:`notes`.

        Raises:
            InputError: the file cannot be read, or its picture changes size.
        """
        request = ReadRequest(
            path=self.path, video=self._video, batch=1, trim=self._trim, color=self.color
        )
        with open_reader("pyav", request) as reader:
            for item in reader:
                if isinstance(item, FrameBatch):
                    yield item
            if not noting:
                return
            stats = reader.stats
            self.notes += [f"{self.path}: {warning}" for warning in stats.warnings]
            if stats.concealed_frames:
                self.notes.append(
                    f"{self.path}: {stats.concealed_frames} frames are damaged; they were measured "
                    "as the decoder concealed them."
                )

    def settings(self, role: str) -> list[tuple[str, str]]:
        """What identifies it."""
        width, height = self.size
        span = self.color.range.name.lower()
        return [
            (role, self.path),
            (f"{role} sha256", file_sha256(self.path)),
            (
                f"{role} format",
                f"{width}x{height} {self.format.name}, {matrix_label(self.color.matrix)} {span}",
            ),
        ]


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file; empty for what is no file (a URL)."""
    if not Path(path).is_file():
        return ""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

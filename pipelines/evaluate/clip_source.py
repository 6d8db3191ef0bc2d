"""A clip that is read for evaluation: its frames, how its colours are read, what was odd."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from fractions import Fraction
from functools import cached_property
from pathlib import Path

from pipelines.evaluate.options import EvalOptions
from vsr.media.probe import probe
from vsr.media.read.part import Part, locate
from vsr.media.read.reader import ReadRequest, open_reader
from vsr.media.read.timestamps import first_shown, snap_trim
from vsr.plan import Request, select_video
from vsr.plan.color import decide_color, is_hdr, matrix_label
from vsr.plan.notes import Notes
from vsr.types import Color, ColorRange, FrameBatch, Matrix, PixelFormat, Trim
from vsr.types.place import on_disk

__all__ = ["ClipSource", "file_sha256"]


class ClipSource:
    """A clip; each call of :meth:`frames` reads it anew, one frame at a time.

    Args:
        path: the file.
        options: which part of it, and how it is aligned with another.
        partner: the reference that this is to be compared with. The part is then that of the
            reference, whose first and last frames' times say which frames are in it.

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

    def __init__(self, path: str, options: EvalOptions, partner: ClipSource | None = None) -> None:
        self.path = path
        info = probe(path)
        self._video = select_video(info, None)
        self.color: Color = decide_color(self._video, Request(source=path), Notes())
        self.time_base = self._video.time_base
        self.rate = self._video.average_rate
        self._trim = self._part(options) if partner is None else self._part_of(options, partner)
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

    def _part(self, options: EvalOptions) -> Trim:
        part = (options.start, options.end, options.frames)
        if part == (None, None, None):
            return Trim()
        return snap_trim(self.path, self._video, *part)

    def _part_of(self, options: EvalOptions, partner: ClipSource) -> Trim:
        """The frames that are shown with those of the partner's part."""
        if options.start is None and options.end is None:
            return Trim(frames=options.frames)
        first, last = (
            None if pts is None else pts * partner.time_base
            for pts in (partner._trim.start, partner._trim.end)
        )
        # A bound that is none of the partner's timestamps: all its frames lie on one side of it.
        if first is None and options.start is not None:
            first = partner.begins
        if last is None and options.end is not None:
            last = partner.begins + options.end
        mine = theirs = Fraction(0)
        coarser = max(self.time_base, partner.time_base)
        slack = coarser / 2
        if options.align == "start":
            mine, theirs = self.begins, partner.begins
            rates = [rate for rate in (self.rate, partner.rate) if rate]
            slack = min([coarser, *(1 / (2 * rate) for rate in rates)])
        start, end = (None if time is None else time - theirs - slack for time in (first, last))
        return snap_trim(self.path, self._video, start, end, options.frames, origin=mine)

    @cached_property
    def begins(self) -> Fraction:
        """When the file's first frame is shown, in seconds."""
        return first_shown(self.path, self._video)

    def times(self) -> tuple[tuple[int, Fraction], ...] | None:
        """When the part's frames are shown, in ticks of so many seconds, without decoding them.

        ``None`` where packets cannot be trusted to tell, or reading them all would take long.

        Raises:
            InputError: the file cannot be read.
        """
        # The two fields of an interlaced picture may be two packets.
        if not on_disk(self.path) or self._video.interlaced:
            return None
        located = locate(self.path, self._video, Part())
        if located is None:
            return None
        trim = self._trim
        inside = [
            pts
            for pts in located.times
            if (trim.start is None or pts >= trim.start) and (trim.end is None or pts < trim.end)
        ]
        return tuple((pts, self.time_base) for pts in inside[: trim.frames])

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
        """``(width, height)`` of what is coded."""
        return self._video.width, self._video.height

    @property
    def display_matrix(self) -> tuple[int, ...] | None:
        """How it is turned or mirrored on display."""
        return self._video.display_matrix

    @property
    def shown_size(self) -> tuple[int, int]:
        """``(width, height)`` as shown, after turning it by the display matrix."""
        width, height = self.size
        return (height, width) if self._quarter else (width, height)

    @property
    def shown_sar(self) -> Fraction:
        """Width by height of a pixel, as shown."""
        sar = self._video.sar
        return 1 / sar if self._quarter and sar else sar

    @property
    def _quarter(self) -> bool:
        """Whether the display matrix turns it by a quarter."""
        matrix = self.display_matrix
        return matrix is not None and abs(matrix[1]) > abs(matrix[0])

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

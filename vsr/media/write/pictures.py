"""Frames as PNG files: all of them under their names, or none."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

from vsr.errors import OutputError, UsageError
from vsr.media.av_errors import av_errors
from vsr.media.color import from_rgb
from vsr.media.color.convert import batch_to_rgb
from vsr.media.write.atomic import give_name
from vsr.types import Color, ColorRange, FrameBatch, Matrix, pixel_format

__all__ = ["MANIFEST", "PictureSet", "is_pictures", "png"]

#: Name of the file that describes the pictures of a folder.
MANIFEST = "manifest.json"

_NUMBER = re.compile(r"%(0?)(\d*)d")
_TEMPLATE = "%06d.png"


def is_pictures(destination: str) -> bool:
    """Whether a destination means PNG files: a folder, or a name like ``frames_%06d.png``."""
    path = Path(destination)
    return destination.endswith(("/", "\\")) or path.suffix.lower() == ".png" or path.is_dir()


class PictureSet:
    """Files that appear under their names together, when :meth:`commit` is called.

    Until then they are in a folder beside the destination whose name begins with a dot. A folder
    takes its name by one rename. Files of a pattern are renamed one by one, and back again if that
    fails in the middle.

    Args:
        destination: a folder, which gets pictures named by their index and a manifest; or a
            pattern with one ``%d`` or ``%06d`` for the index.
        overwrite: replace what is there: files of these names, or a whole folder if nothing else
            is in it than pictures and their manifest.

    Attributes:
        manifest: path that the manifest will have.

    Raises:
        UsageError: a name ending in ``.png`` has no place for the index.
        OutputError: the folder around it is missing, or the destination is taken.
    """

    def __init__(self, destination: str, *, overwrite: bool) -> None:
        self._where, self._overwrite = destination, overwrite
        path = Path(destination)
        self._is_folder = path.suffix.lower() != ".png" or path.is_dir()
        self._template = _TEMPLATE if self._is_folder else path.name
        if len(_NUMBER.findall(self._template)) != 1 or self._template.count("%") != 1:
            raise UsageError(
                f"{path.name!r} has no place for the frame's index",
                where=destination,
                remedy="Write frames_%06d.png, or name a folder: frames/.",
            )
        self._target = path if self._is_folder else path.parent
        around = path.parent
        if not around.is_dir():
            raise OutputError(
                f"the folder {around} does not exist",
                where=destination,
                remedy="Create it first or choose another one.",
            )
        self.manifest = (
            path / MANIFEST if self._is_folder else around / f"{_plain(self._template)}.json"
        )
        self._look(())
        with av_errors(destination, "create a temporary folder", OutputError):
            stem = path.name if self._is_folder else _plain(self._template)
            self._folder = around / f".{stem[:64]}.{secrets.token_hex(4)}.part"
            self._folder.mkdir()
        self._aside = self._folder.with_suffix(".old")
        self._names: list[str] = []
        self._named = False

    def name(self, index: int) -> str:
        """File name of the picture of frame ``index``."""
        return self._template % index

    def add(self, name: str, data: bytes) -> None:
        """Write a file.

        Raises:
            OutputError: the disk is full, or the like.
        """
        with av_errors(self._where, f"write {name}", OutputError):
            (self._folder / name).write_bytes(data)
        self._names.append(name)

    def commit(self) -> None:
        """Give all files their names.

        Raises:
            OutputError: a name is taken, or the disk failed; nothing has changed then.
        """
        self._look(self._names)
        with av_errors(self._where, "give the pictures their names", OutputError):
            if self._is_folder:
                self._rename_folder()
            else:
                self._rename_files()

    def discard(self) -> None:
        """Remove what has no name yet; never what was there before and could not be put back."""
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._named:
            shutil.rmtree(self._aside, ignore_errors=True)
        else:
            with suppress(OSError):  # it was never made, or something is in it
                self._aside.rmdir()

    def _look(self, names: Sequence[str]) -> None:
        taken = [n for n in (*names, self.manifest.name) if os.path.lexists(self._target / n)]
        if self._is_folder and os.path.lexists(self._target):
            if not self._target.is_dir():
                gone = not self._target.exists()
                what = "a link to something that is not there" if gone else "a file"
                raise OutputError(f"this is {what}", where=self._where, remedy="Name a folder.")
            inside = [entry.name for entry in self._target.iterdir()]
            strange = [n for n in inside if n != MANIFEST and not re.fullmatch(r"\d+\.png", n)]
            if strange or (inside and MANIFEST not in inside):
                raise OutputError(
                    f"the folder has other files in it, such as {sorted(strange or inside)[0]}",
                    where=self._where,
                    remedy="Name a new or an empty folder.",
                )
            taken = inside
        if taken and not self._overwrite:
            raise OutputError(
                f"{sorted(taken)[0]} already exists there",
                where=self._where,
                remedy="Choose another name, or allow overwriting (-y, overwrite=True).",
            )

    def _rename_folder(self) -> None:
        try:
            if self._target.exists():
                self._target.rename(self._aside)
            self._folder.rename(self._target)
        except BaseException as error:
            # Ctrl-C may come as a rename returns: what is there tells how far it came.
            try:
                if not self._folder.exists():
                    self._target.rename(self._folder)
                if os.path.lexists(self._aside):
                    self._aside.rename(self._target)
            except OSError as again:
                raise self._stuck(error, again) from error
            raise
        self._named = True
        self.discard()

    def _rename_files(self) -> None:
        self._aside.mkdir()
        begun: list[str] = []
        try:
            for name in self._names:
                begun.append(name)
                if self._overwrite:
                    self._move_aside(name)
                give_name(self._folder / name, self._target / name)
        except BaseException as error:
            stuck = [found for name in begun if (found := self._put_back(name)) is not None]
            if stuck:
                raise self._stuck(error, stuck[0]) from error
            raise
        self._named = True
        self.discard()

    def _move_aside(self, name: str) -> None:
        there = self._target / name
        if os.path.lexists(there) and (there.is_symlink() or not there.is_dir()):
            there.rename(self._aside / name)

    def _put_back(self, name: str) -> OSError | None:
        """Undo what has happened to a name, as far as it came; returns why that cannot be done."""
        new, there, old = self._folder / name, self._target / name, self._aside / name
        try:
            if not new.exists():
                there.rename(new)
            elif os.path.lexists(there) and os.path.samestat(new.lstat(), there.lstat()):
                there.unlink()
            if os.path.lexists(old):
                give_name(old, there)
        except OSError as error:
            return error
        return None

    def _stuck(self, error: BaseException, again: OSError) -> OutputError:
        return OutputError(
            f"{error!r} came between, and what was there before cannot be put back: "
            f"{again.strerror}",
            where=self._where,
            remedy=f"It is in {self._aside}.",
        )


def _plain(template: str) -> str:
    """``frames_%06d.png`` without number and ending: ``frames``."""
    return _NUMBER.sub("", Path(template).stem).strip("_-. ") or "frames"


def png(batch: FrameBatch, sar: Fraction = Fraction(1)) -> list[bytes]:
    """Each frame of ``batch`` as a PNG file.

    R'G'B' as :mod:`vsr.media.color` converts it, rounded to 8 bits a sample where the source has
    no more, else to 16; alpha is kept. Primaries and transfer are written (chunk ``cICP``).
    Pixels that are not square stay so (chunk ``pHYs``), and nothing is turned.

    Args:
        batch: on the CPU; nothing that the conversion needs may be unspecified in its colour.
        sar: sample aspect ratio.
    """
    wide, alpha = batch.format.bits > 8, batch.format.alpha
    target = pixel_format(("gbrap" if alpha else "gbrp") + ("16le" if wide else ""))
    tags = Color(
        Matrix.RGB, batch.color.primaries, batch.color.transfer, ColorRange.FULL, batch.color.site
    )
    with torch.inference_mode():
        green, blue, red, *rest = from_rgb(*batch_to_rgb(batch), target, tags)
    pixels = torch.stack([red, green, blue, *rest], dim=-1).numpy()
    return [_encode(frame, wide, alpha, tags, sar) for frame in pixels]


def _encode(pixels: NDArray[Any], wide: bool, alpha: bool, tags: Color, sar: Fraction) -> bytes:
    """``pixels``: ``(H, W, 3 or 4)``, uint8 or uint16."""
    height, width = pixels.shape[:2]
    name = ("rgba64be" if alpha else "rgb48be") if wide else ("rgba" if alpha else "rgb24")
    frame = av.VideoFrame(width, height, name)
    rows = np.frombuffer(memoryview(frame.planes[0]), np.uint8)
    rows = rows.reshape(-1, frame.planes[0].line_size)
    data = np.ascontiguousarray(pixels.astype(">u2") if wide else pixels)
    data = data.view(np.uint8).reshape(height, -1)
    rows[:height, : data.shape[1]] = data
    frame.pts = 0
    context = av.CodecContext.create("png", "w")
    assert isinstance(context, VideoCodecContext)  # noqa: S101 - what "png" is
    context.width, context.height, context.pix_fmt = width, height, name
    context.time_base = Fraction(1, 25)
    context.sample_aspect_ratio = sar
    context.options = {"pred": "up"}
    for target in (context, frame):
        target.color_primaries = int(tags.primaries)
        target.color_trc = int(tags.transfer)
        target.color_range = int(tags.range)
        target.colorspace = int(tags.matrix)
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])

"""Single pictures: any image file that FFmpeg reads."""

from __future__ import annotations

from pathlib import Path

from vsr.media.frames import frames
from vsr.types import FrameBatch

__all__ = ["IMAGE_ENDINGS", "read_image"]

#: Endings of files that count as images, in lower case.
IMAGE_ENDINGS = (".png", ".bmp", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".ppm", ".pgm")


def read_image(path: str | Path) -> FrameBatch:
    """An image file as a batch of one frame, in its own samples.

    Raises:
        InputError: it cannot be read.
    """
    return next(frames(path, count=1))

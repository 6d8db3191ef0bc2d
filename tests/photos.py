"""Images made by code for the tests of training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["make_photos", "photo"]


def photo(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """Coloured shapes at several sizes, smooth and sharp: ``(height, width, 3)``."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3))
    for size in (32, 8, 3):
        coarse = rng.uniform(0, 255, (height // size + 2, width // size + 2, 3)).astype(np.uint8)
        # Edges at one size: bicubic interpolation must leave something to learn.
        how = Image.Resampling.NEAREST if size == 8 else Image.Resampling.BICUBIC
        grown = Image.fromarray(coarse).resize((width, height), how)
        picture += np.asarray(grown, np.float64) / 3
    return picture.clip(0, 255).astype(np.uint8)


def make_photos(folder: Path, count: int = 3, height: int = 70, width: int = 90) -> Path:
    """``count`` PNG files in ``folder``, which is returned."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        Image.fromarray(photo(height, width, index)).save(folder / f"{index}.png")
    return folder

"""Pictures with full chroma, as DALI gives them, back to 4:2:0."""

from __future__ import annotations

import torch
from torch import Tensor

from vsr.media.color import from_rgb
from vsr.types import ChromaSite, Color, ColorRange, Matrix, pixel_format

__all__ = ["fold_chroma", "planes_from_rgb", "planes_from_ycbcr"]

# What DALI converts with, whatever the file's tags say.
_BT601 = Color(matrix=Matrix.SMPTE170M, range=ColorRange.LIMITED, site=ChromaSite.CENTER)


def planes_from_ycbcr(picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Planes Y, U, V of a picture whose chroma was enlarged linearly.

    Args:
        picture: ``(H, W, 3)`` uint8 on any device, height and width even.

    Returns:
        ``(H, W)`` and twice ``(H/2, W/2)``, uint8. Luma is exact, chroma to within two codes.
    """
    return picture[..., 0], fold_chroma(picture[..., 1]), fold_chroma(picture[..., 2])


def fold_chroma(plane: Tensor) -> Tensor:
    """Undo the linear enlargement of a plane by two, with samples in the middle of their blocks.

    Enlarged samples are 3/4 of the nearer and 1/4 of the farther one of two neighbours. Each pair
    of enlarged samples between two neighbours gives both: ``a = (3 p - q) / 2``. Every sample but
    those on the border is found twice; the mean halves the rounding's error.

    Args:
        plane: ``(H, W)`` uint8, height and width even.

    Returns:
        ``(H/2, W/2)`` uint8.
    """
    folded = _fold(_fold(plane.to(torch.float32)).mT).mT
    return folded.add_(0.5).floor_().clamp_(0, 255).to(torch.uint8)


def _fold(rows: Tensor) -> Tensor:
    """``(H, W)`` to ``(H, W/2)`` in float32."""
    near, far = rows[:, 1:-1:2], rows[:, 2::2]  # between neighbours k and k + 1
    left, right = (3 * near - far) / 2, (3 * far - near) / 2
    first, last = rows[:, :1], rows[:, -1:]  # the border repeats the outermost sample
    return (torch.cat([first, right], 1) + torch.cat([left, last], 1)) / 2


def planes_from_rgb(picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Planes Y, U, V of RGB that was made by BT.601 from limited range and such chroma.

    Args:
        picture: ``(H, W, 3)`` uint8, height and width even.

    Returns:
        ``(H, W)`` and twice ``(H/2, W/2)``, uint8. Luma within one code, chroma within about two,
        but where the colour lies outside of RGB and was clipped.
    """
    rgb = picture.permute(2, 0, 1).to(torch.float32).unsqueeze(0)
    planes = from_rgb(rgb, None, pixel_format("yuv444p"), _BT601)
    return planes_from_ycbcr(torch.cat(planes).movedim(0, -1))

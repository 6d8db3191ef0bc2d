"""Multi-scale SSIM as its authors' MATLAB code computes it.

Wang, Simoncelli and Bovik, "Multi-scale structural similarity for image quality assessment",
Asilomar Conference on Signals, Systems and Computers, 2003: five scales, contrast and structure of
each and the luminance of the coarsest, weighted by exponents from their experiments. Between
scales, means of 2x2 pixels; the last row and column of an odd size repeat.

Libraries, measured as in :mod:`vsr.metrics.ssim`: torchmetrics 1.9 agrees to 2e-6, pytorch-msssim
1.0 to 6e-6 (it fills odd sizes up with black).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - what everybody calls it
from torch import Tensor

from vsr.errors import UsageError
from vsr.metrics.psnr import comparable
from vsr.metrics.ssim import WINDOW, ssim_parts

__all__ = ["SMALLEST", "ms_ssim", "ssim_and_ms_ssim"]

_EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)

#: Pixels each way that are needed: the window still fits after four halvings.
SMALLEST = WINDOW << (len(_EXPONENTS) - 1)


def ms_ssim(a: Tensor, b: Tensor, *, shave: int = 0) -> Tensor:
    """Multi-scale structural similarity of each pair of pictures, over all channels.

    Args:
        a: ``(N, C, H, W)`` in 0..255, any dtype.
        b: the same shape.
        shave: pixels left out at each edge.

    Returns:
        float64, ``(N,)``; 1 for identical pictures.

    Raises:
        UsageError: shapes differ, or less than 176 pixels each way are left.
    """
    return ssim_and_ms_ssim(a, b, shave=shave)[1]


def ssim_and_ms_ssim(a: Tensor, b: Tensor, *, shave: int = 0) -> tuple[Tensor, Tensor]:
    """:func:`vsr.metrics.ssim` and :func:`ms_ssim`, whose finest scale are the same sums."""
    a, b = comparable(a, b, shave)
    if min(a.shape[-2:]) < SMALLEST:
        raise UsageError(
            f"MS-SSIM needs {SMALLEST} pixels each way, {tuple(a.shape[-2:])} are left"
        )
    whole, structure = ssim_parts(a, b)
    finest = whole
    # Where contrasts are opposite, a mean can be negative, which has no such power.
    product = structure.clamp_min(0) ** _EXPONENTS[0]
    for exponent in _EXPONENTS[1:]:
        a, b = _halved(a), _halved(b)
        whole, structure = ssim_parts(a, b)
        coarsest = exponent == _EXPONENTS[-1]
        product = product * (whole if coarsest else structure).clamp_min(0) ** exponent
    return finest, product


def _halved(x: Tensor) -> Tensor:
    height, width = x.shape[-2:]
    if height % 2 or width % 2:
        x = F.pad(x, (0, width % 2, 0, height % 2), mode="replicate")
    quarters = (x[..., i::2, j::2] for i in (0, 1) for j in (0, 1))
    return torch.stack(tuple(quarters)).mean(0)

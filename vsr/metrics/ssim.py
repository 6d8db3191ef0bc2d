"""SSIM as its authors' MATLAB code computes it.

Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural
similarity", IEEE Transactions on Image Processing 13(4), 2004: 11x11 Gaussian of sigma 1.5,
K = (0.01, 0.03), L = 255, only where the window fits whole (``valid``), no down-sampling first.

Own code, because libraries were measured on Set5 (bicubic, x2): pytorch-msssim 1.0 agrees to 3e-6
(it computes in float32, in three times the time), torchmetrics 1.9 is up to 6e-4 off, which is more
than the four digits that papers print.
"""

from __future__ import annotations

import math

from torch import Tensor

from vsr.errors import UsageError
from vsr.metrics.psnr import comparable, rgb_to_y

__all__ = ["WINDOW", "ssim", "ssim_parts", "ssim_y"]

#: Pixels each way that one value looks at.
WINDOW = 11
_BELL = [math.exp(-((i - WINDOW // 2) ** 2) / (2 * 1.5**2)) for i in range(WINDOW)]
_TAPS = [value / sum(_BELL) for value in _BELL]
_C1 = (0.01 * 255) ** 2
_C2 = (0.03 * 255) ** 2


def ssim(a: Tensor, b: Tensor, *, shave: int = 0) -> Tensor:
    """Mean structural similarity of each pair of pictures, over all channels.

    Args:
        a: ``(N, C, H, W)`` or ``(C, H, W)`` in 0..255, any dtype.
        b: the same shape.
        shave: pixels left out at each edge.

    Returns:
        float64, ``(N,)`` or a scalar; 1 for identical pictures.

    Raises:
        UsageError: shapes differ, or less than an 11x11 window is left.
    """
    return ssim_parts(*comparable(a, b, shave))[0]


def ssim_y(a: Tensor, b: Tensor, *, shave: int = 0) -> Tensor:
    """:func:`ssim` of :func:`vsr.metrics.psnr.rgb_to_y`: the figure in super-resolution papers."""
    return ssim(rgb_to_y(a), rgb_to_y(b), shave=shave)


def ssim_parts(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Mean SSIM, and the mean of its contrast and structure terms alone (for MS-SSIM).

    Args:
        a: ``(N, C, H, W)`` or ``(C, H, W)`` in 0..255, float64.
        b: the same shape.

    Raises:
        UsageError: the pictures are smaller than the window.
    """
    if min(a.shape[-2:]) < WINDOW:
        raise UsageError(f"SSIM needs {WINDOW} pixels each way, {tuple(a.shape[-2:])} are left")
    mean_a, mean_b, aa, bb, ab = (_blur(x) for x in (a, b, a * a, b * b, a * b))
    mean_ab = mean_a * mean_b
    squares = mean_a.square() + mean_b.square()
    covariance = ab - mean_ab
    variances = aa + bb - squares
    luminance = (2 * mean_ab + _C1) / (squares + _C1)
    structure = (2 * covariance + _C2) / (variances + _C2)
    whole = (-3, -2, -1)
    return (luminance * structure).mean(dim=whole), structure.mean(dim=whole)


def _blur(x: Tensor) -> Tensor:
    """Gaussian mean over the window, where it fits; the outer product of two 1-D windows."""
    # Sums of shifted views: torch's float64 convolution of single channels is ten times slower.
    for dim in (-2, -1):
        size = x.shape[dim] - WINDOW + 1
        total = x.narrow(dim, 0, size) * _TAPS[0]
        for shift, tap in enumerate(_TAPS[1:], start=1):
            total.add_(x.narrow(dim, shift, size), alpha=tap)
        x = total
    return x

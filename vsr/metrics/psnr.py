"""PSNR, and the luma that the super-resolution literature measures it on."""

from __future__ import annotations

import torch
from torch import Tensor

from vsr.errors import UsageError

__all__ = ["comparable", "psnr", "psnr_y", "rgb_to_y"]


def rgb_to_y(rgb: Tensor) -> Tensor:
    """Y of MATLAB's ``rgb2ycbcr``: BT.601 luma, limited range, neither rounded nor clamped.

    ``Y = 16 + (65.481 R + 128.553 G + 24.966 B) / 255``. A grey picture counts as RGB with three
    equal channels.

    Args:
        rgb: ``(N, C, H, W)`` or ``(C, H, W)``, C = 3 (RGB) or 1 (grey), in 0..255, any dtype.

    Returns:
        The same shape with C = 1, float64, in 16..235.

    Raises:
        UsageError: there are neither one nor three channels.
    """
    if rgb.dim() not in (3, 4) or rgb.shape[-3] not in (1, 3):
        raise UsageError(
            f"(N, C, H, W) or (C, H, W) with C = 1 or 3 is needed, not {tuple(rgb.shape)}"
        )
    gains = torch.tensor((65.481, 128.553, 24.966), dtype=torch.float64, device=rgb.device)
    colored = rgb.to(torch.float64).expand(*rgb.shape[:-3], 3, -1, -1)
    return 16 + (colored * gains.view(3, 1, 1)).sum(-3, keepdim=True) / 255


def psnr(a: Tensor, b: Tensor, *, shave: int = 0, max_value: float = 255) -> Tensor:
    """Peak signal-to-noise ratio, ``10 log10(max_value**2 / MSE)``, of each pair of pictures.

    The values are compared as they are: round and clamp to uint8 first where a protocol says so.

    Args:
        a: ``(N, C, H, W)`` or ``(C, H, W)``, any dtype; all channels count alike.
        b: the same shape.
        shave: pixels left out at each edge.
        max_value: the signal's peak.

    Returns:
        dB, float64, ``(N,)`` or a scalar; ``inf`` for identical pictures.

    Raises:
        UsageError: shapes differ, or ``shave`` leaves nothing.
    """
    a, b = comparable(a, b, shave)
    mse = (a - b).square_().mean(dim=(-3, -2, -1))
    return 10 * torch.log10(max_value**2 / mse)


def psnr_y(a: Tensor, b: Tensor, *, shave: int = 0) -> Tensor:
    """:func:`psnr` of :func:`rgb_to_y`: the figure in papers, where ``shave`` is the scale."""
    return psnr(rgb_to_y(a), rgb_to_y(b), shave=shave)


def comparable(a: Tensor, b: Tensor, shave: int) -> tuple[Tensor, Tensor]:
    """Both in float64 without their edges.

    Raises:
        UsageError: shapes differ, or ``shave`` leaves nothing.
    """
    if a.shape != b.shape or a.dim() not in (3, 4):
        raise UsageError(
            "two pictures (C, H, W) or batches (N, C, H, W) of one shape are needed, "
            f"not {tuple(a.shape)} and {tuple(b.shape)}"
        )
    height, width = a.shape[-2:]
    if shave < 0 or 2 * shave >= min(height, width):
        raise UsageError(f"a shave of {shave} leaves nothing of {width}x{height}")
    inner = (..., slice(shave, height - shave), slice(shave, width - shave))
    return a[inner].to(torch.float64), b[inner].to(torch.float64)

"""What a network is trained to make small."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - what everybody calls it
from torch import Tensor

__all__ = ["LOSSES", "Loss", "charbonnier", "l1", "psnr"]

Loss = Literal["l1", "charbonnier", "psnr"]

#: Rounding of the corner of L1, codes (Lai et al., arXiv 1710.01992, scaled to 255).
_CHARBONNIER = 0.255
#: BT.601's luma of RGB, both over their full range.
_LUMA = (0.299, 0.587, 0.114)
#: What a squared error of RGB counts beside one of luma.
_COLOUR = 0.1
#: Squared codes below which an error is nothing to improve on.
_ENOUGH = 1.0


def l1(sr: Tensor, hr: Tensor) -> Tensor:
    """Mean absolute error, codes."""
    return F.l1_loss(sr, hr)


def charbonnier(sr: Tensor, hr: Tensor) -> Tensor:
    """Mean absolute error without its corner at 0, codes."""
    return ((sr - hr).square() + _CHARBONNIER**2).sqrt().mean()


def psnr(sr: Tensor, hr: Tensor) -> Tensor:
    """Mean over the crops of their error in dB: what PSNR, up to its sign, leaves of 255.

    PSNR itself as a loss is Chen et al.'s (HINet, arXiv 2105.06086). Here the error is that of
    luma, in which the eye sees detail and the literature measures, and of RGB with a tenth of the
    weight, so that colours are held; and crops with less than a code of error count little.

    Args:
        sr, hr: ``(N, 3, H, W)`` RGB, float32 codes.

    Returns:
        ``10 log10(1 + error)``, a scalar, at least 0.
    """
    difference = sr - hr
    # No tensor of the three: it would be copied to the device at each step, and waited for.
    red, green, blue = (k * c for k, c in zip(_LUMA, difference.unbind(1), strict=True))
    luma = red + green + blue
    error = luma.square().mean((1, 2)) + _COLOUR * difference.square().mean((1, 2, 3))
    return 10 * torch.log10(error + _ENOUGH).mean()


LOSSES: dict[Loss, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": l1,
    "charbonnier": charbonnier,
    "psnr": psnr,
}

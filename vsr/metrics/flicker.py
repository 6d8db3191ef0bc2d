"""Flicker: how much more (or less) a video changes from frame to frame than it should.

The error of the temporal difference,

    flicker[t] = mean | (X[t] - X[t-1]) - (Y[t] - Y[t-1]) |

over the pixels of a frame, X the video that is judged and Y the ground truth. It is the flicker
measure of Fan, Gao, Lu and Zhao, "Flicking reduction in all intra frame coding" (JVT-E070, 2002),
which Yang, Boyce and Stein build upon ("Effective flicker removal from periodic intra frames and
accurate flicker measurement", ICIP 2008); taken here over all pixels rather than over blocks that
stand still, so that it needs neither a threshold nor motion.

An error that stays the same from frame to frame (blur on a still wall) costs nothing: PSNR has
counted it already. One that comes and goes costs its whole height. Measures that follow motion
(tOF of Chu et al., "Learning temporal coherence via self-supervision for GAN-based video
generation", ACM TOG 39(4), 2020; the warping error of Lai et al., ECCV 2018) need an optical flow,
and then say as much about the flow as about the video.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vsr.errors import UsageError

__all__ = ["Flicker", "flicker"]


def flicker(result: Tensor, truth: Tensor) -> Tensor:
    """Flicker of each frame but the first.

    Args:
        result: ``(N, C, H, W)``, consecutive frames, in codes of 0..255.
        truth: the same shape.

    Returns:
        ``(N - 1,)`` float64, codes of 0..255; 0 where the video changes as the truth does.

    Raises:
        UsageError: shapes differ.
    """
    if result.shape != truth.shape or result.dim() != 4:
        raise UsageError(
            "two videos (N, C, H, W) of one shape are needed, "
            f"not {tuple(result.shape)} and {tuple(truth.shape)}"
        )
    error = result.to(torch.float64) - truth.to(torch.float64)
    return (error[1:] - error[:-1]).abs_().mean(dim=(-3, -2, -1))


class Flicker:
    """:func:`flicker` of a video that comes in batches; one frame is remembered."""

    def __init__(self) -> None:
        self._last: tuple[Tensor, Tensor] | None = None

    def add(self, result: Tensor, truth: Tensor) -> Tensor:
        """The next frames.

        Returns:
            ``(N,)`` float64; for the very first frame, which nothing precedes, NaN.
        """
        if self._last is None:
            nothing = torch.full((1,), torch.nan, dtype=torch.float64, device=result.device)
            values = torch.cat([nothing, flicker(result, truth)])
        else:
            before_result, before_truth = self._last
            values = flicker(torch.cat([before_result, result]), torch.cat([before_truth, truth]))
        self._last = result[-1:], truth[-1:]
        return values

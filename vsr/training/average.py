"""The moving average of a network's weights, which is what a run is judged by and gives."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["MovingAverage", "share_of_step"]


class MovingAverage:
    """Exponential moving average of the parameters (Polyak and Juditsky, 1992).

    Args:
        values: parameters before the first step, ``(n,)``; they become the average, in place.
    """

    def __init__(self, values: Tensor) -> None:
        self._values = values

    @torch.no_grad()
    def update(self, values: Tensor, share: Tensor) -> None:
        """Move towards ``values``, the parameters after a step, by its :func:`share_of_step`."""
        self._values.lerp_(values, share)


def share_of_step(step: int, decay: float) -> float:
    """What the parameters after ``step``, counted from 0, are of the average: 1 less its decay.

    The decay rises from 0.1 to ``decay``, so that the first steps' weights are soon forgotten:
    ``min(decay, (step + 1) / (step + 10))``.
    """
    return 1 - min(decay, (step + 1) / (step + 10))

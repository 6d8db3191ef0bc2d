"""The moving average of a network's weights, which is what a run is judged by and gives."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["MovingAverage"]


class MovingAverage:
    """Exponential moving average of the parameters (Polyak and Juditsky, 1992).

    The decay rises from 0.1 to ``decay``, so that the first steps' weights are soon forgotten:
    ``min(decay, (step + 1) / (step + 10))``.

    Args:
        values: parameters before the first step, ``(n,)``; they become the average, in place.
        decay: of the long run.
    """

    def __init__(self, values: Tensor, decay: float) -> None:
        self._values = values
        self._decay = decay

    def decay(self, step: int) -> float:
        """The decay of a step, counted from 0."""
        return min(self._decay, (step + 1) / (step + 10))

    @torch.no_grad()
    def update(self, values: Tensor, step: int) -> None:
        """Move towards ``values``, the parameters after ``step``."""
        self._values.lerp_(values, 1 - self.decay(step))

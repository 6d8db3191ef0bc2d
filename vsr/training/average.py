"""The moving average of a network's weights, which is what a run is judged by and gives."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["MovingAverage"]


class MovingAverage:
    """Exponential moving average of the parameters (Polyak and Juditsky, 1992).

    The decay rises from 0.1 to ``decay``, so that the first steps' weights are soon forgotten:
    ``min(decay, (step + 1) / (step + 10))``.

    Args:
        net: a copy of the network, which becomes the average.
        decay: of the long run.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.net = net.eval().requires_grad_(requires_grad=False)
        self._decay = decay

    def decay(self, step: int) -> float:
        """The decay of a step, counted from 0."""
        return min(self._decay, (step + 1) / (step + 10))

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        """Move towards ``net``'s parameters after ``step``."""
        ours: list[Tensor] = list(self.net.parameters())
        theirs: list[Tensor] = list(net.parameters())
        torch._foreach_lerp_(ours, theirs, 1 - self.decay(step))

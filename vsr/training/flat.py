"""A network's parameters in one tensor."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor, nn

__all__ = ["FlatParameters"]


class FlatParameters:
    """Parameters moved into one tensor, of which each becomes a part with the strides it has.

    What is done to every number alike is then one operation, not one for each of a thousand small
    tensors, most of whose time is overhead.

    Attributes:
        values: a leaf, ``(sum of their sizes,)``, in their order. Its ``grad`` is zeros at first.

    Args:
        parameters: of one device and dtype, each dense: their strides leave no gap.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self._parameters = parameters
        count = sum(p.numel() for p in parameters)
        self.values = parameters[0].detach().new_empty(count).requires_grad_()
        self.values.grad = self.gradient = torch.zeros_like(self.values)
        self._gradients: list[Tensor] = []
        at = 0
        for p in parameters:
            part = self.values.detach().as_strided(p.shape, p.stride(), at)
            p.data = part.copy_(p.detach())
            self._gradients.append(self.gradient.as_strided(p.shape, p.stride(), at))
            at += p.numel()

    def stacks(self) -> list[tuple[Tensor, Tensor]]:
        """Values and gradients of each run of parameters of one shape, as matrices.

        Returns:
            Pairs of ``(n, rows, columns)``, parts of :attr:`values` and its gradient. A parameter's
            first dimension is its rows; the order of the columns is that of its strides.
        """
        pairs: list[tuple[Tensor, Tensor]] = []
        at = 0
        for shape, run in groupby(self._parameters, key=lambda p: p.shape):
            n = len(list(run))
            whole = slice(at, at + n * shape.numel())
            both = (self.values.detach()[whole], self.gradient[whole])
            values, gradients = (x.view(n, shape[0], -1) for x in both)
            pairs.append((values, gradients))
            at = whole.stop
        return pairs

    @torch.no_grad()
    def take_gradients(self) -> None:
        """Move the parameters' gradients into that of :attr:`values`; they have none then.

        A parameter that nothing has come to gets zeros.
        """
        self.gradient.zero_()
        pairs = [
            (part, p.grad)
            for part, p in zip(self._gradients, self._parameters, strict=True)
            if p.grad is not None
        ]
        torch._foreach_copy_([part for part, _ in pairs], [grad for _, grad in pairs])
        for p in self._parameters:
            p.grad = None

"""A network's parameters in one tensor."""

from __future__ import annotations

from collections.abc import Sequence

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

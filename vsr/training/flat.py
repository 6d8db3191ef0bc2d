"""A network's parameters in one tensor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["flatten"]


@torch.no_grad()
def flatten(parameters: Sequence[nn.Parameter]) -> Tensor:
    """Move parameters into one tensor; each becomes a part of it, with the strides it has.

    What is done to every number alike is then one operation, not one for each of a thousand small
    tensors, most of whose time is overhead. If gradients are wanted, they lie in the tensor's
    ``grad``, zeros at first: a gradient is added to what is there, as long as it is zeroed and not
    taken away.

    Args:
        parameters: of one device and dtype, each dense: their strides leave no gap.

    Returns:
        A leaf, ``(sum of their sizes,)``, in their order.
    """
    first = parameters[0]
    wanted = first.requires_grad
    values = first.new_empty(sum(p.numel() for p in parameters)).requires_grad_(wanted)
    if wanted:
        values.grad = torch.zeros_like(values)
    at = 0
    for p in parameters:
        part = values.detach().as_strided(p.shape, p.stride(), at)
        p.data = part.copy_(p)
        if values.grad is not None:
            p.grad = values.grad.as_strided(p.shape, p.stride(), at)
        at += p.numel()
    return values

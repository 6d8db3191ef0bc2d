"""Trunks to train, and what training them gives: helpers of the tests of the training forms."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from vsr.models.fdiwn import Fdiwn, Variant
from vsr.models.training.trunk import TrainingTrunk

__all__ = [
    "Gradients",
    "derived",
    "difference",
    "exact",
    "near",
    "network",
    "threads",
    "trunk_in",
    "two_groups",
]

Gradients = dict[str, Tensor]


def network(variant: Variant, scale: int) -> Fdiwn:
    """One in which no parameter is what it starts as, so that none can be forgotten unnoticed."""
    torch.manual_seed(0)
    net = Fdiwn(scale, variant)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) * (0.02 + 0.1 * parameter.abs().mean()))
    return net


def two_groups(variant: Variant, scale: int) -> Fdiwn:
    """A trunk short enough that rounding does not grow in it."""
    net = network(variant, scale)
    del net.groups[2:]
    net.order = (0, 1)
    return net


def trunk_in(dtype: torch.dtype, net: Fdiwn, *, native: bool) -> Callable[[Tensor], Tensor]:
    """The trunk with products in ``dtype``."""
    trunk = TrainingTrunk(net, compiled=False, native=native)

    def run(h: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            return trunk(h)

    return run


def derived(
    net: nn.Module, trunk: Callable[[Tensor], Tensor], h: Tensor
) -> tuple[Tensor, Gradients]:
    """What the trunk gives, and the gradients of some function of it."""
    net.zero_grad()
    x = h.clone().requires_grad_()
    out = trunk(x)
    weights = torch.sin(torch.arange(out.numel()).float()).view_as(out)
    torch.autograd.backward((out * weights).sum() / out.numel())
    assert x.grad is not None
    found = {"input": x.grad}
    for name, parameter in net.named_parameters():
        if name.startswith("groups."):
            assert parameter.grad is not None, name
            found[name] = parameter.grad.clone()
    return out.detach(), found


def exact(net: Fdiwn, h: Tensor) -> tuple[Tensor, Gradients]:
    """The training form's in float64; what it casts to float32 otherwise stays float64 too."""
    precise = copy.deepcopy(net).double()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tensor, "float", Tensor.double)
        return derived(precise, precise.trunk, h.double())


def difference(ours: Gradients, theirs: Gradients) -> float:
    """The gradients' as one vector, relative to its length."""
    assert ours.keys() == theirs.keys()
    apart = torch.cat([(ours[name] - theirs[name]).flatten() for name in ours])
    return float(apart.norm() / torch.cat([g.flatten() for g in theirs.values()]).norm())


def near(ours: Gradients, theirs: Gradients, *, relative: float, absolute: float) -> None:
    """Each gradient by itself: ``relative`` to its length, ``absolute`` to that of all together."""
    whole = torch.cat([gradient.flatten() for gradient in theirs.values()]).norm()
    for name, gradient in theirs.items():
        apart = (ours[name] - gradient).norm()
        assert apart < relative * gradient.norm() + absolute * whole, name


@contextmanager
def threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)

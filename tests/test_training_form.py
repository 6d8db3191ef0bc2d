"""The trunk as it is trained on a CPU is the training form's, in its result and its gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from vsr.models.fdiwn import CHANNELS, Fdiwn, Variant
from vsr.models.fdiwn_training import TrainingTrunk


def network(variant: Variant, scale: int) -> Fdiwn:
    """One in which no parameter is what it starts as, so that none can be forgotten unnoticed."""
    torch.manual_seed(0)
    net = Fdiwn(scale, variant)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) * (0.02 + 0.1 * parameter.abs().mean()))
    return net


def derived(
    net: nn.Module, trunk: Callable[[Tensor], Tensor], h: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """What the trunk gives, and the gradients of some function of it."""
    net.zero_grad()
    x = h.clone().requires_grad_()
    out = trunk(x)
    weights = torch.sin(torch.arange(out.numel()).float()).view_as(out)
    torch.autograd.backward((out.float() * weights).sum() / out.numel())
    assert x.grad is not None
    found = {"input": x.grad}
    for name, parameter in net.named_parameters():
        if name.startswith("groups."):
            assert parameter.grad is not None, name
            found[name] = parameter.grad.clone()
    return out.detach(), found


def difference(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """The gradients' as one vector, relative to its length."""
    assert ours.keys() == theirs.keys()
    apart = torch.cat([(ours[name] - theirs[name]).flatten() for name in ours])
    return float(apart.norm() / torch.cat([g.flatten() for g in theirs.values()]).norm())


@pytest.mark.parametrize(("variant", "scale"), [("fdiwn", 2), ("fdiwn-m", 4)])
def test_same_result_and_gradients(variant: Variant, scale: int) -> None:
    net = network(variant, scale)
    h = torch.randn(2, CHANNELS, 12, 16)
    out, gradients = derived(net, net.trunk, h)
    ours, found = derived(net, TrainingTrunk(net, compiled=False), h)
    assert torch.allclose(ours, out, atol=1e-5 * float(out.abs().max()))
    assert difference(found, gradients) < 1e-3
    whole = torch.cat([gradient.flatten() for gradient in gradients.values()]).norm()
    for name, gradient in gradients.items():
        apart = (found[name] - gradient).norm()
        assert apart < 0.02 * gradient.norm() + 1e-4 * whole, name


def test_half_precision_is_near() -> None:
    net = network("fdiwn-m", 2)
    h = torch.randn(2, CHANNELS, 12, 16)
    out, _ = derived(net, net.trunk, h)
    with torch.autocast("cpu", torch.bfloat16):
        ours, _ = derived(net, TrainingTrunk(net, compiled=False), h)
    assert ours.dtype == torch.float32
    assert float((ours - out).norm() / out.norm()) < 0.02

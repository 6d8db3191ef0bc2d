"""The trunk as it is trained on a CPU is the training form's, in its result and its gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from trunks import derived, difference, near, network, trunk_in, two_groups

from vsr.models.fdiwn import CHANNELS, Variant
from vsr.models.fdiwn_recipe import compile_blocks


@pytest.mark.parametrize(("variant", "scale"), [("fdiwn", 2), ("fdiwn-m", 4)])
def test_same_result_and_gradients(variant: Variant, scale: int) -> None:
    net = network(variant, scale)
    h = torch.randn(2, CHANNELS, 12, 16)
    out, gradients = derived(net, net.trunk, h)
    ours, found = derived(net, trunk_in(torch.float32, net, native=False), h)
    assert torch.allclose(ours, out, atol=1e-5 * float(out.abs().max()))
    assert difference(found, gradients) < 1e-3
    near(found, gradients, relative=0.02, absolute=1e-4)


@pytest.mark.parametrize(
    ("variant", "scale", "height", "width"),
    [("fdiwn", 2, 12, 16), ("fdiwn-m", 4, 20, 48), ("fdiwn-m", 3, 7, 32), ("fdiwn", 2, 9, 11)],
)
def test_half_precision_is_near(variant: Variant, scale: int, height: int, width: int) -> None:
    net = two_groups(variant, scale)
    h = torch.randn(3, CHANNELS, height, width)
    out, gradients = derived(net, net.trunk, h)
    ours, found = derived(net, trunk_in(torch.bfloat16, net, native=False), h)
    assert ours.dtype == torch.float32
    assert float((ours - out).norm() / out.norm()) < 0.008
    assert difference(found, gradients) < 0.03
    near(found, gradients, relative=0.1, absolute=2e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # torch's own
def test_blocks_compile_as_one() -> None:
    """Eighteen compilations would be minutes each, and torch gives up after eight."""
    net = network("fdiwn", 2).train()
    compiled: list[int] = []

    def backend(graph: torch.fx.GraphModule, _: object) -> Callable[..., Any]:
        compiled.append(len(graph.graph.nodes))
        return graph

    h = torch.randn(2, CHANNELS, 12, 16, requires_grad=True)  # as what the head gives
    out = net.trunk(h)
    compile_blocks(net, backend)
    for _ in range(2):
        again = net.trunk(h)
        again.mean().backward()
        assert torch.equal(again, out)
    assert len(compiled) == 1

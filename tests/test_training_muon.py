"""Muon: what it makes orthogonal, what it leaves alone, and the parameters it gets."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from vsr.models.fdiwn import Fdiwn
from vsr.models.fdiwn_recipe import parameter_groups
from vsr.training.flat import FlatParameters
from vsr.training.muon import Muon, is_matrix, orthogonal, split

FINE, RATE = torch.zeros(()), torch.tensor(0.01)
SIDES = st.integers(8, 40)


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def step_by_step(m: Tensor) -> Tensor:
    """The iteration as it is published, on the matrices themselves."""
    x = m / m.norm(dim=(-2, -1), keepdim=True)
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x


@given(SIDES, SIDES, st.integers(0, 99))
def test_iteration_is_the_published_one(rows: int, columns: int, seed: int) -> None:
    m = random(seed, 3, min(rows, columns), max(rows, columns))
    torch.testing.assert_close(orthogonal(m), step_by_step(m), atol=2e-3, rtol=0)
    torch.testing.assert_close(orthogonal(m.mT), orthogonal(m).mT, atol=2e-3, rtol=0)


@given(st.integers(0, 99), st.floats(-6, 6))
def test_singular_values_end_near_one(seed: int, exponent: float) -> None:
    m = random(seed, 2, 12, 30) * 10**exponent
    m[:, :3] *= 5
    values = torch.linalg.svdvals(orthogonal(m))
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_zeros_stay_zeros() -> None:
    assert orthogonal(torch.zeros(2, 8, 9)).abs().max() == 0


def test_a_step_is_as_long_for_any_gradient() -> None:
    values = torch.zeros(2, 24, 108)
    Muon([(values, random(1, 2, 24, 108) * 1e-4)]).step(RATE, FINE)
    assert values.square().mean().sqrt() == pytest.approx(0.01 * 0.4, rel=0.2)


def test_a_step_goes_against_the_gradient() -> None:
    values, gradients = torch.zeros(1, 8, 20), random(2, 1, 8, 20)
    Muon([(values, gradients)]).step(RATE, FINE)
    assert (values * gradients).sum() < 0


def test_broken_gradients_change_nothing() -> None:
    values, gradients = random(3, 1, 8, 9), random(4, 1, 8, 9)
    muon = Muon([(values, gradients)])
    muon.step(RATE, FINE)
    before, momenta = values.clone(), [m.clone() for m in muon.state_dict()["momenta"]]
    gradients[0, 0, 0] = torch.nan
    muon.step(RATE, torch.ones(()))
    assert torch.equal(values, before)
    assert torch.equal(muon.state_dict()["momenta"][0], momenta[0])


def test_goes_on_bit_for_bit() -> None:
    def run(restart: bool) -> Tensor:
        values, gradients = random(5, 2, 8, 9), torch.zeros(2, 8, 9)
        muon = Muon([(values, gradients)])
        for step in range(4):
            gradients.copy_(random(step, 2, 8, 9))
            muon.step(RATE, FINE)
            if restart and step == 1:
                state: Any = muon.state_dict()
                muon = Muon([(values, gradients)])
                muon.load_state_dict(state)
        return values

    assert torch.equal(run(restart=True), run(restart=False))


def test_matrices_are_the_convolutions_that_learn_at_the_full_rate() -> None:
    net = Fdiwn(2, "fdiwn-m")
    matrices, rest = split(parameter_groups(net))
    names = {id(p): name for name, p in net.named_parameters()}
    chosen = [names[id(p)] for p in matrices]
    assert all(is_matrix(p) for p in matrices)
    assert not [n for n in chosen if n.startswith(("head", "input_")) or n.endswith((".g", "bias"))]
    assert {"features_widen.weight", "features_up.weight"} < set(chosen)
    numbers = sum(p.numel() for p in matrices)
    assert numbers / sum(p.numel() for p in net.parameters()) > 0.9
    left = [p for group in rest for p in group["params"]]
    assert len(left) + len(matrices) == len(names)
    assert [group["share"] for group in rest] == [g["share"] for g in parameter_groups(net)]


def test_stacks_are_parts_of_the_flat_tensor() -> None:
    net = nn.ModuleList(nn.Conv2d(9, n, 3, bias=False) for n in (8, 8, 10))
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    parameters = list(net.parameters())
    flat = FlatParameters(parameters)
    stacks = flat.stacks()
    assert [tuple(values.shape) for values, _ in stacks] == [(2, 8, 81), (1, 10, 81)]
    for p in parameters:
        p.grad = p.detach().clone()
    flat.take_gradients()
    for values, gradients in stacks:
        assert torch.equal(values, gradients)
    stacks[0][0][1, 3] = 7
    assert torch.equal(parameters[1][3], torch.full((9, 3, 3), 7.0))
    assert (parameters[0] != 7).all()

"""Losses: their values, what they weigh, and gradients where there is nothing left to learn."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from torch import Tensor

from vsr.metrics import psnr as psnr_of
from vsr.training.losses import LOSSES, Loss, charbonnier, l1, psnr


def crops(n: int = 2, seed: int = 0) -> Tensor:
    return 255 * torch.rand((n, 3, 12, 16), generator=torch.Generator().manual_seed(seed))


def test_every_loss_has_its_function() -> None:
    assert set(LOSSES) == set(get_args(Loss))


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())
def test_nothing_wrong_is_nothing_to_learn(loss: object) -> None:
    assert callable(loss)
    hr = crops()
    sr = hr.clone().requires_grad_()
    value = loss(sr, hr)
    value.backward()
    assert 0 <= value.item() < 0.3
    assert sr.grad is not None
    assert torch.equal(sr.grad, torch.zeros_like(hr))


def test_charbonnier_is_l1_but_for_its_corner() -> None:
    hr = crops()
    assert l1(hr + 3, hr).item() == pytest.approx(3, abs=1e-4)
    assert charbonnier(hr + 3, hr).item() == pytest.approx(math.hypot(3, 0.255), abs=1e-4)


def test_psnr_is_what_psnr_leaves() -> None:
    # Errors alike in all channels are errors of luma, and far above a code.
    hr = crops(3)
    sr = hr + 30 * torch.randn((3, 1, 12, 16), generator=torch.Generator().manual_seed(1))
    left = 20 * math.log10(255) - psnr_of(sr, hr).mean().item()
    assert psnr(sr, hr).item() == pytest.approx(left + 10 * math.log10(1.1), abs=0.02)


def test_every_crop_counts_in_decibels() -> None:
    hr, wrong = crops(2), torch.randn((2, 3, 12, 16), generator=torch.Generator().manual_seed(2))
    sr = hr + wrong * torch.tensor([2.0, 40.0]).view(2, 1, 1, 1)
    alone = [psnr(sr[i : i + 1], hr[i : i + 1]).item() for i in range(2)]
    assert psnr(sr, hr).item() == pytest.approx(sum(alone) / 2, abs=1e-4)


def test_luma_counts_before_colour_and_colour_counts() -> None:
    hr = crops(1)
    grey = torch.full((1, 3, 1, 1), 5.0)
    colour = torch.tensor([0.587, -0.299, 0.0]).view(1, 3, 1, 1)  # no luma
    colour = colour * grey.norm() / colour.norm()
    assert psnr(hr + colour, hr) < psnr(hr + grey, hr) - 7
    assert psnr(hr + colour, hr) > psnr(hr, hr) + 3

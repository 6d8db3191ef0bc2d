"""FDIWN's two forms: the right size, and the same function."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - what everybody calls it
from hypothesis import given, settings
from hypothesis import strategies as st

from vsr.models.authors import from_authors, key_table
from vsr.models.fdiwn import MEAN_RGB, SCALES, Fdiwn, Variant, WeightNormConv, channel_shuffle
from vsr.models.fdiwn_inference import FdiwnInference
from vsr.models.quarters import in_quarters
from vsr.models.weights import read_weights, shipped_path

VARIANTS = get_args(Variant)

#: The paper's table, exactly.
PARAMETERS = {
    ("fdiwn", 2): 629_176,
    ("fdiwn", 3): 646_486,
    ("fdiwn", 4): 663_848,
    ("fdiwn-m", 2): 429_504,
    ("fdiwn-m", 3): 446_814,
    ("fdiwn-m", 4): 454_648,
}


def _awkward(variant: Variant, scale: int, seed: int = 0) -> Fdiwn:
    """A network with nothing left at a value that would hide a mistake: no scalar 1, no bias 0,
    mean shifts that mix colours, scalars of both signs, one that is 0, and one that hardly is not.
    """
    torch.manual_seed(seed)
    net = Fdiwn(scale, variant)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            last = name.rsplit(".", 1)[-1]
            if last.endswith("_scale") or last.startswith("scale_"):
                parameter.uniform_(0.3, 0.8)
            elif ".attention." in name:
                parameter.add_(0.2 * torch.randn_like(parameter))
        for shift in (net.subtract_mean, net.add_mean):
            shift.weight.add_(0.05 * torch.randn_like(shift.weight))
        first = net.groups[0]
        first.get_parameter("wdib1.wirw1.wide_scale").fill_(-0.7)
        first.get_parameter("wdib2.wcrw1.wide_scale").fill_(0.0)
        first.get_parameter("wdib2.wirw3.wide_scale").fill_(1e-5)
        first.get_parameter("wdib3.fuse.skip_scale").fill_(-0.4)
    return net.eval()


@pytest.mark.parametrize(("variant", "scale"), PARAMETERS)
def test_parameter_counts(variant: Variant, scale: int) -> None:
    net = Fdiwn(scale, variant)
    assert sum(p.numel() for p in net.parameters()) == PARAMETERS[variant, scale]
    assert not list(net.buffers())


def test_only_its_scales() -> None:
    with pytest.raises(ValueError, match="not 5"):
        Fdiwn(5)


def test_channel_shuffle_interleaves() -> None:
    x = torch.arange(8.0).view(1, 8, 1, 1)
    assert channel_shuffle(x, 2).flatten().tolist() == [0, 4, 1, 5, 2, 6, 3, 7]
    assert channel_shuffle(x, 4).flatten().tolist() == [0, 2, 4, 6, 1, 3, 5, 7]


def test_weight_norm_starts_as_its_direction() -> None:
    conv = WeightNormConv(6, 4, 3)
    torch.testing.assert_close(conv.weight, conv.v)


def test_mean_shifts_start_as_the_mean_colour() -> None:
    net = Fdiwn(2)
    mean = torch.tensor(MEAN_RGB).view(1, 3, 1, 1)
    torch.testing.assert_close(net.subtract_mean(mean), torch.zeros_like(mean))
    torch.testing.assert_close(net.add_mean(torch.zeros_like(mean)), mean)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("shape", [(2, 3, 17, 23), (1, 3, 1, 5)])
def test_inference_form_is_the_training_form(
    variant: Variant, scale: int, shape: tuple[int, ...]
) -> None:
    net = _awkward(variant, scale)
    x = 255 * torch.rand(shape, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected, result = net(x), FdiwnInference(net)(x)
    assert result.shape == (shape[0], 3, scale * shape[2], scale * shape[3])
    # The random network's output may be far from 0..255, its rounding is relative to that.
    tolerance = 1e-3 * max(1.0, expected.abs().max().item() / 255)
    assert (result - expected).abs().max().item() < tolerance
    assert expected.std().item() > 1


@pytest.mark.parametrize("scale", SCALES)
def test_inference_form_with_the_authors_weights(reference: Path, scale: int) -> None:
    state = torch.load(
        reference / "weights" / f"fdiwn_x{scale}_authors.pt", weights_only=True, map_location="cpu"
    )
    net = Fdiwn(scale)
    net.load_state_dict(from_authors(state))
    # As smooth as pictures are: from noise, x4 makes samples twice as large as any that there are.
    noise = torch.rand((2, 3, 35, 49), generator=torch.Generator().manual_seed(2))
    x = 255 * F.avg_pool2d(noise, 5, 1)
    with torch.inference_mode():
        assert (FdiwnInference(net)(x) - net(x)).abs().max().item() < 1e-3


def test_a_batch_gives_what_its_frames_give() -> None:
    network = FdiwnInference(_awkward("fdiwn-m", 2))
    x = 255 * torch.rand((3, 3, 12, 15), generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        together = network(x)
        alone = torch.cat([network(frame[None]) for frame in x])
    torch.testing.assert_close(together, alone, atol=1e-3, rtol=1e-5)


def test_a_16_bit_trunk_keeps_the_rest_in_float32() -> None:
    network = FdiwnInference(_awkward("fdiwn", 2))
    x = 255 * torch.rand((1, 3, 16, 16), generator=torch.Generator().manual_seed(4))
    with torch.inference_mode():
        exact = network(x)
        network.store_trunk_as(torch.bfloat16)
        stored = network(x)
    assert stored.dtype == torch.float32
    assert network.head.weight.dtype == network.tail.whole.weight.dtype == torch.float32
    assert 0 < (stored - exact).abs().mean().item() < 0.02 * exact.std().item()


@pytest.mark.parametrize("k", [2e-3, -1e-5, 1e-13])
def test_scalars_near_zero_hold_in_half_precision(k: float) -> None:
    # Where features hardly vary a gate divides by next to nothing, and the less the smaller the
    # scalar is that is folded into them: beyond float16's numbers, once.
    state = read_weights(shipped_path("fdiwn-m", 2))
    state = {n: torch.full_like(v, k) if n.endswith("wide_scale") else v for n, v in state.items()}
    full, half = (FdiwnInference.from_state("fdiwn-m", 2, state) for _ in range(2))
    half.store_trunk_as(torch.float16)
    ramp = torch.linspace(0, 255, 20).expand(1, 3, 20, 20)
    for picture in (torch.full((1, 3, 20, 20), 90.0), ramp, (ramp + 2 * ramp.mT) / 3):
        difference = (half(picture) - full(picture)).abs().max()
        assert difference < 0.1  # false where it is not a number


def test_training_form_has_finite_gradients_on_a_flat_picture() -> None:
    net = Fdiwn(2, "fdiwn-m")
    net(torch.full((1, 3, 8, 8), 128.0)).square().mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("scale", SCALES)
def test_the_key_table_covers_the_authors_checkpoints(reference: Path, scale: int) -> None:
    theirs = torch.load(
        reference / "weights" / f"fdiwn_x{scale}_authors.pt", weights_only=True, map_location="cpu"
    )
    ours = Fdiwn(scale).state_dict()
    table = key_table()
    assert table.keys() == theirs.keys()
    assert len(table) == len(set(table.values())) == len(ours) == 1591
    renamed = from_authors(theirs)
    assert {k: v.shape for k, v in renamed.items()} == {k: v.shape for k, v in ours.items()}


@given(st.integers(1, 50), st.integers(1, 50), st.integers(0, 12))
@settings(max_examples=50, deadline=None)
def test_quarters_of_a_local_network_are_the_whole(height: int, width: int, shave: int) -> None:
    x = torch.arange(float(height * width)).view(1, 1, height, width).expand(2, 3, -1, -1)

    def enlarge(t: torch.Tensor) -> torch.Tensor:
        return t.repeat_interleave(3, -1).repeat_interleave(3, -2)

    if min(height, width) == 1 and shave == 0:
        return  # a half without a pixel
    assert torch.equal(in_quarters(enlarge, x, 3, shave), enlarge(x))

"""Triton's kernels compute what torch does: on a GPU, else in Triton's interpreter on the CPU."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from test_models_fdiwn import _awkward
from torch import Tensor
from triton_here import DEVICE, require_triton

from vsr.models.fdiwn import channel_statistics
from vsr.models.fdiwn_inference import FdiwnInference, _Fswg, _Gate

require_triton()

import triton  # noqa: E402
import triton.language as tl  # noqa: E402

from vsr.engine.cuda import pack  # noqa: E402
from vsr.engine.cuda.kernels import conv, ends, gates, moments, units  # noqa: E402
from vsr.engine.cuda.kernels.grid import places  # noqa: E402
from vsr.engine.cuda.kernels.narrow import tile_pixels  # noqa: E402
from vsr.engine.cuda.pack import coefficient_weights, gate_weights, narrow, taps  # noqa: E402
from vsr.engine.cuda.trunk import FusedBlock, FusedGroup, FusedNetwork  # noqa: E402

# NumPy, which the interpreter computes with, warns where a sigmoid is 0; hardware does not.
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered in exp:RuntimeWarning")

#: Less than a tile, a tile and a bit, two frames of several tiles with odd sides.
SHAPES = [(1, 1, 1), (1, 9, 17), (2, 13, 21)]
DTYPES = [torch.float32, torch.float16]


@pytest.fixture(autouse=True)
def _no_gradients() -> object:
    # What kernels are held against must not round to eleven bits.
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


@pytest.fixture(scope="module")
def group() -> _Fswg:
    return cast(_Fswg, FdiwnInference(_awkward("fdiwn", 2)).to(DEVICE).groups[0])


@pytest.fixture(scope="module", params=[2, 4], ids=["x2", "x4"])
def any_group(request: pytest.FixtureRequest) -> _Fswg:
    """x4 has widths that are no powers of two."""
    return cast(_Fswg, FdiwnInference(_awkward("fdiwn", request.param)).to(DEVICE).groups[0])


def features(
    shape: tuple[int, int, int], dtype: torch.dtype, channels: int = 24, seed: int = 0
) -> Tensor:
    """``(N, H, W, C)``."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((*shape, channels), generator=generator) * 2 + 1
    return x.to(DEVICE, dtype)


def nchw(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2).float().contiguous(memory_format=torch.channels_last)


def close(result: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    """Both ``(N, C, H, W)``; ``dtype`` is what maps and weights are stored in."""
    digits = 2e-5 if dtype == torch.float32 else 4e-3
    error = (result.float() - expected).abs().max().item()
    assert error <= digits * max(1.0, expected.abs().max().item()), error


def stored(group: _Fswg, dtype: torch.dtype) -> _Fswg:
    """Weights rounded to what they are stored in; torch computes with them in float32."""
    for parameter in group.parameters():
        parameter.copy_(parameter.to(dtype).float())
    return group


def in_type(unit: object, dtype: torch.dtype) -> object:
    """Packed parameters with their matrices in ``dtype``."""
    for name in ("expand", "reduce", "weights"):
        if isinstance(getattr(unit, name, None), Tensor):
            object.__setattr__(unit, name, getattr(unit, name).to(dtype))
    return unit


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_statistics(shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    x = features(shape, dtype)
    x[..., 0] = 1000.5  # constant: squares about zero would cancel
    mean, variance = moments.statistics(x)
    expected_mean, expected_variance = channel_statistics(nchw(x).double().float())
    torch.testing.assert_close(mean, expected_mean.flatten(1), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(variance, expected_variance.flatten(1), rtol=1e-5, atol=1e-6)
    assert torch.equal(variance[:, 0], torch.zeros_like(variance[:, 0]))
    again, _ = moments.statistics(x)
    assert torch.equal(mean, again)
    alone, _ = moments.statistics(x[-1:])
    assert torch.equal(mean[-1:], alone), "a frame's statistics depend on its batch"


@triton.jit
def _places_kernel(tile, pixels, of_24, of_48):
    pixel, _, at, _ = tile_pixels(tile, pixels, 128)
    column = tl.arange(0, 32)
    to = tl.arange(0, 128)[:, None] * 32 + column[None, :]
    tl.store(of_24 + to, at)
    tl.store(of_48 + to, places(pixel, column, 48))


def test_places_in_a_frame_that_32_bits_do_not_count() -> None:
    tile = 89_600_000 // 128
    of_24, of_48 = torch.empty((2, 128, 32), dtype=torch.int64, device=DEVICE)
    _places_kernel[(1,)](tile, 120_000_000, of_24, of_48)
    pixel, column = torch.arange(128)[:, None] + 89_600_000, torch.arange(32)
    assert torch.equal(of_24.cpu(), pixel * 24 + column)
    assert torch.equal(of_48.cpu(), pixel * 48 + column)


def test_statistics_of_more_tiles_than_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vsr.engine.cuda.kernels.grid._MULTIPROCESSORS", 1)
    x = features((1, 23, 29), torch.float32)
    shared = moments.moments(x)
    assert shared.shape[1] == 3
    mean, variance = moments.statistics(x)
    expected_mean, expected_variance = channel_statistics(nchw(x))
    torch.testing.assert_close(mean, expected_mean.flatten(1), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(variance, expected_variance.flatten(1), rtol=1e-5, atol=1e-6)


def test_statistics_of_a_picture_that_begins_unlike_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vsr.engine.cuda.kernels.grid._MULTIPROCESSORS", 1)
    x = features((1, 60, 64), torch.float32) * 0.01
    x[0, :2] += 1000  # a tile: what the program's sums are about is the mean of its first tile
    mean, variance = moments.statistics(x)
    exact_variance, exact_mean = torch.var_mean(nchw(x).double(), (2, 3), correction=0)
    deviations = (mean.double() - exact_mean).abs() / exact_variance.sqrt()
    assert deviations.max() < 1e-6
    torch.testing.assert_close(variance.double(), exact_variance, rtol=1e-5, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_gate(group: _Fswg, dtype: torch.dtype) -> None:
    t = features((2, 9, 17), dtype)
    gate = group.wdib1.gate
    result = units.opened(t, gates.gate(moments.moments(t), gate_weights(gate)))
    close(nchw(result), gate(nchw(t).clone()), dtype)


def test_coefficients(group: _Fswg) -> None:
    x, y = features((2, 9, 17), torch.float32), features((2, 5, 8), torch.float32, seed=1)
    both = group.wdib1.coefficient_a1, group.wdib2.coefficient_b2
    factors = gates.coefficients(
        (moments.moments(x), moments.moments(y)), coefficient_weights(*both)
    )
    for found, coefficient, features_ in zip(factors, both, (x, y), strict=True):
        expected = coefficient(nchw(features_)).flatten(1)
        torch.testing.assert_close(found[:, :24], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_expand_and_reduce(
    any_group: _Fswg, shape: tuple[int, int, int], dtype: torch.dtype
) -> None:
    wide = stored(any_group, dtype).wdib1.wirw1.wide
    x = features(shape, dtype)
    unit = in_type(narrow(wide), dtype)
    same, parts, low = units.enter(x, None, unit)  # type: ignore[arg-type]
    assert same is x
    assert low.shape == (*shape, 16)
    close(nchw(low)[:, :12], wide.reduce(wide.expand(nchw(x)).relu()), dtype)
    assert torch.equal(low[..., 12:], torch.zeros_like(low[..., 12:]))
    close(parts.sum(1)[:, 2, 0], torch.full((shape[0],), shape[1] * shape[2]).to(parts), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_convolutions(group: _Fswg, shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    block = stored(group, dtype).wdib1
    low, x, z = (features(shape, dtype, channels) for channels in (16, 24, 48))
    result, parts = conv.wide(low, in_type(taps(block.wirw1.wide.conv), dtype))  # type: ignore[arg-type]
    close(nchw(result), block.wirw1.wide.conv(nchw(low)[:, :12]), dtype)
    same_moments(parts, result, block.gate)

    t, shortcut = features(shape, dtype, seed=1), block.wcrw1.shortcut_and_distil
    opening = gates.gate(moments.moments(t), gate_weights(block.gate))
    gated = block.gate(nchw(t).clone())
    packed = in_type(taps(shortcut), dtype)
    result, parts, second = conv.sum_up(x, packed, t, opening)  # type: ignore[arg-type]
    expected, distilled = shortcut(nchw(x)).chunk(2, 1)
    close(nchw(result), expected + gated, dtype)
    close(nchw(second), distilled.sigmoid(), dtype)
    same_moments(parts, result, block.gate)

    calibrate = pack.calibration(block.calibrate).to(dtype)
    packed = in_type(taps(block.fuse_shortcut), dtype)
    result, parts = ends.finish(z, packed, calibrate, x, t, opening)  # type: ignore[arg-type]
    fused = block.fuse_shortcut(nchw(z)) + nchw(x) + gated
    close(nchw(result), fused + block.calibrate(nchw(z)).sigmoid() * nchw(z)[:, 24:], dtype)
    same_moments(parts, result, block.gate)


def same_moments(parts: Tensor, result: Tensor, gate: _Gate) -> None:
    """Parts are those of ``(N, H, W, 24)``, as a gate sees it."""
    weights, exact = gate_weights(gate), moments.moments(result)
    torch.testing.assert_close(
        gates.gate(parts, weights), gates.gate(exact, weights), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_what_joins_blocks(group: _Fswg, shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    group = stored(group, dtype)
    o1, o2, t, x = (features(shape, dtype, seed=seed) for seed in range(4))
    first, second = (in_type(part, dtype) for part in pack.pass_on(group))
    passed, merged = ends.pass_on(o1, o2, first, second)  # type: ignore[arg-type]
    close(nchw(passed), nchw(o2) + group.skip(nchw(o1)), dtype)
    close(nchw(merged), group.merge1(torch.cat([nchw(o1), nchw(o2)], 1)), dtype)

    opening = gates.gate(moments.moments(t), gate_weights(group.wdib1.gate))
    end = pack.merge(group)
    in_type(end.first, dtype)
    in_type(end.second, dtype)
    body = group.merge2(torch.cat([nchw(o1), nchw(o2)], 1)) + nchw(o2)
    unit = group.wdib1.gate(nchw(t).clone()) + group.wirw.skip_scale * nchw(x)
    expected = body[:, group.natural] * group.body_scale + unit * group.skip_scale
    for residual in (False, True):
        result = ends.merge(o1, o2, end, t, opening, x, residual=residual)
        close(nchw(result), expected + residual * nchw(x), dtype)


@pytest.mark.parametrize("shape", [(2, 5, 18)])
def test_a_block_and_a_group(any_group: _Fswg, shape: tuple[int, int, int]) -> None:
    group = any_group
    x = features(shape, torch.float32)
    same, y, gating = FusedBlock(group.wdib1)(x)
    assert same is x
    close(nchw(units.opened(y, gating)), group.wdib1(nchw(x)), torch.float32)
    close(nchw(FusedGroup(group)(x)), group(nchw(x)), torch.float32)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_whole_network(dtype: torch.dtype) -> None:
    net = FdiwnInference(_awkward("fdiwn", 2)).to(DEVICE)
    picture = torch.rand((1, 3, 7, 8), generator=torch.Generator().manual_seed(1)).to(DEVICE) * 255
    expected = net(picture)
    if dtype != torch.float32:
        net.store_trunk_as(dtype)
    result = FusedNetwork(net)(picture)
    # The weights are random, so the picture spans more than codes do.
    limit = 2e-3 if dtype == torch.float32 else 4e-3 * expected.abs().max().item()
    assert (result - expected).abs().max().item() <= limit

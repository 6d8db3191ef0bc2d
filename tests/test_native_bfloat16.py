"""The engines that multiply bfloat16: what torch computes of the same rounded numbers, or near it.

Those without tiles convolve by Winograd's form, which rounds other numbers: sums of the samples and
of the weights. What that does is a part of the bounds.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - what everybody calls it
from hypothesis import given, settings
from hypothesis import strategies as st
from native_builds import built
from test_models_fdiwn import _awkward
from test_models_set5 import _read, _to_codes
from test_native import SHAPES, features, run, stage

from vsr.engine.backend import open_backend
from vsr.engine.device import choose_device
from vsr.engine.native import library as native
from vsr.engine.native.backend import NativeBackend
from vsr.engine.native.library import Library
from vsr.engine.native.pack import Packer
from vsr.errors import BackendError
from vsr.metrics import psnr_y
from vsr.models.fdiwn import CHANNELS, SCALES
from vsr.models.fdiwn_inference import FdiwnInference, _Fswg
from vsr.models.weights import shipped_path
from vsr.processor import bfloat16_instructions
from vsr.types import ModelPlan

ROOT = Path(__file__).resolve().parent.parent
#: What rounding to the eight bits of bfloat16 changes at most, as a share of the number.
ROUNDING = 2.0**-8


SOFTWARE = "software_tiles"


@pytest.fixture(
    scope="module", params=[*native.BFLOAT16, pytest.param(SOFTWARE, marks=pytest.mark.slow)]
)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Library:
    """Each of the libraries; on processors without AMX, its own with the tile unit in software."""
    problem = native.bfloat16_problem()
    if problem is not None:
        pytest.skip(problem)
    there = bfloat16_instructions()
    if request.param == SOFTWARE:
        if "AMX" in there:
            pytest.skip("this processor has AMX")
        return Library("amx", built(SOFTWARE, tmp_path_factory.mktemp("native")))
    if native.BFLOAT16[request.param] not in there:
        pytest.skip("this processor has no AMX")
    path = dict(native.find(bfloat16=True)).get(request.param)
    if path is None:
        pytest.skip("its library was not built")
    try:
        return Library(request.param, path)
    except BackendError as error:
        pytest.skip(error.what)


@pytest.fixture(scope="module")
def group() -> _Fswg:
    return FdiwnInference(_awkward("fdiwn", 2)).groups[0]  # type: ignore[return-value]


def rounded(x: torch.Tensor) -> torch.Tensor:
    return x.bfloat16().float()


def half_up(x: torch.Tensor) -> torch.Tensor:
    """Rounded to bfloat16 as the engine rounds samples: halves away from zero."""
    return (x.float().view(torch.int32) + 0x8000).bitwise_and(-0x10000).view(torch.float32)


def near(result: torch.Tensor, expected: torch.Tensor, share: float) -> None:
    """The error's root mean square is at most that share of the result's."""
    error = (result - expected).pow(2).mean().sqrt()
    size = expected.pow(2).mean().sqrt()
    assert error <= share * size, (error / size).item()


@pytest.mark.parametrize("shape", [*SHAPES, (9, 64), (6, 65), (4, 128)])
def test_features_come_back_rounded_and_their_moments_are_theirs(
    engine: Library, shape: tuple[int, int]
) -> None:
    x = features(*shape)
    x[:, 0] = 12345.678  # flat: squares about zero would cancel
    (same,), said = stage(engine, "moments", x, None)
    assert ((same - x).abs() <= x.abs() * ROUNDING).all()
    torch.testing.assert_close(said[0], same.double().mean((0, 2, 3)), rtol=1e-5, atol=1e-5)
    assert said[1, 0].item() == 0
    variance = same.double().var((0, 2, 3), correction=0)
    torch.testing.assert_close(said[1], variance, rtol=1e-4, atol=1e-5)


#: Of Winograd's F(4, 3), the finite ones; see native/transforms.h.
POINTS = (0.0, 0.625, -0.625, 1.5, -1.5)


def by_winograd(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """A 3x3 convolution along lines, by products of bfloat16; all else float64.

    The matrices are Toom and Cook's: a kernel and the outputs as polynomials at the points, the
    inputs as coefficients of the product of (t - q) over the other points q.
    """
    others = [[q for q in POINTS if q != p] for p in POINTS]
    ascending = [np.poly(roots)[::-1] for roots in others]  # type: ignore[arg-type]
    inputs = np.zeros((6, 6))
    inputs[:5, :5], inputs[5] = ascending, np.poly(POINTS)[::-1]
    kernel = [[p**k / np.prod([p - q for q in rest]) for k in range(3)]
              for p, rest in zip(POINTS, others, strict=True)]  # fmt: skip
    kernels = torch.tensor([*kernel, [0, 0, 1]], dtype=torch.float64)
    outputs = torch.tensor([[*(p**k for p in POINTS), k == 3] for k in range(4)]).double()

    width = x.shape[3]
    padded = F.pad(x, (1, 1 + -width % 4, 1, 1)).double()
    tiles = torch.einsum("bchtn,pn->pbcht", padded.unfold(3, 6, 4), torch.from_numpy(inputs))
    points = torch.einsum("pk,ocyk->pocy", kernels, weight.double())
    products = [
        F.conv2d(half_up(tile).double(), rounded(point).double()[..., None])
        for tile, point in zip(tiles, points, strict=True)
    ]
    result = torch.einsum("pboht,kp->bohtk", torch.stack(products), outputs)
    return (result.flatten(3)[..., :width] + bias.double().view(1, -1, 1, 1)).float()


@pytest.mark.parametrize("shape", [*SHAPES, (9, 64), (6, 65), (4, 128), (3, 200)])
@pytest.mark.parametrize("threads", [1, 3])
def test_convolution(engine: Library, shape: tuple[int, int], threads: int) -> None:
    x = rounded(features(*shape))
    generator = torch.Generator().manual_seed(2)
    weight = rounded(torch.randn((CHANNELS, CHANNELS, 3, 3), generator=generator))
    bias = torch.arange(float(CHANNELS))
    packer = Packer()
    packer.convolution(weight, bias, range(CHANNELS))
    (result,), _ = stage(engine, "convolution", x, packer, threads)
    expected = F.conv2d(x.double(), weight.double(), bias.double(), padding=1).float()
    if engine.name == "amx":
        # Summed in float32: only the result is rounded.
        assert ((result - expected).abs() <= expected.abs() * ROUNDING + 1e-4).all()
        return
    theirs = by_winograd(x, weight, bias)
    near(theirs, expected, 2 * ROUNDING)
    # Only the result is rounded besides; a point that float32 puts beside a half falls elsewhere.
    size = expected.pow(2).mean().sqrt()
    assert ((result - theirs).abs() <= theirs.abs() * ROUNDING + 2e-3 * size).all()
    near(result, theirs, ROUNDING / 2)


@pytest.mark.parametrize("shape", SHAPES)
def test_wide_path_and_its_gate(engine: Library, group: _Fswg, shape: tuple[int, int]) -> None:
    x, unit = rounded(features(*shape)), group.wirw.wide
    packer = Packer()
    packer.wide(unit, range(CHANNELS), 0)
    (result,), said = stage(engine, "wide", x, packer)
    near(result, unit.conv(unit.reduce(unit.expand(x).relu())), 2 * ROUNDING)
    # The gate is that of what is there.
    slope, offset = (t.float().view(1, -1, 1, 1) for t in said)
    near(result * torch.sigmoid(result * slope + offset), unit.gate(result.clone()), 1e-2)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["wdib1", "wdib2", "wdib3"])
def test_wcrw_with_its_shortcut_and_the_distilled_half(
    engine: Library, group: _Fswg, name: str, shape: tuple[int, int]
) -> None:
    orders = [torch.arange(CHANNELS), group.wdib1.out_order, group.wdib2.out_order]
    x, unit = rounded(features(*shape).abs()), getattr(group, name).wcrw2
    packer = Packer()
    packer.wcrw(unit, orders[int(name[-1]) - 1])
    maps, _ = stage(engine, "wcrw", x, packer)
    expected, distilled = unit(x)
    # Statistics of a few pixels magnify what is rounded.
    near(maps[0], expected, (4 if shape[0] * shape[1] > 100 else 20) * ROUNDING)
    near(maps[1], distilled, 2 * ROUNDING)


@pytest.mark.parametrize("shape", [(13, 71), (24, 64)])
@pytest.mark.parametrize("name", ["wdib1", "wdib2", "wdib3"])
def test_block(engine: Library, group: _Fswg, name: str, shape: tuple[int, int]) -> None:
    orders = [torch.arange(CHANNELS), group.wdib1.out_order, group.wdib2.out_order]
    x, block = rounded(features(*shape)), getattr(group, name)
    packer = Packer()
    packer.wdib(block, orders[int(name[-1]) - 1])
    (result,), _ = stage(engine, "wdib", x, packer)
    near(result, block(x.contiguous(memory_format=torch.channels_last)), 6 * ROUNDING)


def test_a_stage_nobody_knows_is_an_error(engine: Library) -> None:
    with pytest.raises(BackendError, match="no stage called fold"):
        stage(engine, "fold", features(2, 2), None)


def picture(height: int, width: int, seed: int) -> torch.Tensor:
    """Smooth and in 0..255, as pictures are; noise alone would be worse than any of them."""
    noise = torch.rand((1, 3, height + 8, width + 8), generator=torch.Generator().manual_seed(seed))
    return 255 * F.avg_pool2d(noise, 9, 1)


@pytest.mark.parametrize("scale", SCALES)
def test_it_is_the_training_form_but_for_rounding(engine: Library, scale: int) -> None:
    net = FdiwnInference.from_state("fdiwn", scale, _weights(scale))
    for height, width in ((24, 40), (17, 71), (9, 130)):
        x = picture(height, width, height)
        with torch.inference_mode():
            expected = net(x)
        error = (run(engine, net, x) - expected).pow(2).mean().sqrt().item()
        assert error < 0.06  # codes: 73 dB


def _weights(scale: int) -> dict[str, torch.Tensor]:
    from vsr.models.weights import read_weights

    return dict(read_weights(shipped_path("fdiwn", scale)))


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 20), st.integers(1, 140))
def test_any_size(engine: Library, height: int, width: int) -> None:
    net = FdiwnInference.from_state("fdiwn", 2, _weights(2))
    x = picture(height, width, height)
    with torch.inference_mode():
        expected = net(x)
    assert (run(engine, net, x, 3) - expected).abs().max().item() < 1


@pytest.mark.parametrize("level", [0.0, 16.0, 127.0, 255.0])
@pytest.mark.parametrize("shape", [(1, 1), (24, 70)])
def test_a_flat_picture_stays_flat(engine: Library, level: float, shape: tuple[int, int]) -> None:
    """Its features hardly vary: what rounding adds to them must not pass for a difference."""
    net = FdiwnInference.from_state("fdiwn", 2, _weights(2))
    x = torch.full((1, 3, *shape), level)
    with torch.inference_mode():
        expected = net(x)
    assert (run(engine, net, x) - expected).abs().max().item() < 0.5


def test_the_number_of_threads_changes_no_bit(engine: Library) -> None:
    net = FdiwnInference(_awkward("fdiwn", 2))
    x = picture(131, 20, 2)
    one, two, three, many = (run(engine, net, x, n) for n in (1, 2, 3, 50))
    assert torch.equal(one, two)
    assert torch.equal(one, three)
    assert torch.equal(one, many)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["restless", "software_tiles"])
def test_whose_rows_they_are_changes_no_bit(tmp_path: Path, target: str) -> None:
    """Libraries whose threads share the picture out differently for each stage."""
    if (problem := native.bfloat16_problem()) is not None:
        pytest.skip(problem)
    restless = Library("tests", built(target, tmp_path))
    net = FdiwnInference(_awkward("fdiwn-m", 2))
    x = picture(45, 70, 6)
    alone = run(restless, net, x, 1)
    with torch.inference_mode():
        assert (alone - net(x)).pow(2).mean().sqrt().item() < 0.5
    assert all(torch.equal(alone, run(restless, net, x, threads)) for threads in (2, 3, 5))


def test_tiny_numbers_are_what_they_were_for_others(engine: Library) -> None:
    """The engine rounds denormal numbers to zero, in its own work only."""
    tiny = torch.tensor([1e-40, 1e-41])
    run(engine, FdiwnInference(_awkward("fdiwn-m", 2)), picture(8, 8, 0))
    assert (tiny * 1.0 > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("scale", SCALES)
def test_set5_stays_within_a_hundredth_of_a_decibel(
    engine: Library, reference: Path, scale: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if native.BFLOAT16[engine.name] not in bfloat16_instructions():
        pytest.skip("in software it takes too long")
    weights = str(reference / "weights" / f"fdiwn_x{scale}_authors.pt")
    plan = ModelPlan("fdiwn", scale, weights)
    monkeypatch.setattr("vsr.engine.native.backend.library", lambda **_: engine)
    quick_backend = open_backend("native", plan, "cpu", "bfloat16")
    monkeypatch.undo()
    exact_backend = open_backend("native", plan, "cpu", "float32")
    differences = []
    for path in sorted((reference / "Set5" / "HR").glob("*.png")):
        low = _read(reference / "Set5" / f"LR_x{scale}" / path.name)
        high = _read(path)[..., : low.shape[2] * scale, : low.shape[3] * scale]
        exact, quick = (
            psnr_y(_to_codes(backend(low)), high, shave=scale)
            for backend in (exact_backend, quick_backend)
        )
        differences.append((quick - exact).item())
    assert len(differences) == 5
    assert sum(differences) / 5 > -0.01


def test_auto_takes_the_best_one_and_names_it() -> None:
    if native.bfloat16_problem() is not None:
        pytest.skip(str(native.bfloat16_problem()))
    facts = choose_device("cpu")
    assert (facts.backend, facts.dtypes) == ("native", ("bfloat16", "float16", "float32"))
    assert choose_device("cpu", dtype="bfloat16").backend == "native"
    best = native.library(bfloat16=True).name
    assert best in [name for name, _ in native.find(bfloat16=True)]
    assert f"bfloat16 with {native.BFLOAT16[best]}" in NativeBackend.description("cpu")


@pytest.fixture
def asked_anew() -> Iterator[None]:
    """Which libraries there are is looked at again, in the test and after it."""
    native.library.cache_clear()
    yield
    native.library.cache_clear()


def test_where_there_is_none_it_says_so(monkeypatch: pytest.MonkeyPatch, asked_anew: None) -> None:
    if native.problem() is not None:
        pytest.skip(str(native.problem()))
    monkeypatch.setattr(native, "bfloat16_instructions", tuple)
    native.library.cache_clear()
    assert "AMX or AVX512-BF16" in str(native.bfloat16_problem())
    assert choose_device("cpu").dtypes == ("float16", "float32")


def test_where_the_system_withholds_the_tiles_vectors_multiply(
    monkeypatch: pytest.MonkeyPatch, asked_anew: None
) -> None:
    found = [(name, Path(name)) for name in native.BFLOAT16]
    monkeypatch.setattr(native, "find", lambda **_: found)

    def load(name: str, path: Path) -> SimpleNamespace:
        if name == "amx":
            raise BackendError("the system does not give it the AMX tile registers")
        return SimpleNamespace(name=name, lanes=16)

    monkeypatch.setattr(native, "Library", load)
    assert native.library(bfloat16=True).name == "avx512_bf16"
    said = "bfloat16 with AVX512-BF16 (the system does not give it the AMX tile registers)"
    assert NativeBackend.description("cpu").endswith(said)
    found.pop()
    native.library.cache_clear()
    assert native.bfloat16_problem() == "the system does not give it the AMX tile registers"

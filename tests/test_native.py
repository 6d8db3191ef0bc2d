"""The C++ engine: every stage is what torch computes, and so is the whole."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - what everybody calls it
from hypothesis import given, settings
from hypothesis import strategies as st
from native_builds import built
from test_models_fdiwn import _awkward
from test_models_set5 import _read, _to_codes

from vsr.engine.backend import open_backend
from vsr.engine.device import choose_device
from vsr.engine.native import backend
from vsr.engine.native import library as native
from vsr.engine.native.backend import run_tail, run_trunk
from vsr.engine.native.library import Library, Network, Run
from vsr.engine.native.pack import Packer, pack_trunk
from vsr.errors import BackendError
from vsr.metrics import psnr_y
from vsr.models.fdiwn import CHANNELS, SCALES, Variant
from vsr.models.fdiwn_inference import FdiwnInference, _Fswg
from vsr.native_build import digest
from vsr.types import ModelPlan

ROOT = Path(__file__).resolve().parent.parent
#: Whole tiles and vectors, none of either, and what is left over of both.
SHAPES = [(1, 1), (2, 3), (4, 32), (5, 33), (13, 71), (3, 130)]


@pytest.fixture(scope="module")
def engine() -> Library:
    problem = native.problem()
    if problem is not None:
        pytest.skip(problem)
    return native.library()


@pytest.fixture(scope="module")
def group() -> _Fswg:
    return FdiwnInference(_awkward("fdiwn", 2)).groups[0]  # type: ignore[return-value]


def features(height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((1, CHANNELS, height, width), generator=generator) * 3 + 1


def stage(
    engine: Library, name: str, x: torch.Tensor, packer: Packer | None, threads: int = 2
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """The maps a stage leaves and what it said."""
    parameters = packer.array() if packer else np.zeros(0, np.float32)
    height, width = x.shape[2:]
    with Run.open(engine, height, width, threads=threads, half=False) as run:
        run.write(x, 0)
        said = run.stage(name, parameters)
        maps = [run.read(0, height)]
        while name == "wcrw" and len(maps) < (2 if engine.name in native.BFLOAT16 else 3):
            run.stage("next", np.zeros(0, np.float32))
            maps.append(run.read(0, height))
    return maps, torch.from_numpy(said)


def close(result: torch.Tensor, expected: torch.Tensor, digits: float = 2e-6) -> None:
    error = (result - expected).abs().max().item()
    assert error <= digits * max(1.0, expected.abs().max().item()), error


@pytest.mark.parametrize("shape", SHAPES)
def test_moments(engine: Library, shape: tuple[int, int]) -> None:
    x = features(*shape)
    x[:, 0] = 12345.678  # flat: squares about zero would cancel
    (same,), said = stage(engine, "moments", x, None)
    assert torch.equal(same, x)
    close(said[0], x.double().mean((0, 2, 3)), 1e-6)
    variance, expected = said[1], x.double().var((0, 2, 3), correction=0)
    assert variance[0].item() == 0
    torch.testing.assert_close(variance, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_convolution(engine: Library, shape: tuple[int, int]) -> None:
    x = features(*shape)
    weight = features(3, 3, 1).expand(CHANNELS, -1, -1, -1) * torch.randn(
        (CHANNELS, 1, 1, 1), generator=torch.Generator().manual_seed(2)
    )
    bias = torch.arange(float(CHANNELS))
    packer = Packer()
    packer.convolution(weight, bias, range(CHANNELS))
    (result,), _ = stage(engine, "convolution", x, packer)
    expected = F.conv2d(x.double(), weight.double(), bias.double(), padding=1)
    close(result, expected.float())


def test_grouped_convolution_reads_its_own_inputs_alone(engine: Library, group: _Fswg) -> None:
    packer = Packer()
    weight = torch.zeros(CHANNELS, CHANNELS, 3, 3)
    for output in range(CHANNELS):
        weight[output, output % 4 :: 4] = 1 + output
    packer.convolution(weight, None, range(CHANNELS))
    dense = 36 * CHANNELS * CHANNELS
    assert packer.array().size < dense / 4  # nine numbers for each of a quarter of the pairs
    x = features(7, 9)
    (result,), _ = stage(engine, "convolution", x, packer)
    close(result, F.conv2d(x, weight, padding=1))


@pytest.mark.parametrize("shape", SHAPES)
def test_wide_path_and_its_gate(engine: Library, group: _Fswg, shape: tuple[int, int]) -> None:
    x, unit = features(*shape), group.wirw.wide
    packer = Packer()
    packer.wide(unit, range(CHANNELS), 0)
    (result,), said = stage(engine, "wide", x, packer)
    expected = unit.conv(unit.reduce(unit.expand(x).relu()))
    close(result, expected)
    slope, offset = (t.float().view(1, -1, 1, 1) for t in said)
    close(result * torch.sigmoid(result * slope + offset), unit.gate(expected.clone()), 1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_distilled_wcrw(engine: Library, group: _Fswg, shape: tuple[int, int]) -> None:
    x, unit, order = features(*shape), group.wdib2.wcrw2, group.wdib1.out_order
    packer = Packer()
    packer.wcrw(unit, order)
    (wide, shortcut, distilled), _ = stage(engine, "wcrw", x, packer)
    close(wide, unit.wide.conv(unit.wide.reduce(unit.wide.expand(x).relu())))
    close(torch.cat([shortcut, distilled], 1), unit.shortcut_and_distil(x))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["wdib1", "wdib2", "wdib3"])
def test_block(engine: Library, group: _Fswg, name: str, shape: tuple[int, int]) -> None:
    orders = [torch.arange(CHANNELS), group.wdib1.out_order, group.wdib2.out_order]
    x, block = features(*shape), getattr(group, name)
    packer = Packer()
    packer.wdib(block, orders[int(name[-1]) - 1])
    (result,), _ = stage(engine, "wdib", x, packer)
    close(result, block(x.contiguous(memory_format=torch.channels_last)), 3e-5)


def test_a_stage_nobody_knows_and_parameters_of_another_are_errors(engine: Library) -> None:
    with pytest.raises(BackendError, match="no stage called fold"):
        stage(engine, "fold", features(2, 2), None)
    with pytest.raises(BackendError, match="end early"):
        stage(engine, "wide", features(2, 2), None)
    with pytest.raises(BackendError, match="end early"):
        Network(engine, np.ones(1, np.float32))


def run(
    engine: Library, net: FdiwnInference, x: torch.Tensor, threads: int = 2, *, half: bool = False
) -> torch.Tensor:
    n, _, height, width = x.shape
    out = torch.empty((n, 3, height * net.scale, width * net.scale))
    trunk = Network(engine, pack_trunk(net))
    with torch.inference_mode():
        for i in range(n):
            with Run.open(engine, height, width, threads=threads, half=half) as frame:
                run_trunk(net, trunk, frame, x[i : i + 1])
                run_tail(net, frame, x[i : i + 1], out[i : i + 1])
    return out


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("variant", get_args(Variant))
@pytest.mark.parametrize("shape", [(2, 3, 17, 23), (1, 3, 1, 5), (1, 3, 1, 1), (1, 3, 2, 3)])
def test_native_is_the_training_form(
    engine: Library, variant: Variant, scale: int, shape: tuple[int, ...]
) -> None:
    net = _awkward(variant, scale)
    x = 255 * torch.rand(shape, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = net(x)
    tolerance = 1e-3 * max(1.0, expected.abs().max().item() / 255)
    assert (run(engine, FdiwnInference(net), x) - expected).abs().max().item() < tolerance


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 20), st.integers(1, 140))
def test_any_size(engine: Library, height: int, width: int) -> None:
    net = FdiwnInference(_awkward("fdiwn-m", 2))
    x = 255 * torch.rand((1, 3, height, width), generator=torch.Generator().manual_seed(height))
    with torch.inference_mode():
        expected = net(x)
    tolerance = 1e-3 * max(1.0, expected.abs().max().item() / 255)
    assert (run(engine, net, x, 3) - expected).abs().max().item() < tolerance


@pytest.mark.parametrize("half", [False, True])
def test_the_number_of_threads_changes_no_bit(
    engine: Library, half: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = FdiwnInference(_awkward("fdiwn", 2))
    # More lines than head and tail take at once.
    monkeypatch.setattr(backend, "_BAND", 32 * 20)
    x = 255 * torch.rand((1, 3, 131, 20), generator=torch.Generator().manual_seed(2))
    one, two, three, many = (run(engine, net, x, n, half=half) for n in (1, 2, 3, 50))
    assert torch.equal(one, two)
    assert torch.equal(one, three)
    assert torch.equal(one, many)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_torchs_defaults_are_no_concern_of_it(engine: Library, dtype: torch.dtype) -> None:
    upscale = open_backend("native", ModelPlan("fdiwn-m", 2, "clean"), "cpu", "float32")
    x = 255 * torch.rand((1, 3, 20, 33), generator=torch.Generator().manual_seed(3))
    expected = upscale(x)
    try:  # as libraries that load models do for a while
        torch.set_default_dtype(dtype)
        torch.set_default_device("meta")
        result = upscale(x)
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
    assert torch.equal(result, expected)


@pytest.mark.slow
@pytest.mark.parametrize("scale", SCALES)
def test_set5_stays_within_a_hundredth_of_a_decibel(
    engine: Library, reference: Path, scale: int
) -> None:
    """The authors' weights, in the half precision that ``auto`` takes, on the smallest image."""
    weights = str(reference / "weights" / f"fdiwn_x{scale}_authors.pt")
    plan = ModelPlan("fdiwn", scale, weights)
    low = _read(reference / "Set5" / f"LR_x{scale}" / "woman.png")
    high = _read(reference / "Set5" / "HR" / "woman.png")
    high = high[..., : low.shape[2] * scale, : low.shape[3] * scale]
    scores = [
        psnr_y(_to_codes(open_backend(name, plan, "cpu", dtype)(low)), high, shave=scale).item()
        for name, dtype in (("native", "float16"), ("torch", "float32"))
    ]
    assert scores[0] == pytest.approx(scores[1], abs=0.005)


def test_auto_takes_it_on_cpus_and_names_it(engine: Library) -> None:
    facts = choose_device("cpu", dtype="float16")
    assert facts.backend == "native"
    assert facts.dtypes[-2:] == ("float16", "float32")
    if native.bfloat16_problem() is not None:
        assert choose_device("cpu", dtype="bfloat16").backend == "torch"
    assert choose_device("cpu", model="bicubic").backend == "torch"


def test_without_it_auto_says_why_and_its_name_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    native.library.cache_clear()
    record = tmp_path / "build.json"
    monkeypatch.setattr(native, "_RECORD", record)

    def said() -> str:
        facts = choose_device("cpu")
        assert (facts.backend, facts.dtypes) == ("torch", ("float32", "bfloat16"))
        with pytest.raises(BackendError, match="native"):
            choose_device("cpu", "native")
        return facts.why

    try:
        assert "not with native: it has not been built here" in said()
        record.write_text(json.dumps({"sources": "", "why": "CMake was not found"}))
        assert "it was not built: CMake was not found" in said()
        record.write_text(json.dumps({"sources": "old", "why": ""}))
        assert "built from other sources" in said()
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
        assert "it needs AVX2, AVX-512 or ARM64" in said()
    finally:
        native.library.cache_clear()


def test_a_model_it_cannot_run_is_an_error() -> None:
    with pytest.raises(BackendError, match="bicubic"):
        choose_device("cpu", "native", model="bicubic")


def test_sources_are_told_apart_by_content_and_name(tmp_path: Path) -> None:
    (tmp_path / "a.cpp").write_text("int a;")
    first = digest(tmp_path)
    (tmp_path / "notes.md").write_text("not a source")
    assert digest(tmp_path) == first
    (tmp_path / "a.cpp").write_text("int b;")
    assert digest(tmp_path) != first
    (tmp_path / "a.cpp").write_text("int a;")
    (tmp_path / "a.cpp").rename(tmp_path / "b.cpp")
    assert digest(tmp_path) != first


@pytest.mark.slow
@pytest.mark.parametrize(("name", "lanes"), [("wide", 16), ("narrow", 4)])
def test_vectors_of_other_machines(engine: Library, tmp_path: Path, name: str, lanes: int) -> None:
    """The logic of AVX-512's and ARM64's code, compiled for whatever vectors there are."""
    other = Library(name, built(name, tmp_path, optimised=False))
    assert other.lanes == lanes
    net = FdiwnInference(_awkward("fdiwn-m", 2))
    for shape in ((1, 3, 9, 70), (1, 3, 5, 131)):
        x = 255 * torch.rand(shape, generator=torch.Generator().manual_seed(5))
        with torch.inference_mode():
            expected = net(x)
        tolerance = 1e-3 * max(1.0, expected.abs().max().item() / 255)
        assert (run(other, net, x) - expected).abs().max().item() < tolerance
        assert (run(other, net, x, half=True) - expected).abs().max().item() < 1
    # The wide library's threads share the picture out differently for each stage.
    x = 255 * torch.rand((1, 3, 45, 20), generator=torch.Generator().manual_seed(6))
    alone = run(other, net, x, 1)
    assert all(torch.equal(alone, run(other, net, x, threads)) for threads in (2, 3, 5))


@pytest.mark.parametrize("machine", ["aarch64", "arm64"])
def test_arm64_takes_its_own_library(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, machine: str
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    monkeypatch.setattr(native, "_FOLDER", tmp_path)
    monkeypatch.setattr(native, "_RECORD", tmp_path / "build.json")
    (tmp_path / "build.json").write_text(
        json.dumps({"sources": digest(ROOT / "native"), "why": ""})
    )
    with pytest.raises(BackendError, match="library is missing"):
        native.find()
    (tmp_path / "libvsr_neon.so").touch()
    assert native.find() == [("neon", tmp_path / "libvsr_neon.so")]
    with pytest.raises(BackendError, match="AMX"):
        native.find(bfloat16=True)

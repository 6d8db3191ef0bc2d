"""The trunk in C++, in training: what the training form gives, from each library that runs here."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from native_builds import built
from torch import Tensor
from trunks import derived, difference, exact, near, network, threads, trunk_in, two_groups

from vsr import native_build
from vsr.errors import BackendError
from vsr.models.fdiwn import CHANNELS, Fswg, Variant
from vsr.models.fdiwn_recipe import arrange, how_it_runs
from vsr.models.training.trunk import TrainingTrunk
from vsr.models.trunk_native import (
    INSTRUCTION_SETS,
    Group,
    Library,
    library,
    loader,
    parameters,
    problem,
)  # fmt: skip

ROOT = Path(__file__).resolve().parent.parent
HALF, SINGLE = torch.bfloat16, torch.float32
#: Functions that are looked up when a library is loaded.
LOADED = [
    f"vsr_training_{name}" for name in ("weights", "packed", "tape", "ready", "cell", "multiple")
]


def there_is(dtype: torch.dtype) -> pytest.MarkDecorator:
    return pytest.mark.skipif(library(dtype) is None, reason=str(problem(dtype)))


needs_single = there_is(SINGLE)


def only(dtype: torch.dtype, name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.dtype]:
    """``dtype``, while the library for one instruction set is the only one that is looked for."""
    monkeypatch.setattr(loader, "INSTRUCTION_SETS", {dtype: (name,)})
    loader._found.cache_clear()
    why = problem(dtype)
    if why is not None:
        loader._found.cache_clear()
        pytest.skip(why)
    yield dtype
    loader._found.cache_clear()


@pytest.fixture(
    params=[(dtype, name) for dtype, names in INSTRUCTION_SETS.items() for name in names],
    ids=lambda param: param[1],
)
def each(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.dtype]:
    """What each library that runs here computes in, with no other to be found."""
    yield from only(*request.param, monkeypatch)


@pytest.fixture(params=INSTRUCTION_SETS[HALF])
def half(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The instruction sets of those that compute in bfloat16, likewise."""
    for _ in only(HALF, request.param, monkeypatch):
        yield request.param


@needs_single
@pytest.mark.parametrize("variant", ["fdiwn", "fdiwn-m"])
@pytest.mark.parametrize(
    ("scale", "images", "height", "width"),
    [
        (2, 2, 12, 16), (3, 1, 7, 33), (4, 3, 9, 11), (2, 2, 3, 70), (4, 2, 32, 32),
        (3, 1, 1, 1), (2, 1, 1, 2), (2, 1, 40, 1), (4, 1, 2, 129),
    ],
)  # fmt: skip
def test_float32_is_the_training_form(
    variant: Variant, scale: int, images: int, height: int, width: int
) -> None:
    """Half of the gradients to float32's precision; where a ReLU tips over, some less."""
    net = two_groups(variant, scale)
    h = torch.randn(images, CHANNELS, height, width, generator=torch.Generator().manual_seed(1))
    out, gradients = exact(net, h)
    ours, found = derived(net, trunk_in(SINGLE, net, native=True), h)
    assert ours.dtype == SINGLE
    assert float((ours - out).norm() / out.norm()) < 1e-6
    assert difference(found, gradients) < 1e-3
    near(found, gradients, relative=0.03, absolute=1e-4)
    apart = [(found[n] - g).norm() / g.norm() for n, g in gradients.items() if g.norm() > 0]
    assert float(torch.stack(apart).median()) < 1e-5


@needs_single
@pytest.mark.parametrize("variant", ["fdiwn", "fdiwn-m"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_whole_trunk_in_float32(variant: Variant, scale: int) -> None:
    """Groups run more than once, and their gradients add up."""
    net = network(variant, scale)
    h = torch.randn(2, CHANNELS, 10, 13)
    out, gradients = derived(net, net.trunk, h)
    ours, found = derived(net, trunk_in(SINGLE, net, native=True), h)
    assert torch.allclose(ours, out, atol=1e-5 * float(out.abs().max()))
    assert difference(found, gradients) < 3e-3
    near(found, gradients, relative=0.1, absolute=1e-3)


@needs_single
@pytest.mark.parametrize("value", [0.0, 1.0, 100.0, 1e-20, 1e-39])
def test_flat_and_tiny_features(value: float) -> None:
    """Without any variance, and below float32's normal numbers: as near as torch comes."""
    net = two_groups("fdiwn", 2)
    flat = torch.full((1, CHANNELS, 9, 10), value)
    for h in (flat, value * torch.randn(1, CHANNELS, 9, 10)):
        out, gradients = exact(net, h)
        ours, found = derived(net, trunk_in(SINGLE, net, native=True), h)
        theirs, expected = derived(net, net.trunk, h)
        assert (ours - out).norm() < 4 * (theirs - out).norm() + 1e-6 * out.norm()
        assert difference(found, gradients) < 4 * difference(expected, gradients) + 1e-6


@pytest.mark.usefixtures("half")
@pytest.mark.parametrize(
    ("variant", "scale", "height", "width"),
    [("fdiwn", 2, 12, 16), ("fdiwn-m", 4, 20, 48), ("fdiwn-m", 3, 7, 32)],
)
def test_half_precision_is_near(variant: Variant, scale: int, height: int, width: int) -> None:
    check_half_precision(variant, scale, height, width)


def check_half_precision(variant: Variant, scale: int, height: int, width: int) -> None:
    net = two_groups(variant, scale)
    h = torch.randn(3, CHANNELS, height, width)
    out, gradients = derived(net, net.trunk, h)
    ours, found = derived(net, trunk_in(HALF, net, native=True), h)
    assert ours.dtype == SINGLE
    assert float((ours - out).norm() / out.norm()) < 0.008
    assert difference(found, gradients) < 0.03
    near(found, gradients, relative=0.1, absolute=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("target", "multiple"), [("wide", 2), ("software_tiles", 16)])
def test_what_other_processors_compute_in_bfloat16(
    target: str, multiple: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """AMX's logic, compiled for whatever vectors there are, or with the tile unit in software."""
    if target != "wide" and (why := problem(HALF)) is not None:
        pytest.skip(why)
    other = Library(built(f"training_{target}", tmp_path, optimised=False), "tests")
    assert (other.dtype, other.multiple) == (HALF, multiple)
    monkeypatch.setattr("vsr.models.training.trunk.library", lambda _: other)
    check_half_precision("fdiwn", 2, 5, 16)
    check_half_precision("fdiwn-m", 4, 9, 16 if multiple == 16 else 10)


def in_a_row(weights: Any) -> list[Tensor]:
    """Effective weights as the native trunk has them: inputs before outputs."""
    if not isinstance(weights, Tensor):
        return [tensor for part in weights for tensor in in_a_row(part)]
    if weights.dim() == 2:
        weights = weights.t()
    elif weights.dim() == 4 and len(weights) > 1:
        weights = weights.permute(2, 3, 1, 0)
    return [weights.reshape(-1)]


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("variant", "scale"), [("fdiwn", 2), ("fdiwn-m", 4)])
def test_native_weights_are_torchs(
    variant: Variant, scale: int, memory_format: torch.memory_format, each: torch.dtype
) -> None:
    net = network(variant, scale).to(memory_format=memory_format)  # type: ignore[call-overload]
    group = cast(Fswg, net.groups[1])
    trunk = TrainingTrunk(net, compiled=False)
    theirs = torch.cat(in_a_row(trunk._weights(group, SINGLE)[:-1]))
    found = library(each)
    assert found is not None
    assert found.dtype == each
    native = Group(found, group, trunk._merging.natural.argmax(1))
    assert len(parameters(group)) == found.code.vsr_training_parameters(*native.widths)
    assert torch.allclose(native.weights, theirs, atol=1e-6)
    direction = torch.randn_like(theirs)
    gradients = []
    for row in (theirs, native.weights):
        net.zero_grad()
        torch.autograd.backward((row * direction).sum())
        gradients.append({n: cast(Tensor, p.grad).clone() for n, p in group.named_parameters()})
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradients[1][name], gradient, rtol=1e-4, atol=1e-4), name


def test_native_trunk_repeats_itself_and_threads_agree(each: torch.dtype) -> None:
    """More threads than images too."""
    net = two_groups("fdiwn", 2)
    h = torch.randn(3, CHANNELS, 16, 16)
    trunk = trunk_in(each, net, native=True)
    with threads(1):
        alone, one = derived(net, trunk, h)
    for number in (1, 2, 5):
        with threads(number):
            first, gradients = derived(net, trunk, h)
            again, repeated = derived(net, trunk, h)
        assert torch.equal(first, alone)
        assert torch.equal(again, alone)
        assert all(torch.equal(gradients[name], repeated[name]) for name in one)
        assert difference(gradients, one) < (1e-5 if number > 1 else 1e-30)


def test_a_broken_step_leaves_nothing_behind(each: torch.dtype) -> None:
    net = two_groups("fdiwn", 2)
    h = torch.randn(2, CHANNELS, 16, 16)
    trunk = trunk_in(each, net, native=True)
    out, before = derived(net, trunk, h)
    broken, _ = derived(net, trunk, torch.full_like(h, torch.nan))
    assert bool(broken.isnan().all())
    again, after = derived(net, trunk, h)
    assert torch.equal(out, again)
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.fixture
def asked_anew() -> Iterator[None]:
    """Whether there is a library is looked at again, in the test and after it."""
    loader._found.cache_clear()
    yield
    loader._found.cache_clear()


def trains_in_torch(dtype: torch.dtype) -> bool:
    net = two_groups("fdiwn", 2)
    h = torch.randn(2, CHANNELS, 8, 16)
    ours, found = derived(net, trunk_in(dtype, net, native=True), h)
    theirs, expected = derived(net, trunk_in(dtype, net, native=False), h)
    return torch.equal(ours, theirs) and all(torch.equal(found[n], expected[n]) for n in expected)


def told(patch: int, dtype: torch.dtype) -> str:
    """What a run says of itself."""
    net, device = two_groups("fdiwn", 2), torch.device("cpu")
    assert how_it_runs(net, device, dtype, patch) == ""
    arrange(net, device, compiled=False)
    return how_it_runs(net, device, dtype, patch)


def test_a_run_in_bfloat16_says_what_computes_its_trunk(half: str) -> None:
    assert told(48, HALF) == f"trunk in C++ with {half}, bfloat16"
    assert (
        told(40, HALF) == "trunk in torch, not C++: it needs crops whose side is a multiple of 16"
    )


@needs_single
def test_a_run_in_float32_says_what_computes_its_trunk() -> None:
    assert told(48, SINGLE) == told(13, SINGLE) == "trunk in C++ with AVX2, float32"
    assert told(48, torch.float16) == "trunk in torch, not C++: it computes in bfloat16 or float32"


@pytest.mark.parametrize("dtype", INSTRUCTION_SETS)
def test_without_the_library_training_takes_torch_and_says_so(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, asked_anew: None
) -> None:
    able = [INSTRUCTION_SETS[HALF]]
    monkeypatch.setattr(loader, "bfloat16_instructions", lambda: able[0])
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    monkeypatch.setattr(loader, "_FOLDER", tmp_path)
    record, names = tmp_path / native_build.RECORD, INSTRUCTION_SETS[dtype]

    def said() -> str:
        loader._found.cache_clear()
        assert library(dtype) is None
        why = problem(dtype)
        assert why is not None
        return why

    assert said() == "it has not been built here"
    assert trains_in_torch(dtype)
    assert told(48, dtype) == "trunk in torch, not C++: it has not been built here"
    native_build.write_record(record, ROOT / "native", "CMake was not found")
    assert said() == "it was not built: CMake was not found"
    native_build.write_record(record, ROOT / "native", "")
    assert all(f"the C++ compiler does not know {name}" in said() for name in names)
    for name in names:
        (tmp_path / loader.file_name(name)).write_bytes(b"no library")
    assert said().count("its library cannot be loaded") == len(names)
    able[0] = ()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    assert f"it needs a processor with {' or '.join(names)}, " in said()


def test_a_library_of_other_sources_is_refused(
    each: torch.dtype, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, asked_anew: None
) -> None:
    dtype = each
    (name,) = loader.INSTRUCTION_SETS[dtype]
    shutil.copy(loader._FOLDER / loader.file_name(name), tmp_path)
    monkeypatch.setattr(loader, "_FOLDER", tmp_path)
    native_build.write_record(tmp_path / native_build.RECORD, ROOT / "native", "")
    assert problem(dtype) is None
    loader._found.cache_clear()
    native_build.write_record(tmp_path / native_build.RECORD, ROOT / "native" / "training", "")
    assert problem(dtype) == "its library was built from other sources than these"
    assert trains_in_torch(dtype)


def refused(*_: object) -> int:
    return 0


def test_where_the_system_withholds_the_tile_unit_training_takes_torch(
    monkeypatch: pytest.MonkeyPatch, half: str, asked_anew: None
) -> None:
    if half != "AMX":
        pytest.skip("it has no tile unit")
    monkeypatch.setattr("ctypes.CDLL", lambda _: SimpleNamespace(**dict.fromkeys(LOADED, refused)))
    assert problem(HALF) == "the system does not give AMX's tile unit"
    assert trains_in_torch(HALF)


def test_where_amx_cannot_be_had_its_processors_other_bfloat16_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, asked_anew: None
) -> None:
    monkeypatch.setattr(loader, "bfloat16_instructions", lambda: INSTRUCTION_SETS[HALF])
    monkeypatch.setattr(loader, "_FOLDER", tmp_path)
    native_build.write_record(tmp_path / native_build.RECORD, ROOT / "native", "")
    for name in INSTRUCTION_SETS[HALF]:
        (tmp_path / loader.file_name(name)).touch()

    def load(_: Path, name: str) -> SimpleNamespace:
        if name == "AMX":
            raise BackendError("the system does not give AMX's tile unit")
        return SimpleNamespace(name=name, dtype=made_for)

    monkeypatch.setattr(loader, "Library", load)
    made_for = HALF
    found = library(HALF)
    assert found is not None
    assert found.name == "AVX512-BF16"
    made_for = SINGLE
    loader._found.cache_clear()
    assert "its library for AVX512-BF16 computes in torch.float32" in str(problem(HALF))

"""The trunk as it is trained on a CPU is the training form's, in its result and its gradients."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from vsr import native_build
from vsr.models.fdiwn import CHANNELS, Fdiwn, Fswg, Variant
from vsr.models.fdiwn_recipe import arrange, how_it_runs
from vsr.models.training.trunk import TrainingTrunk
from vsr.models.trunk_native import Group, library, loader, parameters, problem

ROOT = Path(__file__).resolve().parent.parent
#: Functions that are looked up when the library is loaded.
LOADED = [f"vsr_training_{name}" for name in ("weights", "packed", "tape", "ready")]


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


def two_groups(variant: Variant, scale: int) -> Fdiwn:
    """A trunk short enough that rounding does not grow in it."""
    net = network(variant, scale)
    del net.groups[2:]
    net.order = (0, 1)
    return net


def in_half_precision(net: Fdiwn, *, native: bool) -> Callable[[Tensor], Tensor]:
    trunk = TrainingTrunk(net, compiled=False, native=native)

    def run(h: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return trunk(h)

    return run


needs_amx = pytest.mark.skipif(library(torch.bfloat16) is None, reason=str(problem(torch.bfloat16)))
NATIVE = [False, pytest.param(True, marks=needs_amx)]


@pytest.mark.parametrize("native", NATIVE, ids=["torch", "native"])
@pytest.mark.parametrize(
    ("variant", "scale", "height", "width"),
    [("fdiwn", 2, 12, 16), ("fdiwn-m", 4, 20, 48), ("fdiwn-m", 3, 7, 32), ("fdiwn", 2, 9, 11)],
)
def test_half_precision_is_near(
    variant: Variant, scale: int, height: int, width: int, native: bool
) -> None:
    """The last width is none that the native trunk takes: torch is used instead."""
    net = two_groups(variant, scale)
    h = torch.randn(3, CHANNELS, height, width)
    out, gradients = derived(net, net.trunk, h)
    ours, found = derived(net, in_half_precision(net, native=native), h)
    assert ours.dtype == torch.float32
    assert float((ours - out).norm() / out.norm()) < 0.008
    assert difference(found, gradients) < 0.03
    whole = torch.cat([gradient.flatten() for gradient in gradients.values()]).norm()
    for name, gradient in gradients.items():
        apart = (found[name] - gradient).norm()
        assert apart < 0.1 * gradient.norm() + 2e-3 * whole, name


def in_a_row(weights: Any) -> list[Tensor]:
    """Effective weights as the native trunk has them: inputs before outputs."""
    if not isinstance(weights, Tensor):
        return [tensor for part in weights for tensor in in_a_row(part)]
    if weights.dim() == 2:
        weights = weights.t()
    elif weights.dim() == 4 and len(weights) > 1:
        weights = weights.permute(2, 3, 1, 0)
    return [weights.reshape(-1)]


@needs_amx
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("variant", "scale"), [("fdiwn", 2), ("fdiwn-m", 4)])
def test_native_weights_are_torchs(
    variant: Variant, scale: int, memory_format: torch.memory_format
) -> None:
    net = network(variant, scale).to(memory_format=memory_format)  # type: ignore[call-overload]
    group = cast(Fswg, net.groups[1])
    trunk = TrainingTrunk(net, compiled=False)
    theirs = torch.cat(in_a_row(trunk._weights(group, torch.float32)[:-1]))
    found = library()
    assert found is not None
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


@needs_amx
def test_native_trunk_repeats_itself_and_threads_agree() -> None:
    net = two_groups("fdiwn", 2)
    h = torch.randn(3, CHANNELS, 16, 16)
    trunk = in_half_precision(net, native=True)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone, one = derived(net, trunk, h)
        _, again = derived(net, trunk, h)
        torch.set_num_threads(2)
        together, two = derived(net, trunk, h)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert torch.equal(alone, together)
    assert difference(two, one) < 1e-5


@needs_amx
def test_a_broken_step_leaves_nothing_behind() -> None:
    net = two_groups("fdiwn", 2)
    h = torch.randn(2, CHANNELS, 16, 16)
    trunk = in_half_precision(net, native=True)
    out, before = derived(net, trunk, h)
    derived(net, trunk, torch.full_like(h, torch.nan))
    again, after = derived(net, trunk, h)
    assert torch.equal(out, again)
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.fixture
def asked_anew() -> Iterator[None]:
    """Whether there is a library is looked at again, in the test and after it."""
    loader._found.cache_clear()
    yield
    loader._found.cache_clear()


def trains_in_torch() -> bool:
    net = two_groups("fdiwn", 2)
    h = torch.randn(2, CHANNELS, 8, 16)
    ours, found = derived(net, in_half_precision(net, native=True), h)
    theirs, expected = derived(net, in_half_precision(net, native=False), h)
    return torch.equal(ours, theirs) and all(torch.equal(found[n], expected[n]) for n in expected)


def told(patch: int, dtype: torch.dtype = torch.bfloat16) -> str:
    """What a run says of itself."""
    net, device = two_groups("fdiwn", 2), torch.device("cpu")
    assert how_it_runs(net, device, dtype, patch) == ""
    arrange(net, device, compiled=False)
    return how_it_runs(net, device, dtype, patch)


@needs_amx
def test_a_run_says_what_computes_its_trunk() -> None:
    assert told(48) == "trunk in C++ with AMX"
    assert told(40) == "trunk in torch, not C++: it needs crops whose side is a multiple of 16"
    assert "in bfloat16" in told(48, torch.float32)


def test_without_the_library_training_takes_torch_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, asked_anew: None
) -> None:
    able = {"amx_bf16": True, "avx512_bf16": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    monkeypatch.setattr(loader, "_FOLDER", tmp_path)
    record = tmp_path / native_build.RECORD

    def said() -> str:
        loader._found.cache_clear()
        assert library() is None
        why = problem()
        assert why is not None
        return why

    assert said() == "it has not been built here"
    assert trains_in_torch()
    assert told(48) == "trunk in torch, not C++: it has not been built here"
    native_build.write_record(record, ROOT / "native", "CMake was not found")
    assert said() == "it was not built: CMake was not found"
    native_build.write_record(record, ROOT / "native", "")
    assert "the C++ compiler does not know AMX" in said()
    (tmp_path / "libvsr_training.so").write_bytes(b"no library")
    assert "its library cannot be loaded" in said()
    able["amx_bf16"] = False
    assert "it needs a processor with AMX" in said()


@needs_amx
def test_a_library_of_other_sources_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, asked_anew: None
) -> None:
    shutil.copy(loader._FOLDER / "libvsr_training.so", tmp_path)
    monkeypatch.setattr(loader, "_FOLDER", tmp_path)
    native_build.write_record(tmp_path / native_build.RECORD, ROOT / "native", "")
    assert problem() is None
    loader._found.cache_clear()
    native_build.write_record(tmp_path / native_build.RECORD, ROOT / "native" / "training", "")
    assert problem() == "its library was built from other sources than these"
    assert trains_in_torch()


def refused(*_: object) -> int:
    return 0


@needs_amx
def test_where_the_system_withholds_the_tile_unit_training_takes_torch(
    monkeypatch: pytest.MonkeyPatch, asked_anew: None
) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda _: SimpleNamespace(**dict.fromkeys(LOADED, refused)))
    assert problem() == "the system does not give AMX's tile unit"
    assert trains_in_torch()

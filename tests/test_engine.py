"""Devices, backends and the upscaler: what is asked for is what runs, or an error says why not."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from vsr.engine.backend import AUTO_ORDER, BACKENDS, backend_class, open_backend
from vsr.engine.device import choose_device
from vsr.engine.fitting import out_of_memory
from vsr.engine.torch_backend import TorchBackend, exact_convolutions, exact_on
from vsr.engine.upscaler import Upscaler
from vsr.errors import BackendError, ModelError, OutOfMemoryError, UsageError
from vsr.models.registry import MODELS
from vsr.types import (
    ChromaSite,
    Color,
    ColorRange,
    FrameBatch,
    Matrix,
    Mode,
    ModelPlan,
    pixel_format,
)

LIMITED = Color(Matrix.BT709, range=ColorRange.LIMITED, site=ChromaSite.LEFT)


def noise(count: int, height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.rand(count, 3, height, width, generator=generator) * 255


def batch_of(name: str, width: int, height: int, color: Color = LIMITED) -> FrameBatch:
    fmt = pixel_format(name)
    generator = torch.Generator().manual_seed(5)
    dtype = torch.uint8 if fmt.bits <= 8 else torch.uint16
    planes = tuple(
        torch.randint(0, 2**fmt.bits, (2, *fmt.plane_size(p, width, height)), generator=generator)
        .to(torch.int32)
        .to(dtype)
        for p in range(fmt.planes)
    )
    return FrameBatch(planes, fmt, width, height, color, (0, 1), (1, 1), Fraction(1, 25))


@pytest.mark.parametrize("name", sorted(BACKENDS))
def test_every_backend_keeps_the_protocol(name: str) -> None:
    kind = backend_class(name)
    problem = kind.problem("cpu")
    assert problem is None or problem
    if problem is not None:
        pytest.skip(problem)
    model = next(m for m in ("bicubic", "fdiwn") if kind.dtypes(m, "cpu"))
    backend = open_backend(name, ModelPlan(model, 3), "cpu", "float32")
    rgb = noise(2, 9, 7)
    kept = rgb.clone()
    large = backend(rgb)
    assert large.shape == (2, 3, 27, 21)
    assert large.dtype == torch.float32
    assert torch.equal(rgb, kept)
    assert (backend.scale, backend.device) == (3, torch.device("cpu"))
    assert bool(backend.weights_sha256) == MODELS[model].has_weights
    alone = torch.cat([backend(frame[None]) for frame in rgb])
    torch.testing.assert_close(large, alone, rtol=0, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
@pytest.mark.parametrize("name", ["native", "torch"])
def test_torchs_defaults_change_nothing(name: str, dtype: torch.dtype) -> None:
    if problem := backend_class(name).problem("cpu"):
        pytest.skip(problem)

    def enlarged() -> tuple[torch.Tensor, ...]:
        upscaler = Upscaler(2, "fdiwn-m", device="cpu", backend=name, dtype="float32")
        empty = replace(frames, planes=tuple(p[:0] for p in frames.planes), pts=(), durations=())
        return (upscaler(rgb), *upscaler(frames).planes, *upscaler(empty).planes)

    rgb, frames = noise(1, 5, 7), batch_of("yuva420p", 8, 6)
    expected = enlarged()
    try:  # as libraries that load models do for a while
        torch.set_default_dtype(dtype)
        torch.set_default_device("meta")
        result = enlarged()
        assert torch.get_default_dtype() == dtype
        assert torch.get_default_device() == torch.device("meta")
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
    for one, other in zip(result, expected, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert torch.equal(one, other)


def test_a_backend_nobody_knows_is_an_error() -> None:
    with pytest.raises(UsageError, match="no backend called 'tensorrt'"):
        choose_device("cpu", "tensorrt")


def test_auto_names_backends_that_exist() -> None:
    assert set(AUTO_ORDER) <= set(BACKENDS)


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("gpu", "'gpu' is not a device"),
        ("cuda:", "'cuda:' is not a device"),
        ("cuda:99", "there is no device cuda:99"),
    ],
)
def test_a_device_that_is_missing_is_an_error(device: str, said: str) -> None:
    with pytest.raises(BackendError, match=said):
        choose_device(device)


def test_a_devices_types_are_bounded_by_the_models() -> None:
    assert choose_device("cpu", "torch").dtypes == ("float32", "bfloat16")
    assert choose_device("cpu", model="bicubic").dtypes == ("float32",)
    with pytest.raises(ModelError, match="fdwin"):
        choose_device("cpu", model="fdwin")


@pytest.mark.parametrize(
    ("raised", "expected", "said"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), OutOfMemoryError, "smaller --batch"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
            OutOfMemoryError,
            "smaller --batch",
        ),
        (RuntimeError("CUDA error: an illegal memory access"), BackendError, "illegal memory"),
    ],
)
def test_the_devices_errors_become_ours(
    raised: Exception, expected: type[Exception], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = TorchBackend(ModelPlan("bicubic", 2), "cpu", "float32")

    def fail(*_: Any) -> torch.Tensor:
        raise raised

    monkeypatch.setattr(backend, "_model", fail)
    with pytest.raises(expected, match=said) as caught:
        backend(noise(1, 4, 4))
    assert caught.value.__cause__ is raised


@pytest.mark.parametrize(
    ("device", "raised", "expected", "said"),
    [
        ("cuda:0", RuntimeError("CUDA error: illegal access"), BackendError, "cuda:0 failed on"),
        ("cuda:0", RuntimeError("CUDA error: out of memory"), OutOfMemoryError, "or for copies to"),
        ("cuda:0", torch.OutOfMemoryError("full"), OutOfMemoryError, "out of memory on cuda:0 for"),
        ("cuda:0", RuntimeError("DefaultCPUAllocator: no"), OutOfMemoryError, "smaller --batch"),
        ("cuda:0", UsageError("frames"), UsageError, "frames"),
        ("cpu", RuntimeError("a mistake of ours"), RuntimeError, "a mistake of ours"),
    ],
)  # fmt: skip
def test_what_fails_around_the_network_becomes_ours(
    device: str, raised: Exception, expected: type[Exception], said: str
) -> None:
    with pytest.raises(expected, match=said) as caught, out_of_memory(torch.device(device), "two"):
        raise raised
    assert type(caught.value) is expected
    assert caught.value is raised or caught.value.__cause__ is raised


def test_a_gpu_failing_around_the_network_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planes in, RGB, planes out: what only a GPU does is not reached here."""
    upscaler = Upscaler(2, "bicubic", device="cpu")
    monkeypatch.setattr(upscaler, "_backend", SimpleNamespace(device=torch.device("cuda:0")))

    def fail(*_: Any) -> Any:
        raise RuntimeError("CUDA error: unspecified launch failure\nmore")

    monkeypatch.setattr("vsr.engine.upscaler.Upscaler._planes", fail)
    with pytest.raises(BackendError, match="cuda:0 failed on a batch of 2x11x13: CUDA error"):
        upscaler(batch_of("yuv420p", 13, 11))


def test_convolutions_stay_exact_while_another_thread_is_at_them() -> None:
    cudnn = torch.backends.cudnn
    both, first_left, seen = threading.Barrier(2), threading.Event(), []

    def first(x: torch.Tensor) -> torch.Tensor:
        both.wait(10)
        return x

    def second(x: torch.Tensor) -> torch.Tensor:
        both.wait(10)
        first_left.wait(10)
        seen.append((cudnn.allow_tf32, cudnn.deterministic))
        return x

    before = (cudnn.allow_tf32, cudnn.deterministic)
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(exact_convolutions(first), torch.zeros(1))
        other = pool.submit(exact_convolutions(second), torch.zeros(1))
        one.result()
        first_left.set()
        other.result()
    assert seen == [(False, True)]
    assert (cudnn.allow_tf32, cudnn.deterministic) == before


def test_on_a_gpu_alpha_is_not_rounded_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpolation is a convolution, for which cuDNN would take eleven bits."""
    seen = []

    class Bicubic:
        def __init__(self, scale: int) -> None: ...

        def to(self, _: torch.device) -> Bicubic:
            return self

        def __call__(self, alpha: torch.Tensor) -> torch.Tensor:
            seen.append(torch.backends.cudnn.allow_tf32)
            return alpha

    gpu = SimpleNamespace(device=torch.device("cuda:0"))
    monkeypatch.setattr("vsr.engine.upscaler.open_backend", lambda *_: gpu)
    for name in ("Pipeline", "CudaLayer"):
        monkeypatch.setattr(f"vsr.engine.upscaler.{name}", lambda *_: None)
    monkeypatch.setattr("vsr.engine.upscaler.Bicubic", Bicubic)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=True):
        Upscaler(2, "bicubic", device="cpu")._alpha(torch.zeros(1))
        exact_on(torch.device("cpu"), Bicubic(2))(torch.zeros(1))
    assert seen == [False, True]


def test_a_device_may_be_torchs_own() -> None:
    assert Upscaler(2, "bicubic", device=torch.device("cpu")).device == torch.device("cpu")
    with pytest.raises(BackendError, match="no device cuda:99"):
        Upscaler(2, device=torch.device("cuda:99"))


@pytest.mark.parametrize("mode", ["exact", "lagged"])
def test_no_frames_give_no_frames(mode: Mode) -> None:
    upscaler = Upscaler(3, "fdiwn-m", device="cpu", backend="torch", mode=mode)
    none = upscaler(torch.zeros(0, 3, 8, 7))
    assert (none.shape, none.dtype) == ((0, 3, 24, 21), torch.float32)
    for name, dtype in (("yuv420p10le", torch.uint16), ("yuva420p", torch.uint8)):
        source = batch_of(name, 13, 11)
        planes = tuple(plane[:0] for plane in source.planes)
        large = upscaler(replace(source, planes=planes, pts=(), durations=()))
        assert (len(large), large.width, large.height) == (0, 39, 33)
        assert [plane.shape for plane in large.planes] == [
            (0, *large.format.plane_size(p, 39, 33)) for p in range(large.format.planes)
        ]
        assert {plane.dtype for plane in large.planes} == {dtype}


def test_parts_of_a_batch_are_put_together_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that did not fit: its result must, but not a second time beside its parts."""
    upscaler = Upscaler(2, "bicubic", device="cpu")
    frames = noise(5, 6, 7)
    whole = upscaler(frames)
    upscaler._fitting.most = 2
    monkeypatch.setattr(torch, "cat", lambda *_: pytest.fail("all parts at once"))
    assert torch.equal(upscaler(frames), whole)

    def full(*_: Any, **__: Any) -> torch.Tensor:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(torch, "empty", full)
    with pytest.raises(OutOfMemoryError, match="batch of 5x3x6x7"):
        upscaler(frames)


@pytest.mark.parametrize("name", ["yuv420p", "yuv422p10le", "yuv444p12le", "gbrp", "gray"])
def test_a_batch_comes_back_in_its_own_samples(name: str) -> None:
    fmt = pixel_format(name)
    color = Color(Matrix.RGB, range=ColorRange.FULL) if fmt.family == "rgb" else LIMITED
    source = batch_of(name, 13, 11, color)
    large = Upscaler(2, "bicubic")(source)
    assert (large.width, large.height, large.format, large.color) == (26, 22, fmt, color)
    assert (large.pts, large.time_base) == (source.pts, source.time_base)
    for index, plane in enumerate(large.planes):
        assert plane.shape == (2, *fmt.plane_size(index, 26, 22))
        assert plane.dtype == source.planes[index].dtype


def test_alpha_goes_where_there_is_room_for_it() -> None:
    source = batch_of("yuva420p", 16, 12)
    upscaler = Upscaler(2, "bicubic")
    opaque = upscaler.upscale(source, pixel_format("yuv420p"), LIMITED)
    assert len(opaque.planes) == 3
    masked = upscaler.upscale(source, pixel_format("yuva444p10le"), LIMITED)
    assert masked.planes[3].shape == (2, 24, 32)
    # 8-bit alpha 0..255 spans 10-bit 0..1023: the mean tells that it was widened, not copied.
    assert (
        abs(masked.planes[3].float().mean() / 1023 - source.planes[3].float().mean() / 255) < 0.02
    )


@pytest.mark.cuda
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_cuda_agrees_with_the_cpu(scale: int) -> None:
    source = batch_of("yuv420p", 96, 64)
    exact = Upscaler(scale, "fdiwn", device="cpu")(source)
    for dtype, share in (("float32", 0.9999), ("float16", 0.999)):
        ours = Upscaler(scale, "fdiwn", device="cuda:0", dtype=dtype)(source)
        for a, b in zip(ours.planes, exact.planes, strict=True):
            close = ((a.int() - b.int()).abs() <= 1).float().mean()
            assert close >= share, f"{dtype}: {close:.5f} of the samples within a code"

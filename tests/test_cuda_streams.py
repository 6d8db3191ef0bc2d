"""Batches on three streams: the right results, and a host that waits only for what it reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from test_engine import LIMITED, batch_of
from torch import Tensor

from vsr.engine.cuda.streams import Layer, Pipeline, Ready
from vsr.engine.run import Clocks, upscaled
from vsr.engine.upscaler import Upscaler
from vsr.errors import BackendError, OutOfMemoryError
from vsr.types import FrameBatch, pixel_format

YUV = pixel_format("yuv420p")


class Late:
    """A device that does nothing until somebody waits: what is read too early is empty.

    Attributes:
        log: what was issued, as ``stream: what``. waits: how often the host waited.
    """

    def __init__(self, failure: Exception | None = None) -> None:
        self.log: list[str] = []
        self.waits = 0
        self._failure = failure
        self._on = "caller"
        self._names = iter(("upload", "network", "download"))
        self._pending: list[Callable[[], object]] = []

    def stream(self) -> str:
        return next(self._names)

    def current(self) -> str:
        return self._on

    @contextmanager
    def on(self, stream: str) -> Iterator[None]:
        before, self._on = self._on, stream
        yield
        self._on = before

    def hand_over(self, source: str, target: str, tensors: Sequence[Tensor]) -> None:  # noqa: ARG002
        self.log.append(f"{target} waits for {source}")

    def upload(self, plane: Tensor) -> Tensor:
        self.log.append(f"{self._on}: up")
        return plane.clone()

    def download(self, plane: Tensor) -> Tensor:
        self.log.append(f"{self._on}: down")
        empty = torch.zeros_like(plane)
        self._pending.append(lambda: empty.copy_(plane))
        return empty

    def event(self, stream: str) -> Any:  # noqa: ARG002
        pending, self._pending = self._pending, []
        layer = self

        class Event:
            def synchronize(self) -> None:
                layer.waits += 1
                if layer._failure is not None:
                    raise layer._failure
                with torch.inference_mode():
                    for copy in pending:
                        copy()

        return Event()


def on_streams(layer: Layer, scale: int = 2) -> Upscaler:
    upscaler = Upscaler(scale, "bicubic", device="cpu")
    upscaler._pipeline = Pipeline(layer)
    return upscaler


def batches(count: int) -> list[FrameBatch]:
    """Different frames, one after the other."""
    made = []
    for index in range(count):
        batch = batch_of("yuv420p", 16, 12)
        planes = tuple(plane.roll(index, 2) for plane in batch.planes)
        made.append(replace(batch, planes=planes, pts=(2 * index, 2 * index + 1)))
    return made


def same(ours: FrameBatch, expected: FrameBatch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(ours.planes, expected.planes, strict=True))


def test_each_part_has_its_stream_and_waits_for_the_one_before() -> None:
    layer = Late()
    on_streams(layer).upscale(batches(1)[0], YUV, LIMITED, wait=False)
    assert layer.log == [
        "upload waits for caller",
        *["upload: up"] * 3,
        "network waits for upload",
        "download waits for network",
        *["download: down"] * 3,
    ]


def test_issuing_waits_for_nothing_and_waiting_gives_the_result() -> None:
    layer, plain = Late(), Upscaler(2, "bicubic", device="cpu")
    upscaler = on_streams(layer)
    sources = batches(5)
    results = [upscaler.upscale(batch, YUV, LIMITED, wait=False) for batch in sources]
    assert layer.waits == 0
    for source, result in zip(sources, results, strict=True):
        expected = plain.upscale(source, YUV, LIMITED)
        assert not same(result, expected)
        result.ready.synchronize()
        assert same(result, expected)
    assert layer.waits == len(sources)
    waited = upscaler(sources[0])
    assert waited.ready is None
    assert same(waited, plain(sources[0]))


def test_a_run_waits_once_a_batch_and_where_a_result_is_shown_again() -> None:
    layer, plain = Late(), Upscaler(2, "bicubic", device="cpu")
    sources = batches(4)
    with upscaled(sources, on_streams(layer), YUV, LIMITED, Clocks(), batch=2) as items:
        results = list(items)
    assert layer.waits == len(sources)
    for source, result in zip(sources, results, strict=True):
        assert isinstance(result, FrameBatch)
        assert result.ready is None
        assert same(result, plain.upscale(source, YUV, LIMITED))

    again = [sources[0], replace(sources[0], pts=(2, 3)), sources[1]]
    with upscaled(again, on_streams(Late()), YUV, LIMITED, Clocks(), batch=2) as items:
        shown = [item for item in items if isinstance(item, FrameBatch)]
        expected = [plain.upscale(batch, YUV, LIMITED) for batch in again]
    for number in range(3):
        ours = torch.cat([item.planes[number] for item in shown])
        assert torch.equal(ours, torch.cat([item.planes[number] for item in expected]))


def test_parts_of_a_batch_that_did_not_fit_are_joined_when_they_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer, plain = Late(), Upscaler(2, "bicubic", device="cpu")
    upscaler = on_streams(layer)
    expected = plain.upscale(batches(1)[0], YUV, LIMITED)
    enlarge = upscaler._backend.__call__

    def small(x: Tensor, *_: Any) -> Tensor:
        if len(x) > 1:
            raise OutOfMemoryError("out of memory")
        return enlarge(x)

    monkeypatch.setattr(type(upscaler._backend), "__call__", lambda _, *x: small(*x))
    joined = upscaler.upscale(batches(1)[0], YUV, LIMITED, wait=False)
    assert joined.ready is None
    assert same(joined, expected)


def test_tensors_go_through_the_same_streams() -> None:
    layer, plain = Late(), Upscaler(2, "bicubic", device="cpu")
    x = torch.rand(1, 3, 8, 8) * 255
    assert torch.equal(on_streams(layer)(x), plain(x))
    assert layer.log == ["network waits for caller", "caller waits for network"]


def test_a_device_that_fails_says_so_to_whoever_waits() -> None:
    upscaler = on_streams(Late(RuntimeError("an illegal memory access was encountered")))
    result = upscaler.upscale(batches(1)[0], YUV, LIMITED, wait=False)
    with pytest.raises(
        BackendError, match="cpu: a batch of 2x12x16 failed: an illegal memory access"
    ):
        result.ready.synchronize()
    with (
        pytest.raises(BackendError, match="illegal memory access"),
        upscaled(batches(1), upscaler, YUV, LIMITED, Clocks(), batch=2) as items,
    ):
        list(items)


@pytest.mark.cuda
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_cuda_issues_batches_without_waiting() -> None:
    upscaler = Upscaler(2, device="cuda:0")
    plain = Upscaler(2, device="cpu", dtype="float32")
    sources = batches(6)
    for batch in sources[:2]:  # records the graph, builds the chroma filters
        upscaler.upscale(batch, YUV, LIMITED)
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        results = [upscaler.upscale(batch, YUV, LIMITED, wait=False) for batch in sources]
    finally:
        torch.cuda.set_sync_debug_mode(before)
    for source, result in zip(sources, results, strict=True):
        assert isinstance(result.ready, Ready)
        result.ready.synchronize()
        expected = plain.upscale(source, YUV, LIMITED)
        for a, b in zip(result.planes, expected.planes, strict=True):
            assert ((a.int() - b.int()).abs() <= 1).float().mean() >= 0.999

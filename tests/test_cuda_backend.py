"""Backend ``cuda``: what it computes, how it records graphs, and what happens when it cannot."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor
from torch.nn import Conv2d

from vsr.engine.backend import open_backend
from vsr.engine.cuda.backend import CudaBackend, Kernels
from vsr.engine.cuda.graphs import CudaRecorder, Graphs
from vsr.engine.device import choose_device
from vsr.engine.torch_backend import TorchBackend
from vsr.engine.upscaler import Upscaler
from vsr.errors import BackendError, OutOfMemoryError
from vsr.types import ModelPlan


def noise(count: int, height: int, width: int, device: str = "cpu") -> Tensor:
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(count, 3, -(-height // 8), -(-width // 8), generator=generator) * 255
    fine = torch.rand(count, 3, height, width, generator=generator) * 16
    large = coarse.repeat_interleave(8, 2).repeat_interleave(8, 3)[:, :, :height, :width]
    return (large + fine).clamp(0, 255).to(device)


def within_a_code(ours: Tensor, exact: Tensor) -> float:
    """Share of samples that differ by one code at most once both are rounded."""
    a, b = (x.cpu().clamp(0, 255).round() for x in (ours, exact))
    return ((a - b).abs() <= 1).float().mean().item()


class Eager:
    """Stands in for CUDA's recorder: a replay calls the work again."""

    def __init__(self, failure: Callable[[Tensor], Exception | None] = lambda _: None) -> None:
        self.failure = failure
        self.recorded: list[tuple[int, ...]] = []

    def warm_up(self, work: Callable[[Tensor], Tensor], example: Tensor) -> Tensor:
        work(example)
        return example.clone()

    def record(self, work: Callable[[Tensor], Tensor], source: Tensor) -> Eager.Recording:
        failure = self.failure(source)
        if failure is not None:
            raise failure
        self.recorded.append(tuple(source.shape))
        return Eager.Recording(work, source)

    class Recording:
        def __init__(self, work: Callable[[Tensor], Tensor], source: Tensor) -> None:
            self._work, self.source, self.result = work, source, work(source)

        def replay(self) -> None:
            self.result.copy_(self._work(self.source))


def double(x: Tensor) -> Tensor:
    return 2 * x


def test_a_graph_gives_what_the_work_gives_and_keeps_earlier_results() -> None:
    recorder = Eager()
    graphs = Graphs(double, recorder, [])
    frames = [noise(1, 5, 4) + i for i in range(3)]
    results = [graphs(frame) for frame in frames]
    assert all(torch.equal(r, 2 * f) for r, f in zip(results, frames, strict=True))
    assert recorder.recorded == [(1, 3, 5, 4)]


def test_part_of_a_batch_goes_through_the_whole_batchs_graph() -> None:
    recorder = Eager()
    graphs = Graphs(double, recorder, [])
    graphs(noise(4, 5, 4))
    part = noise(3, 5, 4)
    assert torch.equal(graphs(part), 2 * part)
    assert recorder.recorded == [(4, 3, 5, 4)]


def test_threads_do_not_get_each_others_pixels() -> None:
    """A second one comes while the first is between putting its frames in and taking them out."""
    inside, second_came = threading.Event(), threading.Event()

    class Slow(Eager):
        def record(self, work: Callable[[Tensor], Tensor], source: Tensor) -> Eager.Recording:
            made = super().record(work, source)
            replay = made.replay

            def slow() -> None:
                inside.set()
                second_came.wait(0.2)
                replay()

            made.replay = slow  # type: ignore[method-assign]
            return made

    graphs = Graphs(double, Slow(), [])
    one, other = noise(1, 5, 4), noise(1, 5, 4) + 50
    graphs(one)
    inside.clear()

    def second() -> Tensor:
        inside.wait(10)
        result = graphs(other)
        second_came.set()
        return result

    with ThreadPoolExecutor(1) as pool:
        later = pool.submit(second)
        assert torch.equal(graphs(one), 2 * one)
        assert torch.equal(later.result(), 2 * other)


def test_the_shape_used_longest_ago_is_forgotten() -> None:
    recorder = Eager()
    graphs = Graphs(double, recorder, [], most=2)
    for width in (3, 4, 3, 5, 3, 4):
        x = noise(1, 5, width)
        assert torch.equal(graphs(x), 2 * x)
    assert [shape[-1] for shape in recorder.recorded] == [3, 4, 5, 4]
    assert [shape[-1] for shape in graphs.shapes] == [3, 4]


def test_what_cannot_be_recorded_is_computed_all_the_same_and_said() -> None:
    error = RuntimeError("operation not permitted when stream is capturing\nCUDA kernel errors ...")
    recorder = Eager(lambda source: error if source.shape[-1] == 4 else None)
    notes: list[str] = []
    graphs = Graphs(double, recorder, notes)
    for width in (4, 4, 5, 4):
        x = noise(1, 5, width)
        assert torch.equal(graphs(x), 2 * x)
    assert len(notes) == 1
    assert "batch of 1x3x5x4 (operation not permitted when stream is capturing)" in notes[0]
    assert graphs.shapes == ((1, 3, 5, 5),)


@pytest.mark.parametrize(
    ("errors", "recorded"),
    [
        ([RuntimeError("invalidated")], True),
        ([RuntimeError("invalidated"), RuntimeError("invalidated")], False),
        ([torch.OutOfMemoryError("full")], False),
    ],
)
def test_a_recording_that_somebody_else_broke_is_made_again_once(
    errors: list[Exception], recorded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = list(errors)

    def record(work: Callable[[Tensor], Tensor], source: Tensor) -> Eager.Recording:
        if left:
            raise left.pop(0)
        return Eager.Recording(work, source)

    monkeypatch.setattr(CudaRecorder, "_record", staticmethod(record))
    source = noise(1, 5, 4)
    if recorded:
        assert torch.equal(CudaRecorder().record(double, source).result, 2 * source)
    else:
        with pytest.raises(type(errors[-1])):
            CudaRecorder().record(double, source)
    assert left == []


def test_recordings_make_room_for_a_shape_that_needs_it() -> None:
    calls: list[int] = []

    def work(x: Tensor) -> Tensor:
        calls.append(x.shape[-1])
        if calls.count(9) == 1 and x.shape[-1] == 9:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 2 * x

    graphs = Graphs(work, Eager(), [])
    graphs(noise(1, 5, 4))
    x = noise(1, 5, 9)
    assert torch.equal(graphs(x), 2 * x)
    assert graphs.shapes == ((1, 3, 5, 9),)


def test_a_batch_that_does_not_fit_is_not_the_graphs_fault() -> None:
    backend = CudaBackend(ModelPlan("fdiwn", 2), "cpu", "float32")

    def full(x: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    backend._fast = Graphs(full, Eager(), backend.notes)
    with pytest.raises(OutOfMemoryError, match="smaller --batch"):
        backend(noise(2, 8, 8))
    assert backend.notes == []


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_filling_up_channels_changes_nothing(scale: int) -> None:
    plan = ModelPlan("fdiwn", scale)
    x = noise(2, 11, 13)
    exact = TorchBackend(plan, "cpu", "float32")(x)
    backend = CudaBackend(plan, "cpu", "float32")
    torch.testing.assert_close(backend(x), exact, rtol=0, atol=2e-3)
    widths = [m.out_channels for m in backend._loaded.network.modules() if isinstance(m, Conv2d)]
    assert all(width % 8 == 0 for width in widths[1:-3])  # all but head and tail


def test_the_cpu_is_not_what_it_is_for() -> None:
    with pytest.raises(BackendError, match="it runs on NVIDIA GPUs"):
        open_backend("cuda", ModelPlan("fdiwn", 2), "cpu", "float32")
    assert "cuda" not in choose_device("cpu").backend


def test_its_notes_and_the_upscalers_are_told_in_their_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend = CudaBackend(ModelPlan("fdiwn", 2), "cpu", "float32")
    monkeypatch.setattr("vsr.engine.upscaler.open_backend", lambda *_: backend)
    upscaler = Upscaler(2, "fdiwn", device="cpu", backend="torch")
    backend.notes.append("first")

    def small(x: Tensor) -> Tensor:
        if len(x) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    backend._fast = small
    assert upscaler(noise(2, 8, 8)).shape == (2, 3, 16, 16)
    assert upscaler.notes[0] == "first"
    assert "goes on with 1 frame at a time" in upscaler.notes[1]


@pytest.mark.cuda
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("dtype", "share"), [("float32", 0.9999), ("float16", 0.999)])
def test_it_agrees_with_the_cpu(scale: int, dtype: str, share: float) -> None:
    plan = ModelPlan("fdiwn", scale)
    x = noise(2, 64, 96)
    exact = TorchBackend(plan, "cpu", "float32")(x)
    backend = CudaBackend(plan, "cuda:0", dtype)
    for _ in range(2):  # recording, replay
        assert within_a_code(backend(x.cuda()), exact) >= share
    assert backend.notes == []


@pytest.mark.cuda
@pytest.mark.parametrize("kernels", ["torch", "triton"])
def test_a_replay_equals_eager(kernels: Kernels) -> None:
    plan = ModelPlan("fdiwn", 2)
    graphs = CudaBackend(plan, "cuda:0", "float16", kernels=kernels)
    eager = CudaBackend(plan, "cuda:0", "float16", kernels=kernels, graphs=False)
    for seed, size in enumerate([(2, 33, 47), (1, 33, 47), (1, 64, 40), (2, 33, 47)]):
        x = noise(*size, device="cuda:0").roll(seed, 3)
        # A single frame goes through the recording of two, if there is one; for a batch of another
        # size cuDNN may sum in another order, in float16.
        same = x.expand(2, -1, -1, -1) if size == (1, 33, 47) else x
        torch.testing.assert_close(graphs(x), eager(same)[: len(x)], rtol=0, atol=1e-2)
    assert graphs.notes == []


@pytest.mark.cuda
@pytest.mark.slow
def test_compiled_agrees_with_eager() -> None:
    plan = ModelPlan("fdiwn", 2)
    x = noise(1, 64, 96)
    exact = TorchBackend(plan, "cpu", "float32")(x)
    backend = open_backend("cuda-compile", plan, "cuda:0", "float16")
    assert within_a_code(backend(x.cuda()), exact) >= 0.999


@pytest.mark.cuda
def test_auto_takes_it_where_there_is_a_gpu() -> None:
    facts = choose_device("auto")
    assert (facts.backend, facts.dtypes[0]) == ("cuda", "float16")

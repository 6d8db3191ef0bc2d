"""Fused kernels are held against torch's, and given up where they err."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vsr.engine.cuda.backend import CudaBackend
from vsr.engine.cuda.verified import Verified
from vsr.engine.torch_backend import TorchBackend
from vsr.models.whole_frame.statistics import Record, Replay
from vsr.types import ModelPlan


def plain(x: Tensor) -> Tensor:
    return 2 * x


def raising(error: Exception) -> Callable[[Tensor], Tensor]:
    def work(x: Tensor) -> Tensor:
        raise error

    return work


def verified(
    fast: Callable[[Tensor], Tensor], notes: list[str], *, required: bool = False
) -> Verified:
    return Verified(fast, plain, failures=(RuntimeError,), notes=notes, required=required)


def test_what_agrees_is_used_and_compared_once_a_shape() -> None:
    compared: list[int] = []
    notes: list[str] = []

    def counted(x: Tensor) -> Tensor:
        compared.append(len(x))
        return plain(x)

    work = Verified(lambda x: 2 * x + 0.1, counted, failures=(RuntimeError,), notes=notes)
    for frames in (2, 2, 3, 2):
        x = torch.full((frames, 3, 4, 5), 7.0)
        assert torch.equal(work(x), 2 * x + 0.1)
    assert compared == [1, 1]
    assert notes == []


@pytest.mark.parametrize(
    ("fast", "said"),
    [
        (lambda x: 2 * x + 9, "are 9 codes off"),
        (lambda x: x * float("nan"), "are nan codes off"),
        (raising(RuntimeError("no kernel image\nfor this device")), "failed: no kernel image."),
    ],
)
def test_what_errs_is_given_up_for_good_and_said_once(
    fast: Callable[[Tensor], Tensor], said: str
) -> None:
    notes: list[str] = []
    work = verified(fast, notes)
    for frames in (2, 1, 2):
        x = torch.full((frames, 3, 4, 5), 7.0)
        assert torch.equal(work(x), 2 * x)
    assert len(notes) == 1
    assert said in notes[0]
    with pytest.raises(RuntimeError, match=r"fused kernel"):
        verified(fast, [], required=True)(torch.ones(1, 3, 4, 5))


def test_a_full_memory_is_not_the_kernels_fault() -> None:
    notes: list[str] = []
    work = verified(raising(torch.OutOfMemoryError("CUDA out of memory")), notes)
    with pytest.raises(torch.OutOfMemoryError):
        work(torch.ones(1, 3, 4, 5))
    assert notes == []


def test_statistics_from_elsewhere_weight_the_same_way() -> None:
    plan = ModelPlan("fdiwn", 2)
    backend, exact = (kind(plan, "cpu", "float32") for kind in (CudaBackend, TorchBackend))
    first = torch.rand(1, 3, 9, 11, generator=torch.Generator().manual_seed(0)) * 255
    record = Record()
    exact(first, record)
    second = first.roll(3, 2)
    ours = backend(second, Replay(record.measured))
    torch.testing.assert_close(ours, exact(second, Replay(record.measured)), rtol=0, atol=2e-3)

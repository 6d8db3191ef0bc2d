"""A step as a CUDA graph: replayed, it does what the step does, with what is new in each."""

from __future__ import annotations

import copy
from typing import Any, cast

import pytest
import recorded_steps
import tiny_recipe
import torch
from torch import Tensor, nn

import vsr.models.fdiwn_recipe as fdiwn_recipe
from vsr.training.graph import WARM_UP, CudaStepRecorder
from vsr.training.learner import Learner
from vsr.training.recipe import Recipe
from vsr.training.settings import TrainSettings

CPU = torch.device("cpu")
TINY, REAL = cast(Recipe, tiny_recipe), cast(Recipe, fdiwn_recipe)


def tensors_of(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        return [t for item in value.values() for t in tensors_of(item)]
    return [t for item in value for t in tensors_of(item)] if isinstance(value, list) else []


def learners(
    recipe: Recipe, settings: TrainSettings, fails: str = ""
) -> tuple[Learner, Learner, recorded_steps.CpuRecorder]:
    """One whose steps are launched anew, one whose steps are replayed; equal so far."""
    torch.manual_seed(0)
    net = recipe.build("fdiwn-m", settings.scale)
    plain = Learner(copy.deepcopy(net), recipe, settings, CPU)
    recorder = recorded_steps.CpuRecorder(lambda: tensors_of(graphed.state_dict()), fails)
    graphed = Learner(net, recipe, settings, CPU, recorder)
    return plain, graphed, recorder


def batch(step: int, patch: int, scale: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(step)
    shapes = ((2, 3, patch, patch), (2, 3, scale * patch, scale * patch))
    lr, hr = (torch.rand(shape, generator=draw) * 255 for shape in shapes)
    return lr, hr


def same(a: Learner, b: Learner) -> bool:
    ours, theirs = tensors_of(a.state_dict()), tensors_of(b.state_dict())
    return len(ours) == len(theirs) and all(map(torch.equal, ours, theirs))


@pytest.mark.parametrize("optimiser", ["adam", "adamw", "muon"])
@pytest.mark.parametrize("loss", ["l1", "charbonnier", "psnr"])
def test_replayed_steps_are_the_steps(optimiser: str, loss: str) -> None:
    decay = 0.01 if optimiser == "adamw" else 0.0
    settings = TrainSettings(optimiser=optimiser, loss=loss, weight_decay=decay)  # type: ignore[arg-type]
    plain, graphed, recorder = learners(TINY, settings)
    for step in range(WARM_UP + 5):
        lr, hr = batch(step, 8, 2)
        if step == WARM_UP + 2:
            lr[0, 0, 0, 0] = torch.nan  # its gradient is not finite: the step is left out
        rate = 1e-3 / (1 + step)
        losses = [learner.update(lr, hr, rate) for learner in (plain, graphed)]
        torch.testing.assert_close(*losses, rtol=0, atol=0, equal_nan=True)
        assert same(plain, graphed), f"step {step}"
    assert (recorder.warmed, recorder.replayed) == (WARM_UP, 5)
    assert graphed.skipped == 1
    assert not graphed.notes


def test_a_loss_is_the_step_s_own() -> None:
    _, graphed, _ = learners(TINY, TrainSettings())
    losses = [graphed.update(*batch(step, 8, 2), 1e-3) for step in range(WARM_UP + 3)]
    kept = [loss.item() for loss in losses]
    graphed.update(*batch(99, 8, 2), 1e-3)
    assert [loss.item() for loss in losses] == kept
    assert len(set(kept)) == len(kept)


def test_what_is_loaded_is_recorded_anew() -> None:
    plain, graphed, recorder = learners(TINY, TrainSettings())
    for step in range(WARM_UP + 2):
        for learner in (plain, graphed):
            learner.update(*batch(step, 8, 2), 1e-3)
    state = copy.deepcopy(plain.state_dict())
    plain.update(*batch(77, 8, 2), 1e-3)
    for learner in (plain, graphed):
        learner.load_state_dict(copy.deepcopy(state))
    for step in range(WARM_UP + 2):
        for learner in (plain, graphed):
            learner.update(*batch(step, 8, 2), 5e-4)
    assert same(plain, graphed)
    assert recorder.warmed == 2 * WARM_UP


def test_where_none_can_be_recorded_steps_go_on_and_a_note_says_so() -> None:
    plain, graphed, recorder = learners(TINY, TrainSettings(), fails="no room\nmore about it")
    for step in range(WARM_UP + 3):
        for learner in (plain, graphed):
            learner.update(*batch(step, 8, 2), 1e-3)
    assert same(plain, graphed)
    assert recorder.replayed == 0
    [note] = graphed.notes
    assert "could not be recorded as a CUDA graph (no room)" in note


class _Looks(nn.Module):
    """Reads a number of the device in the middle of a step."""

    def __init__(self) -> None:
        super().__init__()
        self.net = tiny_recipe.build("", 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.net(x)
        return y * 2 if y.mean().item() > 1e9 else y


def test_the_recorder_sees_what_a_graph_cannot_hold() -> None:
    recorder = recorded_steps.CpuRecorder(lambda: tensors_of(learner.state_dict()))
    learner = Learner(_Looks(), TINY, TrainSettings(), CPU, recorder)
    for step in range(WARM_UP + 1):
        learner.update(*batch(step, 8, 2), 1e-3)
    assert "not permitted when stream is capturing" in learner.notes[0]


def test_fdiwn_s_own_step_can_be_recorded() -> None:
    settings = TrainSettings(model="fdiwn-m", loss="psnr")
    plain, graphed, recorder = learners(REAL, settings)
    for step in range(WARM_UP + 2):
        lr, hr = batch(step, 8, 2)
        assert torch.equal(plain.update(lr, hr, 1e-3), graphed.update(lr, hr, 1e-3))
    assert same(plain, graphed)
    assert recorder.replayed == 2, graphed.notes


@pytest.mark.cuda
@pytest.mark.parametrize("recipe", [TINY, REAL], ids=["tiny", "fdiwn-m"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_on_a_gpu_too(recipe: Recipe, precision: str) -> None:
    gpu = torch.device("cuda")
    settings = TrainSettings(model="fdiwn-m", loss="psnr", precision=precision)  # type: ignore[arg-type]
    torch.manual_seed(0)
    net = recipe.build("fdiwn-m", 2)
    plain = Learner(copy.deepcopy(net), recipe, settings, gpu)
    graphed = Learner(net, recipe, settings, gpu, CudaStepRecorder())
    for step in range(WARM_UP + 5):
        lr, hr = (t.to(gpu) for t in batch(step, 16, 2))
        a, b = (learner.update(lr, hr, 1e-4).item() for learner in (plain, graphed))
        # Kernels that add by atomics differ in last bits from one launch to the next.
        assert a == pytest.approx(b, rel=1e-3)
    assert not graphed.notes
    for ours, theirs in zip(plain.net.parameters(), graphed.net.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=1e-3)

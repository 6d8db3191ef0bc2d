"""The training loop: from a store and a network to a folder with weights, log and curves."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vsr.models.weights import save_weights
from vsr.training.data.crops import Batches
from vsr.training.data.images import CURVES
from vsr.training.graph import WARM_UP
from vsr.training.learner import Learner
from vsr.training.records import Log, LogRow, load_checkpoint, plot, save_checkpoint
from vsr.training.schedule import DEFAULT_STEPS, Schedule, steps_within
from vsr.training.settings import TrainSettings
from vsr.training.validation import validate

__all__ = ["CHECKPOINT", "LOG", "Loop", "Outcome", "Stepped", "Validated"]

CHECKPOINT, LOG = "checkpoint.pt", "log.csv"
#: Steps to a line of the log.
_LOG_EVERY = 10
#: A run with a time budget is measured on so many steps, after so many that compile,
#: warm up and record.
_WARM_STEPS, _MEASURED_STEPS = WARM_UP + 1, 6
#: The schedule is fitted anew if the steps left would be wrong by more than this share.
_TOLERANCE = 0.05


@dataclass(frozen=True, slots=True)
class Stepped:
    """How far the run is: steps done, in all, the loss, seconds a step, seconds left."""

    step: int
    total: int
    loss: float
    step_seconds: float
    eta: float


@dataclass(frozen=True, slots=True)
class Validated:
    """A validation: after which step, PSNR on Y in dB, and whether it is the best so far."""

    step: int
    psnr: float
    best: bool


Event = Stepped | Validated


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to.

    Attributes:
        steps: done in all. seconds: all its processes together.
        first_psnr: validation before the first step, dB. best_psnr, best_step: of the weights kept.
        step_ms: milliseconds a step took in this process, waiting included; 0 if it took none.
        waiting: share of that spent waiting for data.
        skipped: steps left out because their gradient was not finite.
        notes: what a person should know.
    """

    steps: int
    seconds: float
    first_psnr: float
    best_psnr: float
    best_step: int
    step_ms: float
    waiting: float
    skipped: int
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Meter:
    """Time since a line of the log."""

    clock: Callable[[], float]
    begun: float = 0.0
    steps: int = 0
    waited: float = 0.0
    losses: list[Tensor] = field(default_factory=list)

    def restart(self) -> None:
        self.begun, self.steps, self.waited = self.clock(), 0, 0.0
        self.losses.clear()


class Loop:
    """One run, from its first step or its checkpoint to its end.

    Args:
        learner: network and optimiser before the first step.
        batches: the data.
        pairs: what is validated on, see :func:`~vsr.training.validation.validation_pairs`.
        folder: of the run; it exists.
        weights: the file that gets the best weights.
        metadata: of that file; steps and validation are added.
        facts: what must be the same when the run goes on, such as the data's fingerprint.
        on_event: called after every step and validation.
        clock: seconds; for tests.
        begun: the clock when the command began: a budget counts from there.
    """

    def __init__(
        self,
        learner: Learner,
        batches: Batches,
        pairs: list[tuple[Tensor, Tensor]],
        folder: Path,
        weights: Path,
        metadata: dict[str, str],
        *,
        on_event: Callable[[Event], None] = lambda _: None,
        clock: Callable[[], float] = time.perf_counter,
        begun: float | None = None,
    ) -> None:
        self.learner, self.batches, self.pairs = learner, batches, pairs
        self.folder, self.weights, self.metadata = folder, weights, metadata
        self.settings: TrainSettings = learner.settings
        self._tell, self._clock = on_event, clock
        self._begun = clock() if begun is None else begun
        self._spent = 0.0
        self._meter = _Meter(clock)
        self._took: list[float] = []
        self._waited = 0.0
        self._first = self._best = -1.0
        self._best_step = 0
        self._validation_seconds = 0.0
        self.schedule = self._new_schedule(
            self.settings.steps or DEFAULT_STEPS[self.settings.schedule]
        )

    def _new_schedule(self, total: int) -> Schedule:
        s = self.settings
        return Schedule(s.schedule, s.rate, total, s.warmup)

    @property
    def seconds(self) -> float:
        """Since the run began, all its processes together, without the time between them."""
        return self._spent + self._clock() - self._begun

    def restore(self) -> None:
        """Go on from the folder's checkpoint, if there is one.

        Raises:
            InputError: it is damaged.
        """
        checkpoint = self.folder / CHECKPOINT
        if checkpoint.is_file():
            self._resume(load_checkpoint(checkpoint))

    def run(self) -> Outcome:
        """Train to the end; returns what came of it."""
        if self._first < 0:
            self._first = self._best = self._validate()
            self._keep_best(self._first)
            if self.settings.time_budget:
                self._measure()
        self.log = Log(self.folder / LOG, self.learner.step)
        self.batches.seek(self.learner.step)
        self._meter.restart()
        while self.learner.step < self.schedule.total:
            self._step()
        note = plot(self.folder / CURVES, self.log.read(), self.weights.stem, self._first)
        return self._outcome(note)

    def _step(self) -> None:
        meter, step = self._meter, self.learner.step
        begun = self._clock()
        lr, hr = self.batches.take()
        meter.waited += self._clock() - begun
        rate = self.schedule.rate(step)
        meter.losses.append(self.learner.update(lr, hr, rate))
        meter.steps += 1
        step += 1
        last = step == self.schedule.total
        checked = last or step % self.settings.validate_every == 0
        saved = last or step % self.settings.save_every == 0
        # A checkpoint never begins in the middle of a line.
        if checked or saved or step % _LOG_EVERY == 0:
            self._line(step, rate, checked)
        if saved:
            if self.settings.time_budget:
                self._fit_again(step)
            self._save()

    def _line(self, step: int, rate: float, checked: bool) -> None:
        """Write a line of the log; what the device has not done yet is waited for."""
        meter = self._meter
        loss = float(torch.stack(meter.losses).mean())
        seconds = max(self._clock() - meter.begun, 1e-9)
        took, waiting = seconds / meter.steps, meter.waited / seconds
        self._took.append(took)
        self._waited += waiting
        psnr = self._validate() if checked else None
        self.log.add(LogRow(step, rate, loss, psnr, took * 1000, waiting, self.seconds))
        left = (self.schedule.total - step) * (took + self._overhead())
        self._tell(Stepped(step, self.schedule.total, loss, took, left))
        if psnr is not None:
            better = psnr > self._best
            self._tell(Validated(step, psnr, better))
            if better:
                self._keep_best(psnr)
        meter.restart()

    def _validate(self) -> float:
        begun = self._clock()
        learner = self.learner
        psnr = validate(learner.averaged, self.pairs, self.settings.scale, learner.device)
        self._validation_seconds = self._clock() - begun
        return psnr

    def _overhead(self) -> float:
        """Seconds of validation per step, on average."""
        return self._validation_seconds / self.settings.validate_every

    def _keep_best(self, psnr: float) -> None:
        self._best, self._best_step = psnr, self.learner.step
        metadata = self.metadata | {
            "steps": str(self.learner.step),
            "validation_psnr_y": f"{psnr:.3f}",
        }
        save_weights(self.weights, self.learner.averaged.state_dict(), metadata)

    def _measure(self) -> None:
        """Choose the number of steps; what the measured steps have learnt is forgotten.

        So a run that was given a time is the run that is given its number of steps.
        """
        before = _copied(self.learner.state_dict())
        took = []
        self.batches.seek(0)
        for number in range(_WARM_STEPS + _MEASURED_STEPS):
            begun = self._clock()
            lr, hr = self.batches.take()
            float(self.learner.update(lr, hr, self.settings.rate * 0.01))
            if number >= _WARM_STEPS:
                took.append(self._clock() - begun)
        self.learner.load_state_dict(before)
        left = self.settings.time_budget - self.seconds - self._validation_seconds
        self.schedule = self._new_schedule(steps_within(left, took, self._overhead()))

    def _fit_again(self, step: int) -> None:
        left = self.settings.time_budget - self.seconds
        fits = step + steps_within(left, self._took[-10:], self._overhead())
        remaining = self.schedule.total - step
        if remaining and abs(fits - self.schedule.total) > _TOLERANCE * remaining:
            self.schedule = self.schedule.fitted(step, fits)

    def _save(self) -> None:
        content = {
            "learner": self.learner.state_dict(),
            "schedule": asdict(self.schedule),
            "seconds": self.seconds,
            "first": self._first,
            "best": self._best,
            "best_step": self._best_step,
            "validation_seconds": self._validation_seconds,
        }
        save_checkpoint(self.folder / CHECKPOINT, content)

    def _resume(self, state: dict[str, Any]) -> None:
        self.learner.load_state_dict(state["learner"])
        self.schedule = Schedule(**state["schedule"])
        self._spent = state["seconds"]
        self._first, self._best = state["first"], state["best"]
        self._best_step = state["best_step"]
        self._validation_seconds = state["validation_seconds"]

    def _outcome(self, *notes: str) -> Outcome:
        lines = max(len(self._took), 1)
        return Outcome(
            steps=self.learner.step,
            seconds=self.seconds,
            first_psnr=self._first,
            best_psnr=self._best,
            best_step=self._best_step,
            step_ms=1000 * sum(self._took) / lines,
            waiting=self._waited / lines,
            skipped=self.learner.skipped,
            notes=tuple(note for note in [*self.learner.notes, *notes] if note),
        )


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return value

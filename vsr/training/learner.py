"""A network being trained: one step, and all that a later process needs to go on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from vsr.training.average import MovingAverage, share_of_step
from vsr.training.clipping import UsualNorm
from vsr.training.flat import FlatParameters
from vsr.training.graph import StepGraph, StepRecorder
from vsr.training.losses import LOSSES
from vsr.training.muon import Muon, split
from vsr.training.recipe import Recipe
from vsr.training.settings import TrainSettings

__all__ = ["Learner"]


class Learner:
    """Network, moving average, optimiser, usual norm of the gradient, and the step they are at.

    Attributes:
        net: what is trained. averaged: the same network with the moving average, for evaluation.
        step: steps taken.
        notes: what a person should know.

    Args:
        net: the network as it is before the first step.
        recipe: how it is trained.
        settings: the run's.
        device: where.
        recorder: records a step, to replay it from then on; ``None``: each is launched anew.
    """

    def __init__(
        self,
        net: nn.Module,
        recipe: Recipe,
        settings: TrainSettings,
        device: torch.device,
        recorder: StepRecorder | None = None,
    ) -> None:
        self.settings, self.device = settings, device
        if device.type == "cuda":
            # On a CPU what reads the weights wants them contiguous, or orders them anew itself.
            net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.net = net.to(device)
        self.averaged = copy.deepcopy(self.net).eval().requires_grad_(requires_grad=False)
        matrices, groups = _groups(self.net, recipe, settings)
        by_adam = [FlatParameters(group["params"]) for group in groups]
        by_muon = [FlatParameters(matrices)] if matrices else []
        self._parts = by_adam + by_muon
        self.muon = Muon(by_muon[0].stacks()) if by_muon else None
        matrices, of_average = _groups(self.averaged, recipe, settings)
        self._averages = [
            MovingAverage(FlatParameters(parameters).values.detach())
            for parameters in [*(group["params"] for group in of_average), matrices]
            if parameters
        ]
        self.usual = UsualNorm(settings.clip, device)
        self.step = 0
        self._skipped = torch.zeros((), device=device)
        # What differs between steps is on the device, where a graph of a step finds it.
        self._rate, self._share = (torch.zeros((), device=device) for _ in range(2))
        self._rates = [torch.zeros((), device=device) for _ in groups]
        kind = torch.optim.AdamW if settings.optimiser == "adamw" else torch.optim.Adam
        self.optimiser: torch.optim.Optimizer = kind(
            [
                group | {"params": [part.values], "lr": rate}
                for group, part, rate in zip(groups, by_adam, self._rates, strict=True)
            ],
            betas=(0.9, 0.99),
            weight_decay=settings.weight_decay,
            fused=True,
            capturable=device.type == "cuda",
        )
        self.notes: list[str] = []
        self._recorder = recorder
        self._take = self._new_take()

    def update(self, lr: Tensor, hr: Tensor, rate: float) -> Tensor:
        """One step.

        Args:
            lr: ``(N, 3, H, W)`` float32 codes. hr: ``(N, 3, scale * H, scale * W)``, likewise.
            rate: learning rate.

        Returns:
            The loss, codes or dB, a scalar on the device.
        """
        self._rate.fill_(rate)
        for group, scaled in zip(self.optimiser.param_groups, self._rates, strict=True):
            scaled.fill_(rate * group["share"])
        self._share.fill_(share_of_step(self.step, self.settings.average))
        cudnn = torch.backends.cudnn
        # Head and tails are float32: torch lets cuDNN round to eleven bits unless told otherwise.
        with cudnn.flags(
            enabled=cudnn.enabled,
            benchmark=cudnn.benchmark,
            deterministic=cudnn.deterministic,
            allow_tf32=False,
        ):
            loss = self._take(lr, hr)
        self.step += 1
        return loss

    def _new_take(self) -> Callable[[Tensor, Tensor], Tensor]:
        """What takes a step: a graph of it if there is a recorder, but none recorded so far."""
        if self._recorder is None:
            return self._work
        return StepGraph(self._work, self._recorder, self.notes, self._drop_gradients)

    def _work(self, lr: Tensor, hr: Tensor) -> Tensor:
        """A step, all that differs between steps being in tensors; the loss."""
        half = self.settings.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            sr = self.net(lr.contiguous(memory_format=torch.channels_last))
        loss = LOSSES[self.settings.loss](sr, hr)
        torch.autograd.backward(loss)
        for part in self._parts:
            part.take_gradients()
        gradients = [part.gradient for part in self._parts]
        norm = nn.utils.get_total_norm(gradients)
        torch._foreach_mul_(gradients, self.usual.factor(norm))
        # The fused optimiser leaves a step out where this is 1, without the CPU having to look.
        broken = (~torch.isfinite(norm)).float()
        self.optimiser.found_inf = broken  # type: ignore[attr-defined]
        self.optimiser.step()
        if self.muon is not None:
            self.muon.step(self._rate, broken)
        self.usual.note(norm)
        self._skipped += broken
        for average, part in zip(self._averages, self._parts, strict=True):
            average.update(part.values, self._share)
        return loss.detach()

    def _drop_gradients(self) -> None:
        self.net.zero_grad(set_to_none=True)

    @property
    def skipped(self) -> int:
        """Steps that were left out because their gradient was not finite."""
        return int(self._skipped)

    def state_dict(self) -> dict[str, Any]:
        """Everything the next step depends on."""
        return {
            "step": self.step,
            "skipped": self._skipped,
            "net": self.net.state_dict(),
            "average": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "muon": self.muon.state_dict() if self.muon is not None else None,
            "usual": self.usual.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave, bit for bit."""
        self.net.load_state_dict(state["net"])
        self.averaged.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.muon is not None:
            self.muon.load_state_dict(state["muon"])
        self.usual.load_state_dict(state["usual"])
        self.step = state["step"]
        self._skipped.copy_(state["skipped"])
        # The optimiser has taken the loaded rates, and its state is elsewhere than before.
        for group, rate in zip(self.optimiser.param_groups, self._rates, strict=True):
            group["lr"], group["capturable"] = rate, self.device.type == "cuda"
        self._take = self._new_take()


def _groups(
    net: nn.Module, recipe: Recipe, settings: TrainSettings
) -> tuple[list[nn.Parameter], list[dict[str, Any]]]:
    """Matrices for Muon, none if that is not the optimiser, and the groups for Adam."""
    groups = recipe.parameter_groups(net)
    return split(groups) if settings.optimiser == "muon" else ([], groups)

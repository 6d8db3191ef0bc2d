"""Settings for the machine at hand."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any

import torch

from vsr.engine.device import choose_device
from vsr.errors import BackendError
from vsr.processor import bfloat16_instructions
from vsr.training.recipe import recipe_for
from vsr.training.settings import TrainSettings

__all__ = ["product_type", "settle"]


def product_type(settings: TrainSettings) -> torch.dtype:
    """Of the products."""
    return torch.bfloat16 if settings.precision == "bfloat16" else torch.float32


def _prefers_bfloat16(device: str) -> bool:
    """Whether a device (``auto``, ``cpu``, ``cuda:N``) multiplies bfloat16 faster than float32."""
    if choose_device(device).device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(bfloat16_instructions())


def settle(device: str, precision: str, compiled: str, **wishes: Any) -> TrainSettings:
    """Settings with what ``auto`` leaves open decided for this machine.

    Args:
        device: as for :func:`~pipelines.train.train`.
        precision: ``float32``, ``bfloat16``, or ``auto``: the one the device is faster at.
        compiled: ``on``, ``off``, or ``auto``: where there is a C++ compiler, which torch needs for
            GPUs too, the network gains by it, and the run is long enough to repay the minute it
            takes.
        **wishes: the other fields of :class:`TrainSettings`.

    Raises:
        UsageError: the settings make no sense.
        BackendError: compiling was asked for and there is no compiler.
    """
    if precision == "auto":
        precision = "bfloat16" if _prefers_bfloat16(device) else "float32"
    compiler = any(shutil.which(name) for name in ("g++", "clang++", "c++"))
    where = torch.device(choose_device(device).device)
    if compiled == "on" and not compiler:
        raise BackendError(
            "compiling the network needs a C++ compiler, and none is installed",
            remedy="Install g++ or clang++, or train with --compile off.",
        )
    steps, budget = wishes.get("steps", 0), wishes.get("time_budget", 0)
    long = budget >= 600 if budget else steps == 0 or steps >= 500
    settings = TrainSettings(precision=precision, **wishes)  # type: ignore[arg-type]
    if compiled != "auto":
        return replace(settings, compiled=compiled == "on")
    recipe = recipe_for(settings.model, settings.scale)
    helps = recipe.compiling_helps(where, product_type(settings), settings.patch)
    return replace(settings, compiled=helps and bool(compiler) and long)

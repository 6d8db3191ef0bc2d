"""The networks that can be trained, and what the loop asks of each."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from vsr.errors import UsageError
from vsr.models.registry import model_spec

__all__ = ["RECIPES", "Recipe", "recipe_for"]

#: model -> the module that says how it is trained, imported when used.
RECIPES: dict[str, str] = {
    "fdiwn": "vsr.models.fdiwn_recipe",
    "fdiwn-m": "vsr.models.fdiwn_recipe",
}


class Recipe(Protocol):
    """What a recipe module has; see :mod:`vsr.models.fdiwn_recipe`."""

    @staticmethod
    def build(variant: str, scale: int, start: Mapping[str, Tensor] | None = None) -> nn.Module:
        """The network before its first step."""
        ...

    @staticmethod
    def parameter_groups(net: nn.Module) -> list[dict[str, Any]]:
        """The optimiser's groups, each with its ``share`` of the learning rate."""
        ...

    @staticmethod
    def arrange(net: nn.Module, device: torch.device, *, compiled: bool) -> None:
        """Arrange in place for speed; ``compiled``: by torch too, what is worth it there."""
        ...

    @staticmethod
    def compiling_helps(device: torch.device, dtype: torch.dtype, patch: int) -> bool:
        """Whether a step of products in ``dtype`` is faster compiled there."""
        ...

    @staticmethod
    def how_it_runs(net: nn.Module, device: torch.device, dtype: torch.dtype, patch: int) -> str:
        """What computes the network, for people; empty if there is nothing to say."""
        ...


def recipe_for(model: str, scale: int) -> Recipe:
    """How ``model`` is trained.

    Raises:
        ModelError: there is no such model.
        UsageError: it has nothing to train, or not this scale.
    """
    spec = model_spec(model)
    if model not in RECIPES:
        raise UsageError(
            f"{model} has no weights to train", remedy=f"Train one of {', '.join(RECIPES)}."
        )
    if scale not in spec.scales:
        raise UsageError(
            f"{model} has no scale {scale}",
            remedy=f"Its scales are {', '.join(map(str, spec.scales))}.",
        )
    return cast(Recipe, import_module(RECIPES[model]))

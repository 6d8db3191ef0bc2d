"""A network of two convolutions and its recipe, for tests of the loop, which takes any module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["arrange", "build", "compiling_helps", "how_it_runs", "parameter_groups"]


def build(variant: str, scale: int, start: Mapping[str, Tensor] | None = None) -> nn.Module:
    wide = nn.Conv2d(3, 8, 3, padding=1)
    net = nn.Sequential(wide, nn.ReLU(), nn.Conv2d(8, 3 * scale**2, 1), nn.PixelShuffle(scale))
    if start is not None:
        net.load_state_dict(start)
    return net


def parameter_groups(net: nn.Module) -> list[dict[str, Any]]:
    return [{"params": list(net.parameters()), "share": 1.0}]


def arrange(net: nn.Module, device: torch.device, *, compiled: bool) -> None:
    """Nothing."""


def compiling_helps(device: torch.device, dtype: torch.dtype, patch: int) -> bool:
    return False


def how_it_runs(net: nn.Module, device: torch.device, dtype: torch.dtype, patch: int) -> str:
    return ""

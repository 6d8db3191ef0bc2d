"""Channels filled up with zeros to what tensor cores take.

Tensor cores multiply 16 input channels at a time, and cuDNN leaves them alone where the number of
16-bit channels is no multiple of eight. FDIWN's wide paths narrow to 12 channels and, at scale 4,
widen to 54, 60 and 108. A channel that is zero throughout changes nothing.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - what everybody calls it
from torch import nn

from vsr.models.fdiwn_inference import FdiwnInference

__all__ = ["UNIT", "pad_channels"]

#: Channels of one multiplication.
UNIT = 16


def pad_channels(net: FdiwnInference) -> None:
    """Fill up every wide path of ``net`` to multiples of :data:`UNIT`, but not to 24 channels.

    24 are a multiple of eight, and the maps between stages are too large to grow by a third.
    """
    for module in net.groups.modules():
        expand, reduce, conv = (getattr(module, n, None) for n in ("expand", "reduce", "conv"))
        if all(isinstance(part, nn.Conv2d) for part in (expand, reduce, conv)):
            _join(expand, reduce)
            _join(reduce, conv)


def _join(first: nn.Module | None, second: nn.Module | None) -> None:
    """Fill up the channels between two convolutions."""
    assert isinstance(first, nn.Conv2d)  # noqa: S101 - for the type checker
    assert isinstance(second, nn.Conv2d)  # noqa: S101 - for the type checker
    channels = first.out_channels
    missing = 0 if channels % 8 == 0 else -channels % UNIT
    if missing == 0:
        return
    first.weight = _filled(first.weight, (0, 0, 0, 0, 0, 0, 0, missing))
    if first.bias is not None:
        first.bias = _filled(first.bias, (0, missing))
    second.weight = _filled(second.weight, (0, 0, 0, 0, 0, missing))
    first.out_channels = second.in_channels = channels + missing


def _filled(values: torch.Tensor, widths: tuple[int, ...]) -> nn.Parameter:
    filled = F.pad(values.detach(), widths)
    if filled.dim() == 4:  # a convolution's weight
        filled = filled.contiguous(memory_format=torch.channels_last)
    return nn.Parameter(filled, requires_grad=False)

"""The inference form's parameters as the fused kernels read them."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - what everybody calls it
from torch import Tensor, nn

from vsr.engine.cuda.kernels.conv import Taps
from vsr.engine.cuda.kernels.gates import CoefficientWeights, GateWeights
from vsr.engine.cuda.kernels.grid import FLAT
from vsr.engine.cuda.kernels.narrow import Narrow
from vsr.models import fdiwn_inference as form
from vsr.models.fdiwn import CHANNELS, MIN_VARIANCE

__all__ = ["calibration", "coefficient_weights", "gate_weights", "narrow", "taps"]

#: Inputs that one multiplication takes.
_UNIT = 16
#: Hidden values of a coefficient's networks, filled up to a power of two.
_HIDDEN = 4


def gate_weights(gate: form._Gate) -> GateWeights:
    """A gate's coefficients; a column that no channel has stays closed to everything."""
    slope, offset, by_mean = (
        _columns(values.float().flatten(), FLAT)
        for values in (gate.slope, gate.offset, gate.by_mean)
    )
    return GateWeights(slope, offset, by_mean, float(gate.eps))


def coefficient_weights(coefficient: form._Coefficient) -> CoefficientWeights:
    """A coefficient's two networks, one after the other."""

    def both(part: str) -> tuple[Tensor, Tensor]:
        mean, deviation = (coefficient.get_buffer(f"{n}_{part}") for n in ("mean", "deviation"))
        return mean.float(), deviation.float()

    def filled(values: tuple[Tensor, Tensor], *shape: int) -> Tensor:
        return torch.stack([_filled(v, *shape) for v in values])

    excite_mean, excite_deviation = both("excite")
    return CoefficientWeights(
        squeeze=filled(both("squeeze"), _HIDDEN, FLAT),
        squeeze_bias=filled(both("squeeze_bias"), _HIDDEN),
        excite=filled((excite_mean.t(), excite_deviation.t()), _HIDDEN, FLAT),
        excite_bias=filled(both("excite_bias"), FLAT),
        least=MIN_VARIANCE,
    )


def narrow(unit: form._Wide) -> Narrow:
    """Expand and reduce of a wide path; inputs of 48 channels are two branches of 24."""
    expand, reduce = unit.expand, unit.reduce
    wide = _power(expand.out_channels)
    branches = _runs(expand.weight.flatten(1).t(), 0)
    stored = reduce.out_channels if reduce.out_channels % 8 == 0 else _UNIT
    low = _power(stored)
    return Narrow(
        expand=torch.cat([_filled(branch, FLAT, wide) for branch in branches]),
        expand_bias=_bias(expand, wide),
        reduce=_filled(reduce.weight.flatten(1).t(), wide, low),
        reduce_bias=_bias(reduce, low),
        channels=stored,
    )


def taps(conv: nn.Conv2d) -> Taps:
    """A 3x3 convolution to 24 channels or twice as many."""
    inputs = conv.in_channels if conv.in_channels % 8 == 0 else _UNIT
    filled = -(-inputs // _UNIT) * _UNIT
    halves = _runs(conv.weight.permute(2, 3, 1, 0).flatten(0, 1), 2)
    weights = [F.pad(h, (0, FLAT - CHANNELS, 0, filled - conv.in_channels)) for h in halves]
    bias = conv.weight.new_zeros(conv.out_channels) if conv.bias is None else conv.bias
    biases = [_columns(half.float(), FLAT) for half in _runs(bias, 0)]
    return Taps(torch.cat(weights, 2).contiguous(), torch.cat(biases), inputs)


def calibration(conv: nn.Conv2d) -> Tensor:
    """A 1x1 convolution of both branches, ``(2, 32, 32)``: branch, input, output."""
    branches = _runs(conv.weight.flatten(1).t(), 0)
    return torch.stack([_filled(branch, FLAT, FLAT) for branch in branches])


def _runs(values: Tensor, axis: int) -> tuple[Tensor, ...]:
    """Runs of 24 channels along an axis."""
    return values.chunk(values.shape[axis] // CHANNELS, axis)


def _power(channels: int) -> int:
    """The next power of two that tensor cores take."""
    return max(_UNIT, 1 << (channels - 1).bit_length())


def _bias(conv: nn.Conv2d, width: int) -> Tensor:
    assert conv.bias is not None  # noqa: S101 - the type checker does not know which have
    return _columns(conv.bias.float(), width)


def _columns(values: Tensor, width: int) -> Tensor:
    return _filled(values, width)


def _filled(values: Tensor, *shape: int) -> Tensor:
    """``values`` in the corner of zeros of ``shape``, contiguous and without gradient."""
    filled = values.new_zeros(shape)
    filled[tuple(slice(0, n) for n in values.shape)] = values.detach()
    return filled

"""The inference form's parameters as the fused kernels read them."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - what everybody calls it
from torch import Tensor, nn

from vsr.engine.cuda.kernels.conv import Taps, depth
from vsr.engine.cuda.kernels.ends import Merge
from vsr.engine.cuda.kernels.gates import CoefficientWeights, GateWeights
from vsr.engine.cuda.kernels.grid import FLAT
from vsr.engine.cuda.kernels.narrow import Narrow
from vsr.models import fdiwn_inference as form
from vsr.models.fdiwn import CHANNELS, MIN_VARIANCE

__all__ = [
    "calibration",
    "coefficient_weights",
    "gate_weights",
    "merge",
    "narrow",
    "pass_on",
    "taps",
]

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


def coefficient_weights(first: form._Coefficient, second: form._Coefficient) -> CoefficientWeights:
    """Two coefficients' networks, one after the other."""

    def part(name: str, *shape: int, across: bool = False) -> Tensor:
        def of(coefficient: form._Coefficient, of_what: str) -> Tensor:
            values = coefficient.get_buffer(f"{of_what}_{name}").float()
            return _filled(values.t() if across else values, *shape)

        return torch.stack(
            [torch.stack([of(c, "mean"), of(c, "deviation")]) for c in (first, second)]
        )

    return CoefficientWeights(
        squeeze=part("squeeze", _HIDDEN, FLAT),
        squeeze_bias=part("squeeze_bias", _HIDDEN),
        excite=part("excite", _HIDDEN, FLAT, across=True),
        excite_bias=part("excite_bias", FLAT),
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
    return _taps(conv.weight, _bias_of(conv))


def pass_on(group: form._Fswg) -> tuple[Taps, Taps]:
    """What :func:`vsr.engine.cuda.kernels.ends.pass_on` convolves two maps with."""
    bias = torch.cat([_bias_of(group.skip), _bias_of(group.merge1)])
    nothing = bias.new_zeros(CHANNELS)
    of_both = group.merge1.weight
    of_o1 = torch.cat([group.skip.weight, of_both[:, :CHANNELS]])
    return _taps(of_o1, bias), _taps(of_both[:, CHANNELS:], nothing)


def merge(group: form._Fswg) -> Merge:
    """A group's end."""
    of_both = group.merge2.weight[group.natural]
    bias = _bias_of(group.merge2)[group.natural]
    return Merge(
        first=_taps(of_both[:, :CHANNELS], bias),
        second=_taps(of_both[:, CHANNELS:], torch.zeros_like(bias)),
        natural=_columns(group.natural, FLAT).int(),
        body_scale=group.body_scale,
        skip_scale=group.skip_scale,
        unit_skip=group.wirw.skip_scale,
    )


def _taps(weight: Tensor, bias: Tensor) -> Taps:
    """``(O, I, 3, 3)`` and ``(O,)`` as kernels read them."""
    channels = weight.shape[1] if weight.shape[1] % 8 == 0 else _UNIT
    missing = channels - weight.shape[1]
    rows = F.pad(weight.permute(2, 3, 1, 0), (0, 0, 0, missing)).flatten(0, 2)
    deep = depth(channels)
    filled = -(-len(rows) // deep) * deep
    weights = torch.cat([_filled(half, filled, FLAT) for half in _runs(rows, 1)], 1)
    biases = [_columns(half.float(), FLAT) for half in _runs(bias, 0)]
    return Taps(weights, torch.cat(biases), channels)


def _bias_of(conv: nn.Conv2d) -> Tensor:
    return conv.weight.new_zeros(conv.out_channels) if conv.bias is None else conv.bias


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

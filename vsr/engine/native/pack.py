"""The inference form's parameters as the one array that the C++ engine reads.

``native/parameters.cpp`` is the mirror of this file: it takes the values in the order in which they
are written here. Integers are stored as float32, which is exact for all that occur.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn

from vsr.models.fdiwn import CHANNELS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from vsr.models import fdiwn_inference as form

__all__ = ["Packer", "pack_trunk"]

#: Output channels that the engine computes together.
_BLOCK = 6
_HALF = CHANNELS // 2


class Packer:
    """Collects values in the engine's order."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.float32]] = []

    def array(self) -> NDArray[np.float32]:
        """Everything so far, contiguous."""
        return np.concatenate(self._parts)

    def numbers(self, *values: float) -> None:
        """Scalars, integers or not."""
        self._parts.append(np.asarray(values, np.float32))

    def tensor(self, values: Tensor) -> None:
        """A tensor's values in their order, row by row."""
        self._parts.append(values.detach().float().contiguous().numpy().ravel())

    def pointwise(self, weight: Tensor, bias: Tensor | None) -> None:
        """A 1x1 convolution, ``(outputs, inputs, 1, 1)``; outputs are filled up to whole blocks."""
        matrix = weight.detach().flatten(1).float()
        outputs, inputs = matrix.shape
        filled = matrix.new_zeros(-outputs % _BLOCK, inputs)
        offsets = matrix.new_zeros(outputs) if bias is None else bias.detach().float()
        self.numbers(inputs, outputs + len(filled))
        self.tensor(torch.cat([matrix, filled]))
        self.tensor(torch.cat([offsets, matrix.new_zeros(len(filled))]))

    def convolution(self, weight: Tensor, bias: Tensor | None, places: Sequence[int]) -> None:
        """A 3x3 convolution to 24 channels, ``(24, inputs, 3, 3)``.

        Outputs that read the same inputs are computed together, from these inputs alone: a grouped
        convolution that was made dense costs what it did.

        Args:
            weight: its kernels. bias: ``(24,)``, or ``None``.
            places: where in the line each input lies.
        """
        weight = weight.detach().float()
        bias = weight.new_zeros(len(weight)) if bias is None else bias.detach().float()
        blocks = _blocks(weight)
        order = list(dict.fromkeys(i for _, inputs in blocks for i in inputs))
        self.numbers(len(order), *(places[i] for i in order))
        self.numbers(len(blocks))
        for outputs, inputs in blocks:
            self.numbers(*outputs, order.index(inputs[0]), len(inputs))
            self.tensor(weight[outputs][:, inputs])
            self.tensor(bias[outputs])

    def gate(self, gate: form._Gate) -> None:
        """A shuffle attention without its shuffle."""
        for values in (gate.slope, gate.offset, gate.by_mean):
            self.tensor(values)
        self.numbers(gate.eps)

    def wide(self, unit: form._Wide, inputs: Sequence[int], reduced_at: int) -> None:
        """Expand, reduce, 3x3 and gate.

        Args:
            unit: the wide path.
            inputs: which of its inputs are read, in the order in which they lie in the line; the
                others' weights are zero.
            reduced_at: where in the line the reduced channels begin.
        """
        expand, hidden = unit.expand, unit.expand.weight.shape[0]
        reduce = unit.reduce.weight
        filled = reduce.new_zeros(reduce.shape[0], -hidden % _BLOCK, 1, 1)
        self.pointwise(expand.weight[:, list(inputs)], expand.bias)
        self.pointwise(torch.cat([reduce, filled], 1), unit.reduce.bias)
        reduced = range(reduced_at, reduced_at + reduce.shape[0])
        self.convolution(unit.conv.weight, unit.conv.bias, reduced)
        self.gate(unit.gate)

    def wirw(self, unit: form._Wirw, reduced_at: int = 0) -> None:
        """A WIRW, of which the line has the reduced channels alone."""
        self.wide(unit.wide, range(CHANNELS), reduced_at)
        self.numbers(unit.skip_scale)

    def wcrw(self, unit: form._DistilledWcrw, order: Tensor) -> None:
        """A WCRW with the distilled half's convolution.

        Its line: distilled half, remaining half, reduced channels. ``order`` says which channel of
        the training form each stored one is, hence which half it is in.
        """
        halves = [torch.where(order < _HALF)[0].tolist(), torch.where(order >= _HALF)[0].tolist()]
        distilled, remaining = halves
        self.numbers(*distilled, *remaining)
        self.wide(unit.wide, remaining, CHANNELS)
        weight, bias = unit.shortcut_and_distil.weight, _bias(unit.shortcut_and_distil)
        self.convolution(weight[:CHANNELS, remaining], bias[:CHANNELS], range(_HALF, CHANNELS))
        self.convolution(weight[CHANNELS:, distilled], bias[CHANNELS:], range(_HALF))

    def coefficient(self, unit: form._Coefficient) -> None:
        """Two small networks on the channels' means and deviations."""
        for name in ("mean", "deviation"):
            for part in ("squeeze", "squeeze_bias", "excite", "excite_bias"):
                self.tensor(unit.get_buffer(f"{name}_{part}"))

    def wdib(self, block: form._Wdib, order: Tensor) -> None:
        """A block whose input is stored in ``order``."""
        self.wirw(block.wirw1)
        self.wirw(block.wirw2)
        self.wirw(block.wirw3)
        self.wirw(block.wirw4, _HALF)  # computed beside wirw3
        for wcrw in (block.wcrw1, block.wcrw2):
            self.wcrw(wcrw, order)
        for coefficient in (
            block.coefficient_a1,
            block.coefficient_b1,
            block.coefficient_a2,
            block.coefficient_b2,
        ):
            self.coefficient(coefficient)
        both = range(2 * CHANNELS)
        self.wide(block.fuse, both, 2 * CHANNELS)
        self.convolution(block.fuse_shortcut.weight, block.fuse_shortcut.bias, both)
        self.pointwise(block.calibrate.weight, block.calibrate.bias)
        self.gate(block.gate)

    def fswg(self, group: form._Fswg) -> None:
        """A group; its last merge leaves the channels in their natural order."""
        order = torch.arange(CHANNELS)
        for block in (group.wdib1, group.wdib2, group.wdib3):
            self.wdib(block, order)
            order = block.out_order
        both = range(2 * CHANNELS)
        self.convolution(group.skip.weight, group.skip.bias, range(CHANNELS))
        self.convolution(group.merge1.weight, group.merge1.bias, both)
        self.convolution(group.merge2.weight[group.natural], group.merge2.bias, both)
        self.wirw(group.wirw)
        self.tensor(group.natural)
        self.numbers(group.body_scale, group.skip_scale)


def pack_trunk(net: form.FdiwnInference) -> NDArray[np.float32]:
    """The trunk's parameters, one-dimensional float32; head and tail stay with torch."""
    packer = Packer()
    packer.numbers(len(net.groups))
    for group in net.groups:
        packer.fswg(cast("form._Fswg", group))
    packer.numbers(len(net.order), *net.order)
    return packer.array()


def _bias(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None  # noqa: S101 - the type checker does not know which have
    return conv.bias


def _blocks(weight: Tensor) -> list[tuple[list[int], list[int]]]:
    """Outputs in sixes and the inputs each six reads.

    Six outputs that read exactly the same inputs where the weight's zeros allow it; otherwise all
    blocks read all the inputs.
    """
    reads = weight.abs().amax((2, 3)) > 0
    by_inputs: dict[tuple[int, ...], list[int]] = {}
    for output, row in enumerate(reads):
        by_inputs.setdefault(tuple(torch.where(row)[0].tolist()), []).append(output)
    inputs_once = [i for inputs in by_inputs for i in inputs]
    separate = len(inputs_once) == len(set(inputs_once)) == weight.shape[1]
    if separate and all(len(outputs) % _BLOCK == 0 for outputs in by_inputs.values()):
        return [
            (outputs[at : at + _BLOCK], list(inputs))
            for inputs, outputs in by_inputs.items()
            for at in range(0, len(outputs), _BLOCK)
        ]
    every = list(range(weight.shape[1]))
    return [(block, every) for block in _chunks(range(weight.shape[0]), _BLOCK)]


def _chunks(values: Iterable[int], size: int) -> list[list[int]]:
    listed = list(values)
    return [listed[at : at + size] for at in range(0, len(listed), size)]

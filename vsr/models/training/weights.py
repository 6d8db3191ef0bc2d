"""The weights of FDIWN's trunk in training as torch reads them, made once a group and step.

Weight normalisation, the order of the channels, scalars that multiply convolutions, and rounding to
16 bits. ``native/training/prepare.h`` does the same in C++.

An order says which channel of the training form each stored channel is; see
:mod:`vsr.models.training.trunk`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from vsr.models.fdiwn import CHANNELS, Coefficient, Fswg, ShuffleAttention, Wcrw, Wdib, Wirw

__all__ = [
    "CoefficientWeights",
    "FswgWeights",
    "GateWeights",
    "WcrwWeights",
    "WdibWeights",
    "WideWeights",
    "WirwWeights",
    "merging_of",
    "orders_of",
    "prepare_rest",
    "prepare_wdib",
]


def _shuffled(channels: int, groups: int) -> Tensor:
    """The channel shuffle as indices: shuffled channel ``j`` is channel ``_shuffled(..)[j]``."""
    j = torch.arange(channels)
    return (j % groups) * (channels // groups) + j // groups


class Orders(NamedTuple):
    """Index tensors for blocks and groups.

    Attributes:
        stored: which channel each stored channel is. both: the same over two features in a row.
        before: which channel before its shuffle a unit's stored output channel is.
        after: the order that a block leaves its output in.
    """

    stored: Tensor
    both: Tensor
    before: Tensor
    after: Tensor


def orders_of(stored: Tensor) -> Orders:
    """What follows from the order that a block reads its input in."""
    shuffled = _shuffled(CHANNELS, 2)
    both = torch.cat([stored, stored + CHANNELS])
    return Orders(stored, both, shuffled[stored], torch.argsort(shuffled)[stored])


class GateWeights(NamedTuple):
    """``sigmoid(a t + b)``: ``a`` is slope / deviation, ``b`` is offset + (by_mean - a) mean."""

    slope: Tensor
    offset: Tensor
    by_mean: Tensor


class WideWeights(NamedTuple):
    """Weights of expand, reduce and 3x3, the gate's coefficients, and the unit's scalar."""

    expand: Tensor
    expand_bias: Tensor
    reduce: Tensor
    reduce_bias: Tensor
    conv: Tensor
    conv_bias: Tensor
    gate: GateWeights
    scale: Tensor


class WirwWeights(NamedTuple):
    """A WIRW, and what its input is multiplied by."""

    wide: WideWeights
    skip: Tensor


class WcrwWeights(NamedTuple):
    """A WCRW on the remaining half and the distilled half's convolution, over all channels."""

    wide: WideWeights
    both: Tensor
    both_bias: Tensor


class MlpWeights(NamedTuple):
    squeeze: Tensor
    squeeze_bias: Tensor
    excite: Tensor
    excite_bias: Tensor


class CoefficientWeights(NamedTuple):
    """Two perceptrons, for the mean and for the deviation."""

    mean: MlpWeights
    deviation: MlpWeights


class WdibWeights(NamedTuple):
    """A block. ``fuse`` expands to the calibration's outputs too, which are its last."""

    wirw: tuple[WirwWeights, WirwWeights, WirwWeights, WirwWeights]
    wcrw: tuple[WcrwWeights, WcrwWeights]
    coefficients: tuple[
        CoefficientWeights, CoefficientWeights, CoefficientWeights, CoefficientWeights
    ]
    fuse: WideWeights
    fuse_shortcut: Tensor
    fuse_shortcut_bias: Tensor
    gate: GateWeights


class FswgWeights(NamedTuple):
    """A group. ``natural`` puts channels back into their order, by a product."""

    blocks: tuple[WdibWeights, WdibWeights, WdibWeights]
    skip: Tensor
    merge1: Tensor
    merge2: Tensor
    wirw: WirwWeights
    body_scale: Tensor
    natural: Tensor


def _prepare_gate(attention: ShuffleAttention, order: Tensor) -> GateWeights:
    return GateWeights(*(t.index_select(1, order) for t in attention.coefficients()))


def _kernel(weight: Tensor, dtype: torch.dtype) -> Tensor:
    return weight.to(dtype, memory_format=torch.channels_last)


def _prepare_wide(
    unit: Wirw | Wcrw, expand: Tensor, before: Tensor, dtype: torch.dtype
) -> WideWeights:
    wide = unit.wide
    return WideWeights(
        expand.flatten(1).to(dtype),
        wide.expand.bias,
        wide.reduce.weight.flatten(1).to(dtype),
        wide.reduce.bias.to(dtype),
        _kernel(wide.conv.weight.index_select(0, before), dtype),
        wide.conv.bias.index_select(0, before).to(dtype),
        _prepare_gate(wide.attention, before),
        unit.wide_scale,
    )


def _prepare_wirw(unit: Wirw, orders: Orders, dtype: torch.dtype) -> WirwWeights:
    expand = unit.wide.expand.weight.index_select(1, orders.stored)
    return WirwWeights(_prepare_wide(unit, expand, orders.before, dtype), unit.skip_scale)


def _prepare_wcrw(unit: Wcrw, distil: nn.Conv2d, orders: Orders, dtype: torch.dtype) -> WcrwWeights:
    """The stored order mixes the halves: both read all channels, zero weights for the other's."""
    stored = orders.stored

    def remaining(weight: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(weight), weight], 1).index_select(1, stored)

    def distilled(weight: Tensor) -> Tensor:
        return torch.cat([weight, torch.zeros_like(weight)], 1).index_select(1, stored)

    k = unit.skip_scale
    bias = unit.shortcut.bias
    assert bias is not None  # noqa: S101 - for the type checker: the shortcut has one
    shortcut = remaining(unit.shortcut.weight).index_select(0, stored) * k
    return WcrwWeights(
        _prepare_wide(unit, remaining(unit.wide.expand.weight), orders.before, dtype),
        _kernel(torch.cat([shortcut, distilled(distil.weight).index_select(0, stored)]), dtype),
        torch.cat([bias.index_select(0, stored) * k, torch.zeros_like(bias)]).to(dtype),
    )


def _prepare_coefficient(coefficient: Coefficient, order: Tensor) -> CoefficientWeights:
    mean, deviation = (
        MlpWeights(
            mlp.squeeze.weight.index_select(1, order),
            mlp.squeeze.bias,
            mlp.excite.weight.index_select(0, order),
            mlp.excite.bias.index_select(0, order),
        )
        for mlp in (coefficient.from_mean, coefficient.from_deviation)
    )
    return CoefficientWeights(mean, deviation)


def prepare_wdib(block: Wdib, orders: Orders, dtype: torch.dtype) -> WdibWeights:
    """A block's, which reads its input in the order ``orders.stored``."""
    stored = orders.stored
    ones = torch.ones_like(stored, dtype=torch.float32)
    scales = torch.cat([block.scale_a * ones, block.scale_b * ones]).view(1, -1, 1, 1)

    def from_both(weight: Tensor) -> Tensor:
        return (weight * scales).index_select(1, orders.both)

    fuse, k = block.fuse, block.fuse.skip_scale
    bias = fuse.shortcut.bias
    assert bias is not None  # noqa: S101 - for the type checker: the shortcut has one
    expand = torch.cat([fuse.wide.expand.weight, block.calibrate.weight.index_select(0, stored)])
    return WdibWeights(
        tuple(
            _prepare_wirw(unit, orders, dtype)
            for unit in (block.wirw1, block.wirw2, block.wirw3, block.wirw4)
        ),  # type: ignore[arg-type]
        (
            _prepare_wcrw(block.wcrw1, block.distil2, orders, dtype),
            _prepare_wcrw(block.wcrw2, block.distil1, orders, dtype),
        ),
        tuple(
            _prepare_coefficient(c, stored)
            for c in (
                block.coefficient_a1,
                block.coefficient_b1,
                block.coefficient_a2,
                block.coefficient_b2,
            )
        ),  # type: ignore[arg-type]
        _prepare_wide(fuse, from_both(expand), orders.before, dtype),
        _kernel(from_both(fuse.shortcut.weight).index_select(0, stored) * k, dtype),
        (bias.index_select(0, stored) * k).to(dtype),
        _prepare_gate(block.attention, stored),
    )


def _dense(grouped: nn.Conv2d, mask: Tensor, source: Tensor, rows: Tensor) -> Tensor:
    """A grouped convolution after a channel shuffle, as a dense weight.

    Args:
        grouped: the training form's. mask: 1 where an output reads an input, ``(C, 2 C, 1, 1)``.
        source: which of its group's inputs each stored input is. rows: the order of its outputs.
    """
    return (grouped.weight.index_select(1, source) * mask).index_select(0, rows)


class Merging(NamedTuple):
    """How a group's grouped convolutions read stored channels; see :func:`_dense`."""

    first: Tensor
    second: Tensor
    third: Tensor
    source1: Tensor
    mask1: Tensor
    source2: Tensor
    mask2: Tensor
    natural: Tensor


def merging_of(first: Tensor, second: Tensor, third: Tensor) -> Merging:
    """From the orders that a group's blocks leave their outputs in."""

    def reads(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        groups = 4
        place = torch.argsort(_shuffled(2 * CHANNELS, groups))[torch.cat([a, b + CHANNELS])]
        inputs, outputs = 2 * CHANNELS // groups, CHANNELS // groups
        mask = place // inputs == (torch.arange(CHANNELS) // outputs)[:, None]
        return place % inputs, mask[:, :, None, None].float()

    natural = torch.eye(CHANNELS)[torch.argsort(third)]
    return Merging(first, second, third, *reads(first, second), *reads(third, third), natural)


def prepare_rest(
    group: Fswg,
    blocks: tuple[WdibWeights, WdibWeights, WdibWeights],
    orders: Orders,
    merging: Merging,
    dtype: torch.dtype,
) -> FswgWeights:
    """A group's, from its ``blocks``'; ``orders`` are those of its input."""
    m = merging
    skip = group.skip.weight.index_select(1, m.first).index_select(0, m.second)
    wirw = _prepare_wirw(group.wirw, orders, dtype)
    k = group.skip_scale
    return FswgWeights(
        blocks,
        _kernel(skip, dtype),
        _kernel(_dense(group.merge1, m.mask1, m.source1, m.third), dtype),
        _kernel(_dense(group.merge2, m.mask2, m.source2, m.third), dtype),
        WirwWeights(wirw.wide._replace(scale=wirw.wide.scale * k), wirw.skip * k),
        group.body_scale,
        m.natural.to(dtype),
    )

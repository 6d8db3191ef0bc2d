"""FDIWN's trunk as it is trained on a CPU: the training form's function, arranged for speed.

Same parameters, same gradients, up to rounding. What differs:

* No channel is ever shuffled. A shuffle attention leaves its channels where they are and the
  weights that read them are permuted instead, as in :mod:`vsr.models.fdiwn_inference`. A shuffle
  in channels-last memory keeps a compiler from vectorising whatever it is fused with, and the
  halves of a split are no longer contiguous; nearly half of a step went there.
* Convolutions that read the same features are one.
* Effective weights (weight normalisation, permutation, rounding to 16 bits) are made once for a
  group and step, not for each of its two to four uses.
* A 1x1 convolution's gradients are matrix products.

The weights are made in :mod:`vsr.models.training.weights`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812 - what everybody calls it
from torch import Tensor

from vsr.models.fdiwn import CHANNELS, MIN_VARIANCE, NORM_EPS, Fdiwn, Fswg, channel_statistics
from vsr.models.training.weights import (
    CoefficientWeights,
    FswgWeights,
    GateWeights,
    WcrwWeights,
    WdibWeights,
    WideWeights,
    WirwWeights,
    merging_of,
    orders_of,
    prepare_rest,
    prepare_wdib,
)
from vsr.models.trunk_native import Group, library, problem

__all__ = ["TrainingTrunk", "native_problem"]

Compiler = Callable[[Callable[..., Any]], Callable[..., Any]]
#: A group's index, the sum over the trunk, what to multiply it by: that plus the group's result.
GroupRun = Callable[[int, Tensor, float], Tensor]


def _pointwise(x: Tensor, weight: Tensor) -> Tensor:
    """A 1x1 convolution without its bias, as a matrix product."""
    return F.linear(x.permute(0, 2, 3, 1), weight).permute(0, 3, 1, 2)


def _gate(t: Tensor, gate: GateWeights) -> Tensor:
    """Shuffle attention without its shuffle: what to multiply ``t`` by, float32."""
    mean, variance = channel_statistics(t)
    a = gate.slope * torch.rsqrt(variance + NORM_EPS)
    b = gate.offset + (gate.by_mean - a) * mean
    return torch.sigmoid(a * t.float() + b)


def _scaled(scale: Tensor, like: Tensor) -> Tensor:
    """A unit's scalar for each image and channel: its gradient is then summed with the gate's."""
    return scale.view(1, 1, 1, 1).expand(like.shape[0], like.shape[1], 1, 1)


def _wide(x: Tensor, w: WideWeights, expanded: Tensor | None = None) -> Tensor:
    if expanded is None:
        expanded = _pointwise(x, w.expand)
    # Rounded before the ReLU: its result is kept for the gradient then, and not a mask of bits.
    hidden = F.relu((expanded + w.expand_bias.view(1, -1, 1, 1)).to(x.dtype))
    reduced = F.conv2d(hidden, w.reduce[:, :, None, None], w.reduce_bias)
    t = F.conv2d(reduced, w.conv, w.conv_bias, padding=1)
    return _scaled(w.scale, t) * (t.float() * _gate(t, w.gate))


def _wirw(x: Tensor, w: WirwWeights) -> Tensor:
    """Float32."""
    return _wide(x, w.wide) + _scaled(w.skip, x) * x.float()


def _wcrw(x: Tensor, w: WcrwWeights) -> tuple[Tensor, Tensor]:
    """The unit's result, and the distilled features' before their sigmoid; float32."""
    shortcut, distilled = F.conv2d(x, w.both, w.both_bias, padding=1).chunk(2, 1)
    return _wide(x, w.wide) + shortcut.float(), distilled.float()


def _coefficient(x: Tensor, w: CoefficientWeights) -> Tensor:
    mean, variance = channel_statistics(x)
    deviation = variance.clamp_min(MIN_VARIANCE).sqrt()
    gate = torch.zeros_like(mean).flatten(1)
    for mlp, value in zip(w, (mean, deviation), strict=True):
        hidden = F.relu(F.linear(value.flatten(1), mlp.squeeze, mlp.squeeze_bias))
        gate = gate + torch.sigmoid(F.relu(F.linear(hidden, mlp.excite, mlp.excite_bias)))
    return (0.5 * gate)[:, :, None, None]


def _wdib(x: Tensor, w: WdibWeights) -> Tensor:
    dtype = x.dtype
    a1c, b1c, a2c, b2c = w.coefficients
    p = F.leaky_relu(_wirw(x, w.wirw[0]).to(dtype), 0.05)
    a, p_distilled = _wcrw(p, w.wcrw[0])
    a = a.to(dtype)
    b1 = (_coefficient(a, a1c) * a.float() + x.float()).to(dtype)
    a1 = (_coefficient(x, b1c) * x.float() + a.float()).to(dtype)

    q = F.leaky_relu(_wirw(b1, w.wirw[1]).to(dtype), 0.05)
    b, q_distilled = _wcrw(q, w.wcrw[1])
    b = b.to(dtype)
    b2 = (_coefficient(a1, a2c) * a1.float() + b.float()) * torch.sigmoid(q_distilled)
    a2 = (_coefficient(b, b2c) * b.float() + a1.float()) * torch.sigmoid(p_distilled)

    branch_a = _wirw(a2.to(dtype), w.wirw[2]).to(dtype)
    branch_b = _wirw(b2.to(dtype), w.wirw[3]).to(dtype)
    z = torch.cat([branch_a, branch_b], 1)
    both = _pointwise(z, w.fuse.expand)
    expanded, calibrated = both[:, :-CHANNELS], both[:, -CHANNELS:]
    shortcut = F.conv2d(z, w.fuse_shortcut, w.fuse_shortcut_bias, padding=1)
    y = _wide(z, w.fuse, expanded) + shortcut.float()
    y = (y + torch.sigmoid(calibrated.float()) * branch_b.float() + x.float()).to(dtype)
    return (y.float() * _gate(y, w.gate)).to(dtype)


def _bridge(o1: Tensor, o2: Tensor, skip: Tensor) -> Tensor:
    """What a group's third block reads."""
    return (o2.float() + F.conv2d(o1, skip, padding=1).float()).to(o2.dtype)


def _join(
    base: Tensor, x: Tensor, outputs: tuple[Tensor, Tensor, Tensor], w: FswgWeights
) -> Tensor:
    """``base`` plus the group's result, in the natural order; float32.

    The channels are put back by a product with a permutation, which is exact.
    """
    o1, o2, o3 = outputs
    c1 = F.conv2d(torch.cat([o1, o2], 1), w.merge1, padding=1)
    c2 = F.conv2d(torch.cat([c1, o3], 1), w.merge2, padding=1)
    body = _pointwise((c2.float() + o3.float()).to(o3.dtype), w.natural)
    return base + _scaled(w.body_scale, body) * body.float() + _wirw(x, w.wirw)


def native_problem(kind: str, dtype: torch.dtype, width: int) -> str | None:
    """Why a batch can only be worked on in torch; ``None``: C++ can do it.

    Args:
        kind: of device. dtype: of the products. width: of the crops.
    """
    if kind != "cpu":
        return "it computes on a CPU"
    code = library(dtype)
    if code is None:
        return problem(dtype)
    if width % code.multiple:
        return f"it needs crops whose side is a multiple of {code.multiple}"
    return None


class TrainingTrunk:
    """Runs a network's trunk; see the module.

    On a CPU it is C++ (:mod:`vsr.models.trunk_native`): in bfloat16 on a processor with AMX or
    AVX512-BF16, where the width of a crop is a multiple of 16; in float32 on one with AVX2. Else it
    is torch.

    Args:
        net: the training form; its parameters are read anew at each call.
        compiled: blocks are compiled, for one shape of batch.
        native: C++ is used where it can be.
    """

    def __init__(self, net: Fdiwn, *, compiled: bool = True, native: bool = True) -> None:
        self._net = net
        self._wanted = native
        ready: Compiler = torch.compile(fullgraph=True, dynamic=False) if compiled else lambda f: f
        self._prepare_wdib, self._prepare_rest = ready(prepare_wdib), ready(prepare_rest)
        self._wdib, self._bridge, self._join = ready(_wdib), ready(_bridge), ready(_join)
        orders = [orders_of(torch.arange(CHANNELS))]
        for _ in range(2):
            orders.append(orders_of(orders[-1].after))
        self._orders = orders
        self._merging = merging_of(orders[0].after, orders[1].after, orders[2].after)

    def __call__(self, h: Tensor) -> Tensor:
        """As :meth:`vsr.models.fdiwn.Fdiwn.trunk`, float32."""
        kind = h.device.type
        half = torch.is_autocast_enabled(kind)
        dtype = torch.get_autocast_dtype(kind) if half else h.dtype
        groups = [cast(Fswg, group) for group in self._net.groups]
        with torch.autocast(kind, enabled=False):
            h = h.contiguous(memory_format=torch.channels_last)
            run = self._native(groups, h, dtype) or self._torch(groups, dtype)
            first, *others = self._net.order
            total = run(first, h, 0.0)
            for index in others:
                total = run(index, total, 1.0)
            return total

    def native_problem(self, kind: str, dtype: torch.dtype, width: int) -> str | None:
        """Why a batch is worked on in torch; ``None``: it is in C++. See :func:`native_problem`."""
        return native_problem(kind, dtype, width) if self._wanted else "torch was asked for"

    def _native(self, groups: list[Fswg], h: Tensor, dtype: torch.dtype) -> GroupRun | None:
        """Runs a group in C++, if that is possible."""
        code = library(dtype)
        if code is None or self.native_problem(h.device.type, dtype, h.shape[3]) is not None:
            return None
        natural = self._merging.natural.argmax(1)
        ready = [Group(code, group, natural) for group in groups]
        return lambda index, x, base: ready[index](x, base=base)

    def _torch(self, groups: list[Fswg], dtype: torch.dtype) -> GroupRun:
        weights = [self._weights(group, dtype) for group in groups]

        def run(index: int, total: Tensor, base: float) -> Tensor:
            w, x = weights[index], total.to(dtype)
            o1 = self._wdib(x, w.blocks[0])
            o2 = self._wdib(o1, w.blocks[1])
            o3 = self._wdib(self._bridge(o1, o2, w.skip), w.blocks[2])
            out: Tensor = self._join(base * total, x, (o1, o2, o3), w)
            return out

        return run

    def _weights(self, group: Fswg, dtype: torch.dtype) -> FswgWeights:
        blocks = (group.wdib1, group.wdib2, group.wdib3)
        weights: FswgWeights = self._prepare_rest(
            group,
            tuple(
                self._prepare_wdib(block, orders, dtype)
                for block, orders in zip(blocks, self._orders, strict=True)
            ),
            self._orders[0],
            self._merging,
            dtype,
        )
        return weights

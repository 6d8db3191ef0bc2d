"""FDIWN, the inference form: the same function with everything constant folded away.

Built from the training form (:mod:`vsr.models.fdiwn`, which cites the paper) and equal to it but
for rounding. What is folded:

- weight norm, the learned scalars and both mean shifts go into the convolutions;
- channel shuffles become an order in which channels are stored (see :class:`_Wdib`): the
  neighbouring weights are permuted once, no feature is ever moved;
- grouped convolutions become dense; a WCRW's shortcut and the distilled half's convolution, which
  read the same features, become one;
- the two upsampling tails become one 5x5 convolution (see :mod:`vsr.models.fdiwn_tail`).

Statistics are taken per frame, over the whole frame and in float32, so a batch of frames gives
what the frames give one by one; they can also be those of another pass
(:mod:`vsr.models.whole_frame.statistics`). Head and tail carry the picture itself and stay float32
when the trunk is stored in 16 bits.

Features are overwritten where they are not needed again: fresh memory costs as much as the
arithmetic of a layer, and there are thousands of them in a frame.

In the code below ``order`` always says which channel of the training form each stored channel is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812 - what everybody calls it
from torch import Tensor, nn

from vsr.models import fdiwn
from vsr.models.fdiwn import (
    CHANNELS,
    MIN_VARIANCE,
    NORM_EPS,
    Fdiwn,
    Fswg,
    Variant,
)
from vsr.models.fdiwn_tail import Tail, bias_of, conv
from vsr.models.whole_frame.statistics import Statistics, measure

__all__ = ["FdiwnInference"]

#: Deviation, relative to the mean, of what float16 rounds off; and its smallest normal number.
_ROUNDING = 2.0**-12
_SMALLEST = 2.0**-14
#: The inverse of its largest number.
_LEAST = 1 / torch.finfo(torch.float16).max
#: A scalar below this adds nothing to float32 features, and its square is nearly none.
_OFF = 1e-12


def _shuffled(channels: int, groups: int) -> Tensor:
    """The channel shuffle as indices: shuffled channel ``j`` is channel ``_shuffled(..)[j]``."""
    j = torch.arange(channels)
    return (j % groups) * (channels // groups) + j // groups


class _Gate(nn.Module):
    """Shuffle attention without its shuffle: ``k t sigmoid(a t + b)`` given features ``k t``.

    Args:
        attention: the training form's.
        order: which of its channels, before the shuffle, each stored channel is.
        k: scalar that is already part of the features; the gate itself is that of ``t``.
    """

    slope: Tensor
    offset: Tensor
    by_mean: Tensor

    def __init__(self, attention: fdiwn.ShuffleAttention, order: Tensor, k: float = 1.0) -> None:
        super().__init__()
        slope, offset, by_mean = (t.detach()[:, order] for t in attention.coefficients())
        # With t' = k t: deviation' = |k| deviation and mean' = k mean. A unit with k = 0 is
        # switched off, its features are 0 and so is its mean.
        self.eps = NORM_EPS * k * k if k else NORM_EPS
        self.register_buffer("slope", slope if k >= 0 else -slope)
        self.register_buffer("offset", offset)
        self.register_buffer("by_mean", by_mean / k if k else torch.zeros_like(by_mean))

    def forward(self, t: Tensor, statistics: Statistics = measure) -> Tensor:
        mean, variance = statistics(t)
        variance = variance + self.eps
        if t.dtype == torch.float16:
            # With a small k a flat picture's a and b are beyond float16. Deviations below these,
            # its own rounding of the features, are nothing that it could have carried.
            variance = torch.maximum(variance, (mean * _ROUNDING) ** 2).clamp_min(_SMALLEST**2)
            # Of steep gates a is beyond it even so.
            variance = torch.maximum(variance, (self.slope * _LEAST) ** 2)
        a = self.slope * torch.rsqrt(variance)
        b = self.offset + (self.by_mean - a) * mean
        return torch.addcmul(b.to(t.dtype), a.to(t.dtype), t).sigmoid_().mul_(t)


class _Wide(nn.Module):
    """Expand, ReLU, reduce, 3x3, gate, times the unit's scalar.

    Args:
        unit: the weighting unit whose wide path this is.
        expand: its expanding weight, already over the stored input channels.
        order: which channel of the unit's result each stored output channel is.
    """

    def __init__(self, unit: fdiwn.Wirw | fdiwn.Wcrw, expand: Tensor, order: Tensor) -> None:
        super().__init__()
        wide, k = unit.wide, unit.wide_scale.item()
        k = k if abs(k) > _OFF else 0.0
        before_shuffle = _shuffled(CHANNELS, 2)[order]
        self.expand = conv(expand, wide.expand.bias)
        self.reduce = conv(wide.reduce.weight, wide.reduce.bias)
        self.conv = conv(wide.conv.weight[before_shuffle] * k, wide.conv.bias[before_shuffle] * k)
        self.gate = _Gate(wide.attention, before_shuffle, k)

    def forward(self, x: Tensor, statistics: Statistics = measure) -> Tensor:
        out: Tensor = self.gate(self.conv(self.reduce(self.expand(x).relu_())), statistics)
        return out


class _Wirw(nn.Module):
    def __init__(self, unit: fdiwn.Wirw, order: Tensor) -> None:
        super().__init__()
        self.wide = _Wide(unit, unit.wide.expand.weight[:, order], order)
        self.skip_scale = unit.skip_scale.item()

    def forward(self, x: Tensor, statistics: Statistics = measure) -> Tensor:
        out: Tensor = self.wide(x, statistics).add_(x, alpha=self.skip_scale)
        return out


class _DistilledWcrw(nn.Module):
    """A WCRW on the remaining half and the distilled half's convolution, over all the channels.

    The stored order mixes the halves, so both read every channel, with zero weights for the
    other's half.
    """

    def __init__(self, unit: fdiwn.Wcrw, distil: nn.Conv2d, order: Tensor) -> None:
        super().__init__()

        def remaining(weight: Tensor) -> Tensor:
            return torch.cat([torch.zeros_like(weight), weight], 1)[:, order]

        def distilled(weight: Tensor) -> Tensor:
            return torch.cat([weight, torch.zeros_like(weight)], 1)[:, order]

        k = unit.skip_scale.item()
        self.wide = _Wide(unit, remaining(unit.wide.expand.weight), order)
        self.shortcut_and_distil = conv(
            torch.cat(
                [remaining(unit.shortcut.weight)[order] * k, distilled(distil.weight)[order]]
            ),
            torch.cat([bias_of(unit.shortcut)[order] * k, torch.zeros(CHANNELS)]),
        )

    def forward(self, x: Tensor, statistics: Statistics = measure) -> tuple[Tensor, Tensor]:
        """The unit's result and the distilled features, both before any activation."""
        shortcut, distilled = self.shortcut_and_distil(x).chunk(2, 1)
        return self.wide(x, statistics).add_(shortcut), distilled


class _Coefficient(nn.Module):
    """As in training, float32 whatever the features are."""

    def __init__(self, coefficient: fdiwn.Coefficient, order: Tensor) -> None:
        super().__init__()
        for name, mlp in (
            ("mean", coefficient.from_mean),
            ("deviation", coefficient.from_deviation),
        ):
            self.register_buffer(f"{name}_squeeze", mlp.squeeze.weight.detach()[:, order].clone())
            self.register_buffer(f"{name}_squeeze_bias", mlp.squeeze.bias.detach().clone())
            self.register_buffer(f"{name}_excite", mlp.excite.weight.detach()[order].clone())
            self.register_buffer(f"{name}_excite_bias", mlp.excite.bias.detach()[order].clone())

    def _gate(self, name: str, value: Tensor) -> Tensor:
        squeeze, squeeze_bias, excite, excite_bias = (
            self.get_buffer(f"{name}_{part}")
            for part in ("squeeze", "squeeze_bias", "excite", "excite_bias")
        )
        hidden = F.relu(F.linear(value.flatten(1), squeeze, squeeze_bias))
        return torch.sigmoid(F.relu(F.linear(hidden, excite, excite_bias)))

    def forward(self, x: Tensor, statistics: Statistics = measure) -> Tensor:
        mean, variance = statistics(x)
        deviation = variance.clamp_min(MIN_VARIANCE).sqrt()
        gate = self._gate("mean", mean) + self._gate("deviation", deviation)
        return (0.5 * gate)[:, :, None, None].to(x.dtype)


class _Wdib(nn.Module):
    """A block that reads its input in one channel order and leaves its output in another.

    The block ends in a shuffle attention. Instead of moving channels, the output stays where it
    was computed and :attr:`out_order` says which channel that makes each of them; the next block
    is built for that order.
    """

    def __init__(self, block: fdiwn.Wdib, order: Tensor) -> None:
        super().__init__()
        self.wirw1 = _Wirw(block.wirw1, order)
        self.wirw2 = _Wirw(block.wirw2, order)
        self.wirw3 = _Wirw(block.wirw3, order)
        self.wirw4 = _Wirw(block.wirw4, order)
        self.wcrw1 = _DistilledWcrw(block.wcrw1, block.distil2, order)
        self.wcrw2 = _DistilledWcrw(block.wcrw2, block.distil1, order)
        self.coefficient_a1 = _Coefficient(block.coefficient_a1, order)
        self.coefficient_b1 = _Coefficient(block.coefficient_b1, order)
        self.coefficient_a2 = _Coefficient(block.coefficient_a2, order)
        self.coefficient_b2 = _Coefficient(block.coefficient_b2, order)

        both = torch.cat([order, order + CHANNELS])
        scales = torch.cat([block.scale_a.expand(CHANNELS), block.scale_b.expand(CHANNELS)])

        def from_both(weight: Tensor) -> Tensor:
            return (weight * scales.view(1, -1, 1, 1))[:, both]

        k = block.fuse.skip_scale.item()
        self.fuse = _Wide(block.fuse, from_both(block.fuse.wide.expand.weight), order)
        self.fuse_shortcut = conv(
            from_both(block.fuse.shortcut.weight)[order] * k,
            bias_of(block.fuse.shortcut)[order] * k,
        )
        self.calibrate = conv(from_both(block.calibrate.weight)[order])
        self.gate = _Gate(block.attention, order)
        self.out_order = torch.argsort(_shuffled(CHANNELS, 2))[order]

    def forward(self, x: Tensor, statistics: Statistics = measure) -> Tensor:
        p = F.leaky_relu_(self.wirw1(x, statistics), 0.05)
        a, p_distilled = self.wcrw1(p, statistics)
        b1 = torch.addcmul(x, self.coefficient_a1(a, statistics), a)
        a1 = torch.addcmul(a, self.coefficient_b1(x, statistics), x)

        q = F.leaky_relu_(self.wirw2(b1, statistics), 0.05)
        b, q_distilled = self.wcrw2(q, statistics)
        b2 = torch.addcmul(b, self.coefficient_a2(a1, statistics), a1).mul_(q_distilled.sigmoid_())
        a2 = torch.addcmul(a1, self.coefficient_b2(b, statistics), b).mul_(p_distilled.sigmoid_())

        branch_b = self.wirw4(b2, statistics)
        z = torch.cat([self.wirw3(a2, statistics), branch_b], 1)
        y = self.fuse(z, statistics).add_(self.fuse_shortcut(z)).add_(x)
        y.addcmul_(self.calibrate(z).sigmoid_(), branch_b)
        out: Tensor = self.gate(y, statistics)
        return out


class _Fswg(nn.Module):
    """A group; reads and leaves its channels in their natural order."""

    natural: Tensor

    def __init__(self, group: fdiwn.Fswg) -> None:
        super().__init__()
        natural = torch.arange(CHANNELS)
        self.wdib1 = _Wdib(group.wdib1, natural)
        order1 = self.wdib1.out_order
        self.wdib2 = _Wdib(group.wdib2, order1)
        order2 = self.wdib2.out_order
        self.wdib3 = _Wdib(group.wdib3, order2)
        order3 = self.wdib3.out_order
        self.skip = conv(group.skip.weight[:, order1][order2])
        self.merge1 = conv(_dense(group.merge1, order1, order2)[order3])
        self.merge2 = conv(_dense(group.merge2, order3, order3)[order3])
        self.wirw = _Wirw(group.wirw, natural)
        self.body_scale = group.body_scale.item()
        self.skip_scale = group.skip_scale.item()
        self.register_buffer("natural", torch.argsort(order3))

    def forward(self, x: Tensor, statistics: Statistics = measure) -> Tensor:
        o1 = self.wdib1(x, statistics)
        o2 = self.wdib2(o1, statistics)
        o3 = self.wdib3(o2 + self.skip(o1), statistics)
        c1 = self.merge1(torch.cat([o1, o2], 1))
        c2 = self.merge2(torch.cat([c1, o3], 1))
        body = c2.add_(o3).mul_(self.body_scale).index_select(1, self.natural)
        out: Tensor = body.add_(self.wirw(x, statistics), alpha=self.skip_scale)
        return out


def _dense(grouped: nn.Conv2d, first: Tensor, second: Tensor) -> Tensor:
    """A grouped convolution after a channel shuffle, as a dense weight.

    Args:
        grouped: the training form's, reading the shuffled concatenation of two features.
        first, second: the orders in which these are stored.

    Returns:
        ``(C, 2 C, 3, 3)``, outputs in their natural order.
    """
    shuffled = _shuffled(2 * CHANNELS, grouped.groups)
    inputs, outputs = 2 * CHANNELS // grouped.groups, CHANNELS // grouped.groups
    dense = torch.zeros(CHANNELS, 2 * CHANNELS, 3, 3)
    for g in range(grouped.groups):
        rows = slice(g * outputs, (g + 1) * outputs)
        dense[rows, shuffled[g * inputs : (g + 1) * inputs]] = grouped.weight.detach()[rows]
    return dense[:, torch.cat([first, second + CHANNELS])]


class FdiwnInference(nn.Module):
    """The whole network, ready to run.

    Args:
        net: the training form with its weights; it is copied, not changed.
    """

    black: Tensor

    def __init__(self, net: Fdiwn) -> None:
        super().__init__()
        self.scale = net.scale
        self.order = net.order
        # A x + b = A (x - black): subtracting first keeps the head's zero padding exact.
        mix = net.subtract_mean.weight.detach()[:, :, 0, 0].double()
        black = -torch.linalg.solve(mix, bias_of(net.subtract_mean).double())
        self.register_buffer("black", black.float().view(1, 3, 1, 1))
        head = torch.einsum("ochw,ci->oihw", net.head.weight.detach().double(), mix)
        self.head = conv(head.float(), net.head.bias)
        self.groups = nn.ModuleList(_Fswg(cast(Fswg, group)) for group in net.groups)
        self.tail = Tail(net, mix.float() if net.scale == 4 else torch.eye(3))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                weight = module.weight.contiguous(memory_format=torch.channels_last)
                module.weight = nn.Parameter(weight)
        self.requires_grad_(requires_grad=False)
        self.eval()

    @classmethod
    def from_state(cls, name: Variant, scale: int, state: Mapping[str, Tensor]) -> FdiwnInference:
        """Build it from the training form's state dictionary, float32."""
        net = Fdiwn(scale, name)
        net.load_state_dict(dict(state))
        return cls(net)

    @staticmethod
    def state_shapes(name: Variant, scale: int) -> dict[str, tuple[int, ...]]:
        """Every key :meth:`from_state` needs, with its shape."""
        # Not on the device "meta": anything computed there imports torch's compiler, for seconds.
        net = Fdiwn(scale, name)
        return {key: tuple(value.shape) for key, value in net.state_dict().items()}

    def store_trunk_as(self, dtype: torch.dtype) -> None:
        """Keep the trunk's weights and features in ``dtype``; statistics and gates stay float32."""
        for module in self.groups.modules():
            if isinstance(module, nn.Conv2d):
                module.to(dtype)

    def forward(self, x: Tensor, statistics: Statistics = measure) -> Tensor:
        """``(N, 3, H, W)`` RGB in 0..255 to ``(N, 3, scale * H, scale * W)``, not clamped.

        Both float32, whatever the trunk is stored as. Any size from 1x1; 8x8 and more is sensible.

        Args:
            x: frames.
            statistics: says what the features are weighted by; their own by default.
        """
        x = x.float().contiguous(memory_format=torch.channels_last)
        shifted = x - self.black
        h = self.head(shifted).to(self.trunk_dtype)
        f = self.trunk(h, statistics).float()
        out: Tensor = self.tail(f, shifted if self.scale == 4 else x)
        return out

    @property
    def trunk_dtype(self) -> torch.dtype:
        """What the trunk's weights and features are stored in."""
        return next(self.groups.parameters()).dtype

    def trunk(self, h: Tensor, statistics: Statistics = measure) -> Tensor:
        """The six group steps; see :meth:`vsr.models.fdiwn.Fdiwn.trunk`."""
        first, *middle, last = (self.groups[i] for i in self.order)
        total: Tensor = first(h, statistics)
        for group in middle:
            total = total + group(total, statistics)
        out: Tensor = total + last(total, statistics)
        return out

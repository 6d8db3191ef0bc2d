"""FDIWN, the training form: one frame in, one frame out, two to four times larger.

Paper: "Feature Distillation Interaction Weighting Network for Lightweight Image
Super-Resolution", Guangwei Gao, Wenjie Li, Juncheng Li, Fei Wu, Huimin Lu, Yi Yu, AAAI 2022,
arXiv 2112.08655. The architecture is the authors' (github.com/IVIPLab/FDIWN); this file is
implemented from the paper's description, no code taken. Their checkpoints load through
:mod:`vsr.models.authors`.

Names follow the paper:

========  ======================================================================================
WN        weight-normalised convolution (Salimans and Kingma, arXiv 1602.07868)
WIRW      wide identical residual weighting unit, c channels to c
WCRW      wide convolutional residual weighting unit, its shortcut is a convolution
WRDC      wide-residual distillation connection: half of the channels skip to the other branch
SCF       self-calibration fusion of a block's two branches
WDIB      wide-residual distillation interaction block: two branches, WRDC and SCF
FSWG      feature shuffle weighted group of three WDIBs
========  ======================================================================================

Statistics (means, variances) are over the whole image and always float32, so that the network
keeps its precision under 16-bit autocast. Running the network for video is
:mod:`vsr.models.fdiwn_inference`'s job; this form is for training and for loading checkpoints.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - what everybody calls it
from torch import Tensor, nn

__all__ = ["CHANNELS", "MEAN_RGB", "SCALES", "Fdiwn", "Variant", "Wdib", "group_order"]

#: Feature channels throughout the network.
CHANNELS = 24
#: Mean colour of the DIV2K training set, codes of 0..255: what the mean shifts start from.
MEAN_RGB = (255 * 0.4488, 255 * 0.4371, 255 * 0.4040)
SCALES = (2, 3, 4)
#: ``fdiwn`` has three groups, ``fdiwn-m`` two.
Variant = Literal["fdiwn", "fdiwn-m"]

#: Channel groups of a shuffle attention, and its two halves per group.
ATTENTION_GROUPS = 6
NORM_EPS = 1e-5
#: Keeps the square root differentiable on a constant map; far below any real deviation.
MIN_VARIANCE = 1e-12

#: Width of the expanding convolution per input channel: (WIRW, WCRW, SCF).
_EXPANSION = {
    2: (2.0, 4.0, 2.0),
    3: (2.0, 4.0, 2.0),
    4: (2.5, 4.5, 2.25),
}
#: Channels between the two convolutions of an upsampling tail.
_TAIL_WIDTH = {2: 64, 3: 64, 4: 32}


def group_order(variant: Variant) -> tuple[int, ...]:
    """Which group each of the six steps of the trunk runs, counted from 0.

    FDIWN's trunk visits its three groups as 1 1 2 3 2 3. FDIWN-M has two groups, so the paper's
    third is its second: 1 1 2 2 2 2.
    """
    return (0, 0, 1, 2, 1, 2) if variant == "fdiwn" else (0, 0, 1, 1, 1, 1)


def channel_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and population variance over the image, ``(N, C, 1, 1)`` float32 each."""
    x = x.float()
    mean = x.mean((2, 3), keepdim=True)
    return mean, (x - mean).square().mean((2, 3), keepdim=True)


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """Interleave ``groups`` runs of channels: 1 2 3 4 becomes 1 3 2 4 for two groups.

    Channel ``j`` of the result is channel ``(j % groups) * (C / groups) + j // groups``.
    """
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


class WeightNormConv(nn.Module):
    """Convolution with weight ``g * v / |v|``, the norm taken per output channel."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        # PyTorch's initialisation of a plain convolution: uniform within 1 / sqrt(fan in).
        bound = 1 / math.sqrt(inputs * kernel * kernel)
        self.v = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel).uniform_(-bound, bound))
        self.g = nn.Parameter(self.v.detach().square().sum((1, 2, 3), keepdim=True).sqrt())
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))

    @property
    def weight(self) -> Tensor:
        """The effective weight, ``(outputs, inputs, kernel, kernel)``."""
        norm = self.v.square().sum((1, 2, 3), keepdim=True).sqrt()
        return self.v * (self.g / norm)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, padding=self.v.shape[-1] // 2)


class ShuffleAttention(nn.Module):
    """Per channel ``t * sigmoid(a t + b)``, then a channel shuffle (SA-Net, arXiv 2102.00240).

    The channels come in six groups of two halves. The first half of a group is gated by its mean
    (``a = 0``, ``b = w1 mean + b1``), the second by its instance norm, which is affine in ``t``:
    ``a = w2 gamma / deviation``. The six groups share their parameters, so each has
    ``channels / 12`` entries.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        entries = channels // (2 * ATTENTION_GROUPS)
        self.mean_weight = nn.Parameter(torch.zeros(entries))
        self.mean_bias = nn.Parameter(torch.ones(entries))
        self.norm_weight = nn.Parameter(torch.zeros(entries))
        self.norm_bias = nn.Parameter(torch.ones(entries))
        self.affine_weight = nn.Parameter(torch.ones(entries))
        self.affine_bias = nn.Parameter(torch.zeros(entries))

    def gate(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """``a`` and ``b``, ``(N, C, 1, 1)`` float32, for features ``t``."""
        mean, variance = channel_statistics(t)
        slope, offset, by_mean = self.coefficients()
        a = slope * torch.rsqrt(variance + NORM_EPS)
        return a, offset + (by_mean - a) * mean

    def coefficients(self) -> tuple[Tensor, Tensor, Tensor]:
        """``slope, offset, by_mean``, each ``(1, C, 1, 1)``.

        The gate's ``a`` is ``slope / deviation``, its ``b`` is ``offset + (by_mean - a) * mean``.
        """
        zeros = torch.zeros_like(self.mean_weight)
        slope = torch.cat([zeros, self.norm_weight * self.affine_weight])
        offset = torch.cat([self.mean_bias, self.norm_weight * self.affine_bias + self.norm_bias])
        by_mean = torch.cat([self.mean_weight, zeros])
        slope, offset, by_mean = (
            t.repeat(ATTENTION_GROUPS).view(1, -1, 1, 1) for t in (slope, offset, by_mean)
        )
        return slope, offset, by_mean

    def forward(self, t: Tensor) -> Tensor:
        a, b = self.gate(t)
        return channel_shuffle((t * torch.sigmoid(a * t + b)).to(t.dtype), 2)


class Wide(nn.Module):
    """What the weighting units share: expand 1x1, ReLU, reduce 1x1, 3x3, shuffle attention."""

    def __init__(self, inputs: int, expanded: int, reduced: int, outputs: int) -> None:
        super().__init__()
        self.expand = WeightNormConv(inputs, expanded, 1)
        self.reduce = WeightNormConv(expanded, reduced, 1)
        self.conv = WeightNormConv(reduced, outputs, 3)
        self.attention = ShuffleAttention(outputs)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.attention(self.conv(self.reduce(F.relu(self.expand(x)))))
        return out


class Wirw(nn.Module):
    """``a * wide(x) + b * x``; ``(N, c, H, W)`` to the same."""

    def __init__(self, channels: int, expanded: int) -> None:
        super().__init__()
        self.wide = Wide(channels, expanded, channels // 2, channels)
        self.wide_scale = nn.Parameter(torch.ones(1))
        self.skip_scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.wide_scale * self.wide(x) + self.skip_scale * x
        return out


class Wcrw(nn.Module):
    """``a * wide(x) + b * conv3x3(x)``: also the wide unit of the self-calibration fusion."""

    def __init__(self, inputs: int, expanded: int, reduced: int, outputs: int) -> None:
        super().__init__()
        self.wide = Wide(inputs, expanded, reduced, outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.wide_scale = nn.Parameter(torch.ones(1))
        self.skip_scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.wide_scale * self.wide(x) + self.skip_scale * self.shortcut(x)
        return out


class _GateMlp(nn.Module):
    """``sigmoid(relu(1x1(relu(1x1(.)))))`` on one value per channel, float32."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // 8)
        self.excite = nn.Linear(channels // 8, channels)

    def forward(self, z: Tensor) -> Tensor:
        return torch.sigmoid(F.relu(self.excite(F.relu(self.squeeze(z)))))


class Coefficient(nn.Module):
    """How much of a branch crosses over: per image and channel, between 0.5 and 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.from_mean = _GateMlp(channels)
        self.from_deviation = _GateMlp(channels)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to ``(N, C, 1, 1)`` in x's dtype."""
        mean, variance = channel_statistics(x)
        deviation = variance.clamp_min(MIN_VARIANCE).sqrt()
        with torch.autocast(x.device.type, enabled=False):
            gate = self.from_mean(mean.flatten(1)) + self.from_deviation(deviation.flatten(1))
        out: Tensor = (0.5 * gate)[:, :, None, None].to(x.dtype)
        return out


class Wdib(nn.Module):
    """Two branches that distil into and weight each other, fused by self-calibration."""

    def __init__(self, scale: int, channels: int = CHANNELS) -> None:
        super().__init__()
        c, half = channels, channels // 2
        wirw, wcrw, scf = _EXPANSION[scale]
        self.wirw1 = Wirw(c, round(c * wirw))
        self.wirw2 = Wirw(c, round(c * wirw))
        self.wirw3 = Wirw(c, round(c * wirw))
        self.wirw4 = Wirw(c, round(c * wirw))
        self.wcrw1 = Wcrw(half, round(half * wcrw), half, c)
        self.wcrw2 = Wcrw(half, round(half * wcrw), half, c)
        self.distil1 = nn.Conv2d(half, c, 3, padding=1, bias=False)
        self.distil2 = nn.Conv2d(half, c, 3, padding=1, bias=False)
        self.coefficient_a1 = Coefficient(c)
        self.coefficient_b1 = Coefficient(c)
        self.coefficient_a2 = Coefficient(c)
        self.coefficient_b2 = Coefficient(c)
        self.scale_a = nn.Parameter(torch.ones(1))
        self.scale_b = nn.Parameter(torch.ones(1))
        self.fuse = Wcrw(2 * c, round(2 * c * scf), c, c)
        self.calibrate = nn.Conv2d(2 * c, c, 1, bias=False)
        self.attention = ShuffleAttention(c)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to the same shape."""
        p_distilled, p_rest = F.leaky_relu(self.wirw1(x), 0.05).chunk(2, 1)
        a = self.wcrw1(p_rest)
        b1 = self.coefficient_a1(a) * a + x
        a1 = self.coefficient_b1(x) * x + a

        q_distilled, q_rest = F.leaky_relu(self.wirw2(b1), 0.05).chunk(2, 1)
        b = self.wcrw2(q_rest)
        b2 = (self.coefficient_a2(a1) * a1 + b) * torch.sigmoid(self.distil1(q_distilled))
        a2 = (self.coefficient_b2(b) * b + a1) * torch.sigmoid(self.distil2(p_distilled))

        branch_a, branch_b = self.wirw3(a2), self.wirw4(b2)
        z = torch.cat([self.scale_a * branch_a, self.scale_b * branch_b], 1)
        y = self.fuse(z) + torch.sigmoid(self.calibrate(z)) * branch_b + x
        out: Tensor = self.attention(y)
        return out


class Fswg(nn.Module):
    """Three WDIBs whose outputs are shuffled together pair by pair."""

    def __init__(self, scale: int, channels: int = CHANNELS) -> None:
        super().__init__()
        c = channels
        self.wdib1 = Wdib(scale, c)
        self.wdib2 = Wdib(scale, c)
        self.wdib3 = Wdib(scale, c)
        self.skip = nn.Conv2d(c, c, 3, padding=1, bias=False)
        self.merge1 = nn.Conv2d(2 * c, c, 3, padding=1, groups=4, bias=False)
        self.merge2 = nn.Conv2d(2 * c, c, 3, padding=1, groups=4, bias=False)
        self.wirw = Wirw(c, round(c * _EXPANSION[scale][0]))
        self.body_scale = nn.Parameter(torch.ones(1))
        self.skip_scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        o1 = self.wdib1(x)
        o2 = self.wdib2(o1)
        o3 = self.wdib3(o2 + self.skip(o1))
        c1 = self.merge1(channel_shuffle(torch.cat([o1, o2], 1), 4))
        c2 = self.merge2(channel_shuffle(torch.cat([c1, o3], 1), 4))
        out: Tensor = self.body_scale * (c2 + o3) + self.skip_scale * self.wirw(x)
        return out


def _mean_shift(sign: float) -> nn.Conv2d:
    """1x1 convolution that starts as adding (+1) or subtracting (-1) the mean colour.

    It is trained along, so a checkpoint's may mix the colours.
    """
    shift = nn.Conv2d(3, 3, 1)
    with torch.no_grad():
        shift.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
    shift.bias = nn.Parameter(sign * torch.tensor(MEAN_RGB))
    return shift


class Fdiwn(nn.Module):
    """The whole network.

    Args:
        scale: 2, 3 or 4.
        variant: ``fdiwn`` (three groups) or ``fdiwn-m`` (two).
    """

    def __init__(self, scale: int, variant: Variant = "fdiwn") -> None:
        super().__init__()
        if scale not in SCALES:
            raise ValueError(f"FDIWN has scales {SCALES}, not {scale}")
        self.scale = scale
        self.variant: Variant = variant
        self.order = group_order(variant)
        c, width, phases = CHANNELS, _TAIL_WIDTH[scale], 3 * scale * scale
        self.subtract_mean = _mean_shift(-1.0)
        self.add_mean = _mean_shift(1.0)
        self.head = nn.Conv2d(3, c, 3, padding=1)
        self.groups = nn.ModuleList(Fswg(scale, c) for _ in range(max(self.order) + 1))
        self.features_widen = nn.Conv2d(c, width, 3, padding=1, bias=False)
        self.features_up = nn.Conv2d(width, phases, 3, padding=1)
        self.input_widen = nn.Conv2d(3, width, 3, padding=1)
        self.input_up = nn.Conv2d(width, phases, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, 3, H, W)`` RGB in 0..255 to ``(N, 3, scale * H, scale * W)``, not clamped.

        Head, tails and mean shifts run in x's dtype even under autocast: they carry the picture
        itself, and 16 bits there cost more than in the whole trunk.
        """
        with torch.autocast(x.device.type, enabled=False):
            shifted = self.subtract_mean(x)
            h = self.head(shifted)
        f = self.trunk(h)
        with torch.autocast(x.device.type, enabled=False):
            up = self.features_up(self.features_widen(f.to(x.dtype)))
            # The authors' x4 network takes the shifted picture here, the others the raw one.
            up = up + self.input_up(self.input_widen(shifted if self.scale == 4 else x))
            out: Tensor = self.add_mean(F.pixel_shuffle(up, self.scale))
            return out

    def trunk(self, h: Tensor) -> Tensor:
        """The six group steps, ``(N, C, H, W)`` to the sum of their outputs."""
        first, *middle, last = (self.groups[i] for i in self.order)
        total: Tensor = first(h)
        for group in middle:
            total = total + group(total)
        out: Tensor = total + last(total)
        return out

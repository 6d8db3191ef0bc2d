"""FDIWN's two upsampling tails and its mean shift back, folded into one convolution."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - what everybody calls it
from torch import Tensor, nn

from vsr.models.fdiwn import CHANNELS, Fdiwn

__all__ = ["Tail", "bias_of", "conv"]


def conv(weight: Tensor, bias: Tensor | None = None) -> nn.Conv2d:
    """A dense convolution that keeps the image's size; ``(O, I, k, k)`` weights, ``(O,)`` bias."""
    outputs, inputs, size, _ = weight.shape
    made = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=bias is not None)
    made.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        made.bias = nn.Parameter(bias.detach().clone())
    return made


def bias_of(convolution: nn.Conv2d) -> Tensor:
    """The bias of a convolution that has one, without its gradient."""
    assert convolution.bias is not None  # noqa: S101 - the type checker does not know which have
    return convolution.bias.detach()


class Tail(nn.Module):
    """Both upsampling tails and the mean shift back, as one 5x5 convolution with its border.

    Two 3x3 convolutions without an activation between them are one 5x5 convolution, except within
    one pixel of the border: there the first one's result is taken as zero outside the image,
    which a 5x5 convolution cannot know. That ring is computed with the two 3x3 again.

    Args:
        net: the training form.
        picture_mix: 3x3 matrix between the picture given here and the one the tail was trained on.
    """

    def __init__(self, net: Fdiwn, picture_mix: Tensor) -> None:
        super().__init__()
        s, phases = net.scale, net.scale**2
        self.scale = s
        input_widen = torch.einsum("ochw,ci->oihw", net.input_widen.weight.detach(), picture_mix)
        first = (net.features_widen.weight.detach(), input_widen)
        up = torch.cat([net.features_up.weight.detach(), net.input_up.weight.detach()], 1)
        bias = bias_of(net.features_up) + bias_of(net.input_up)

        # The mean shift mixes the three colours of each of the scale^2 phases.
        mix = net.add_mean.weight.detach()[:, :, 0, 0]
        up = torch.einsum("dc,cpihw->dpihw", mix, up.view(3, phases, -1, 3, 3)).flatten(0, 1)
        bias = (mix @ bias.view(3, phases)).flatten()
        bias = bias + bias_of(net.add_mean).repeat_interleave(phases)

        width, colours = first[0].shape[0], 3
        widen = torch.zeros(2 * width, CHANNELS + colours, 3, 3)
        widen[:width, :CHANNELS], widen[width:, CHANNELS:] = first
        widen_bias = torch.cat([torch.zeros(width), bias_of(net.input_widen)])
        self.widen = conv(widen, widen_bias)
        self.up = conv(up, bias)
        self.whole = conv(_compose(up, widen), bias + up.sum((2, 3)) @ widen_bias)

    def exact(self, x: Tensor) -> Tensor:
        """The two 3x3 convolutions: ``(N, C + 3, H, W)`` to ``(N, 3 * scale**2, H, W)``."""
        out: Tensor = self.up(self.widen(x))
        return out

    def forward(
        self, features: Tensor, picture: Tensor, *, top: bool = True, bottom: bool = True
    ) -> Tensor:
        """``(N, C, H, W)`` and ``(N, 3, H, W)`` to ``(N, 3, scale * H, scale * W)``.

        Args:
            features, picture: of a whole frame, or of a band of its lines.
            top, bottom: whether the first and last line are the frame's. Where they are not, the
                outermost two lines of that side are not those of the frame's result.
        """
        x = torch.cat([features, picture], 1)
        out = self.whole(x)
        # Three input lines are what one border line depends on.
        if top:
            out[:, :, :1] = self.exact(x[:, :, :3])[:, :, :1]
        if bottom:
            out[:, :, -1:] = self.exact(x[:, :, -3:])[:, :, -1:]
        out[:, :, :, :1] = self.exact(x[:, :, :, :3])[:, :, :, :1]
        out[:, :, :, -1:] = self.exact(x[:, :, :, -3:])[:, :, :, -1:]
        return F.pixel_shuffle(out, self.scale)


def _compose(second: Tensor, first: Tensor) -> Tensor:
    """The 5x5 weight of two 3x3 convolutions, one after the other; float64 inside."""
    both = torch.zeros(second.shape[0], first.shape[1], 5, 5, dtype=torch.float64)
    for y in range(3):
        for x in range(3):
            tap = torch.einsum("om,mihw->oihw", second[:, :, y, x].double(), first.double())
            both[:, :, y : y + 3, x : x + 3] += tap
    return both.float()

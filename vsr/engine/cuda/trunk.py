"""FDIWN's trunk in fused stages: what :class:`vsr.models.fdiwn_inference._Wdib` computes.

A stage ends where statistics of the whole frame are needed, or neighbours. So a unit is three
launches: one that gates what was left and narrows it, one that convolves and sums moments, and a
program a frame that makes a gate of these. Between groups torch does what is left, a few launches.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from vsr.engine.cuda.kernels import branches, conv, units
from vsr.engine.cuda.kernels.conv import Taps
from vsr.engine.cuda.kernels.gates import GateWeights, coefficient, gate
from vsr.engine.cuda.kernels.narrow import Narrow
from vsr.engine.cuda.pack import calibration, coefficient_weights, gate_weights, narrow, taps
from vsr.models import fdiwn_inference as form

__all__ = ["FusedBlock", "FusedNetwork", "FusedUnit"]


class _Wide:
    """A wide path: what narrows its input, its convolution and its gate."""

    def __init__(self, unit: form._Wide) -> None:
        self.narrow: Narrow = narrow(unit)
        self.taps: Taps = taps(unit.conv)
        self.gate: GateWeights = gate_weights(unit.gate)

    def ungated(self, low: Tensor) -> tuple[Tensor, Tensor]:
        """The path before its gate, ``(N, H, W, 24)``, and its gate, for the narrow map."""
        t, parts = conv.with_moments(low, self.taps)
        return t, gate(parts, self.gate)


class FusedUnit:
    """A WIRW by itself, as the groups have one."""

    def __init__(self, unit: form._Wirw) -> None:
        self._wide = _Wide(unit.wide)
        self._skip = unit.skip_scale

    def __call__(self, x: Tensor) -> Tensor:
        """``(N, H, W, 24)`` to the same."""
        _, _, low = units.enter(x, None, self._wide.narrow, moments=False)
        result, _ = units.join(*self._wide.ungated(low), x, self._skip, moments=False)
        return result


class FusedBlock:
    """A WDIB. Its own gate is left to whoever reads the result: the next block, or :meth:`gated`.

    Args:
        block: the inference form's.
    """

    def __init__(self, block: form._Wdib) -> None:
        self._unit1, self._unit2, self._unit3, self._unit4 = (
            _Wide(unit.wide) for unit in (block.wirw1, block.wirw2, block.wirw3, block.wirw4)
        )
        self._skip1, self._skip2, self._skip3, self._skip4 = (
            unit.skip_scale for unit in (block.wirw1, block.wirw2, block.wirw3, block.wirw4)
        )
        self._rest1, self._rest2 = _Wide(block.wcrw1.wide), _Wide(block.wcrw2.wide)
        self._split1 = taps(block.wcrw1.shortcut_and_distil)
        self._split2 = taps(block.wcrw2.shortcut_and_distil)
        self._a1, self._b1, self._a2, self._b2 = (
            coefficient_weights(c)
            for c in (
                block.coefficient_a1,
                block.coefficient_b1,
                block.coefficient_a2,
                block.coefficient_b2,
            )
        )
        self._fuse = _Wide(block.fuse)
        self._shortcut = taps(block.fuse_shortcut)
        self._calibrate = calibration(block.calibrate)
        self._gate = gate_weights(block.gate)

    def __call__(self, y: Tensor, gates: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """The block's input, its result before its gate, and that gate.

        Args:
            y: ``(N, H, W, 24)``.
            gates: what the block before has left for ``y``; ``None`` if it is the input itself.
        """
        x, x_parts, low = units.enter(y, gates, self._unit1.narrow)
        p, low = units.activate(*self._unit1.ungated(low), x, self._skip1, self._rest1.narrow)
        shortcut, p_weight = conv.split(p, self._split1)
        a, a_parts = units.join(*self._rest1.ungated(low), shortcut)
        by_a, by_x = coefficient(a_parts, self._a1), coefficient(x_parts, self._b1)
        b1, a1, a1_parts, low = units.interact(x, a, by_a, by_x, self._unit2.narrow)

        q, low = units.activate(*self._unit2.ungated(low), b1, self._skip2, self._rest2.narrow)
        shortcut, q_weight = conv.split(q, self._split2)
        b, b_parts = units.join(*self._rest2.ungated(low), shortcut)
        by_a1, by_b = coefficient(a1_parts, self._a2), coefficient(b_parts, self._b2)
        a2, b2, low_a, low_b = branches.weigh(
            a1, b, (p_weight, q_weight), (by_a1, by_b), (self._unit3.narrow, self._unit4.narrow)
        )

        z, base, low = branches.fuse(
            (*self._unit3.ungated(low_a), a2, self._skip3),
            (*self._unit4.ungated(low_b), b2, self._skip4),
            x,
            self._calibrate,
            self._fuse.narrow,
        )
        base = conv.add(z, self._shortcut, base)
        out, parts = units.join(*self._fuse.ungated(low), base)
        return x, out, gate(parts, self._gate)

    @staticmethod
    def gated(y: Tensor, gates: Tensor) -> Tensor:
        """A block's result ``(N, H, W, 24)``, for readers that do not gate it themselves."""
        result, _ = units.join(y, gates, y, 0.0, moments=False)
        return result


class _Group:
    """An FSWG: three blocks, and between them what torch does."""

    def __init__(self, group: form._Fswg) -> None:
        self._group = group
        self._blocks = [FusedBlock(b) for b in (group.wdib1, group.wdib2, group.wdib3)]
        self._unit = FusedUnit(group.wirw)

    def __call__(self, x: Tensor) -> Tensor:
        group = self._group
        first, second, third = self._blocks
        _, *left = first(x)
        o1, *left = second(*left)
        o2 = second.gated(*left)
        _, *left = third(o2 + _convolved(group.skip, o1))
        o3 = third.gated(*left)
        c1 = _convolved(group.merge1, torch.cat([o1, o2], 3))
        c2 = _convolved(group.merge2, torch.cat([c1, o3], 3))
        body = c2.add_(o3).mul_(group.body_scale).index_select(3, group.natural)
        return body.add_(self._unit(x), alpha=group.skip_scale)


def _convolved(layer: nn.Module, x: Tensor) -> Tensor:
    """A convolution of torch's of ``(N, H, W, C)``."""
    out: Tensor = layer(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    return out.contiguous()


class FusedNetwork:
    """The whole network: head and tail are the inference form's, the trunk is fused.

    Args:
        net: the inference form on its device, stored as it is to be computed.
    """

    def __init__(self, net: form.FdiwnInference) -> None:
        self._net = net
        self._groups = [_Group(cast(form._Fswg, group)) for group in net.groups]

    def __call__(self, x: Tensor) -> Tensor:
        """As :meth:`vsr.models.fdiwn_inference.FdiwnInference.forward`."""
        net = self._net
        x = x.float().contiguous(memory_format=torch.channels_last)
        shifted = x - net.black
        h = net.head(shifted).to(net.trunk_dtype).permute(0, 2, 3, 1).contiguous()
        f = self._trunk(h).permute(0, 3, 1, 2).float()
        out: Tensor = net.tail(f, shifted if net.scale == 4 else x)
        return out

    def _trunk(self, h: Tensor) -> Tensor:
        first, *middle, last = (self._groups[i] for i in self._net.order)
        total = first(h)
        for group in middle:
            total = total + group(total)
        return total + last(total)

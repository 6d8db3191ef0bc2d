"""FDIWN's trunk in fused stages: what :class:`vsr.models.fdiwn_inference._Fswg` computes.

A stage ends where statistics of the whole frame are needed, or neighbours. So a unit is three
launches: one that gates what was left and narrows it, one that convolves and sums moments, and a
program a frame that makes a gate of these. What a stage gives is added to whatever waits for it
before it is written.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from vsr.engine.cuda import pack
from vsr.engine.cuda.kernels import branches, conv, ends, units
from vsr.engine.cuda.kernels.conv import Taps
from vsr.engine.cuda.kernels.gates import GateWeights, coefficients, gate
from vsr.engine.cuda.kernels.narrow import Narrow
from vsr.models import fdiwn_inference as form

__all__ = ["FusedBlock", "FusedGroup", "FusedNetwork"]


class _Wide:
    """A wide path: what narrows its input, its convolution and its gate."""

    def __init__(self, unit: form._Wide) -> None:
        self.narrow: Narrow = pack.narrow(unit)
        self.taps: Taps = pack.taps(unit.conv)
        self.gate: GateWeights = pack.gate_weights(unit.gate)

    def ungated(self, low: Tensor) -> tuple[Tensor, Tensor]:
        """The path before its gate, ``(N, H, W, 24)``, and its gate, for the narrow map."""
        t, parts = conv.wide(low, self.taps)
        return t, gate(parts, self.gate)


class FusedBlock:
    """A WDIB. Its own gate is left to whoever reads the result.

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
        self._split1 = pack.taps(block.wcrw1.shortcut_and_distil)
        self._split2 = pack.taps(block.wcrw2.shortcut_and_distil)
        self._first = pack.coefficient_weights(block.coefficient_a1, block.coefficient_b1)
        self._second = pack.coefficient_weights(block.coefficient_a2, block.coefficient_b2)
        self._fuse = _Wide(block.fuse)
        self._shortcut = pack.taps(block.fuse_shortcut)
        self._calibrate = pack.calibration(block.calibrate)
        self._gate = pack.gate_weights(block.gate)

    def __call__(self, y: Tensor, gates: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """The block's input, its result before its gate, and that gate.

        Args:
            y: ``(N, H, W, 24)``.
            gates: what the block before has left for ``y``; ``None`` if it is the input itself.
        """
        x, x_parts, low = units.enter(y, gates, self._unit1.narrow)
        p, low = units.activate(*self._unit1.ungated(low), x, self._skip1, self._rest1.narrow)
        a, a_parts, p_weight = conv.sum_up(p, self._split1, *self._rest1.ungated(low))
        by_a, by_x = coefficients((a_parts, x_parts), self._first)
        b1, a1, a1_parts, low = units.interact(x, a, by_a, by_x, self._unit2.narrow)

        q, low = units.activate(*self._unit2.ungated(low), b1, self._skip2, self._rest2.narrow)
        b, b_parts, q_weight = conv.sum_up(q, self._split2, *self._rest2.ungated(low))
        factors = coefficients((a1_parts, b_parts), self._second)
        a2, b2, low_a, low_b = branches.weigh(
            a1, b, (p_weight, q_weight), factors, (self._unit3.narrow, self._unit4.narrow)
        )

        z, low = branches.fuse(
            (*self._unit3.ungated(low_a), a2, self._skip3),
            (*self._unit4.ungated(low_b), b2, self._skip4),
            self._fuse.narrow,
        )
        out, parts = ends.finish(z, self._shortcut, self._calibrate, x, *self._fuse.ungated(low))
        return x, out, gate(parts, self._gate)


class FusedGroup:
    """An FSWG: three blocks, a unit beside them, and what joins them.

    Args:
        group: the inference form's.
    """

    def __init__(self, group: form._Fswg) -> None:
        self._blocks = [FusedBlock(b) for b in (group.wdib1, group.wdib2, group.wdib3)]
        self._unit = _Wide(group.wirw.wide)
        self._between = pack.pass_on(group)
        self._merge = pack.merge(group)

    def __call__(self, x: Tensor, *, residual: bool = False) -> Tensor:
        """``(N, H, W, 24)`` to the same; plus ``x`` if ``residual``."""
        first, second, third = self._blocks
        _, *left = first(x)
        o1, *left = second(*left)
        x3, c1 = ends.pass_on(o1, units.opened(*left), *self._between)
        _, *left = third(x3)
        o3 = units.opened(*left)
        _, _, low = units.enter(x, None, self._unit.narrow, moments=False)
        return ends.merge(c1, o3, self._merge, *self._unit.ungated(low), x, residual=residual)


class FusedNetwork:
    """The whole network: head and tail are the inference form's, the trunk is fused.

    Args:
        net: the inference form on its device, stored as it is to be computed.
    """

    def __init__(self, net: form.FdiwnInference) -> None:
        self._net = net
        self._groups = [FusedGroup(cast(form._Fswg, group)) for group in net.groups]

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
        first, *others = (self._groups[i] for i in self._net.order)
        total = first(h)
        for group in others:
            total = group(total, residual=True)
        return total

"""From a frame's statistics to the numbers that its pixels are multiplied with, and doing so.

``gate`` makes the ``a`` and ``b`` of ``t sigmoid(a t + b)``, ``coefficient`` how much of a branch
crosses over (:class:`vsr.models.fdiwn.Coefficient`). Each is one small program a frame; it reads
what the programs of the stage before have left. Later kernels apply them as they read a map.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from vsr.engine.cuda.kernels.grid import FLAT
from vsr.engine.cuda.kernels.moments import all_of, frame_moments

__all__ = ["CoefficientWeights", "GateWeights", "coefficients", "gate", "gated", "sigmoid"]


@triton.jit
def _any_kernel():
    pass


#: Whether kernels are compiled for NVIDIA; Triton's interpreter knows no PTX, nor do others.
_PTX = tl.constexpr(isinstance(_any_kernel, triton.JITFunction) and torch.version.hip is None)


@dataclass(frozen=True, slots=True, eq=False)
class GateWeights:
    """As in :class:`vsr.models.fdiwn_inference._Gate`: ``(32,)`` float32 each, and ``eps``."""

    slope: Tensor
    offset: Tensor
    by_mean: Tensor
    eps: float


@dataclass(frozen=True, slots=True, eq=False)
class CoefficientWeights:
    """Of two coefficients, two small networks each, the mean's and the deviation's, float32.

    Attributes:
        squeeze: ``(2, 2, 4, 32)``; squeeze_bias: ``(2, 2, 4)``.
        excite: ``(2, 2, 4, 32)``, one row for each hidden value; excite_bias: ``(2, 2, 32)``.
        least: smallest variance.
    """

    squeeze: Tensor
    squeeze_bias: Tensor
    excite: Tensor
    excite_bias: Tensor
    least: float


@triton.jit
def sigmoid(x):
    """``1 / (1 + exp(-x))``, float32.

    With the hardware's approximations, which are right to 22 bits: two instructions. Compilers add
    a dozen to them, for denormal numbers that are rounded away here (``e^-87``, and what is so
    near to 0 that 1 plus it is 1).
    """
    if _PTX:
        power = tl.inline_asm_elementwise(
            "ex2.approx.ftz.f32 $0, $1;", "=f,f", [x * -1.4426950408889634],
            dtype=tl.float32, is_pure=True, pack=1,
        )  # fmt: skip
        y = tl.inline_asm_elementwise(
            "rcp.approx.ftz.f32 $0, $1;", "=f,f", [1.0 + power],
            dtype=tl.float32, is_pure=True, pack=1,
        )  # fmt: skip
    else:
        y = tl.sigmoid(x)
    return y


@triton.jit
def gated(t, gates, frame, column):
    """``t sigmoid(a t + b)`` for a tile ``(P, 32)``, float32, with a frame's ``(2, 32)`` gates."""
    t = t.to(tl.float32)
    a = tl.load(gates + frame * 64 + column)
    b = tl.load(gates + frame * 64 + 32 + column)
    return t * sigmoid(a[None, :] * t + b[None, :])


@triton.jit(do_not_specialize=["programs"])
def _gate_kernel(parts, programs, slope, offset, by_mean, eps, gates, ROWS: tl.constexpr):
    frame = tl.program_id(0).to(tl.int64)
    mean, variance = frame_moments(parts, frame, programs, ROWS)
    column = tl.arange(0, 32)
    a = tl.load(slope + column) * tl.rsqrt(variance + eps)
    b = tl.load(offset + column) + (tl.load(by_mean + column) - a) * mean
    tl.store(gates + frame * 64 + column, a)
    tl.store(gates + frame * 64 + 32 + column, b)


@triton.jit
def _mlp(values, squeeze, squeeze_bias, excite, excite_bias, WHICH: tl.constexpr):
    """``sigmoid(relu(excite(relu(squeeze(values)))))``, ``(32,)`` to ``(32,)``."""
    hidden = tl.arange(0, 4)
    column = tl.arange(0, 32)
    at = WHICH * 128 + hidden[:, None] * 32 + column[None, :]
    h = tl.sum(tl.load(squeeze + at) * values[None, :], 1)
    h = tl.maximum(h + tl.load(squeeze_bias + WHICH * 4 + hidden), 0.0)
    out = tl.sum(tl.load(excite + at) * h[:, None], 0)
    return tl.sigmoid(tl.maximum(out + tl.load(excite_bias + WHICH * 32 + column), 0.0))


@triton.jit(do_not_specialize=["programs1", "programs2", "frames"])
def _coefficients_kernel(
    parts1, programs1, parts2, programs2, frames,
    squeeze, squeeze_bias, excite, excite_bias, least, factors, ROWS: tl.constexpr,
):  # fmt: skip
    frame = tl.program_id(0).to(tl.int64)
    which = tl.program_id(1)
    parts, programs = parts1, programs1
    if which == 1:
        parts, programs = parts2, programs2
    mean, variance = frame_moments(parts, frame, programs, ROWS)
    deviation = tl.sqrt(tl.maximum(variance, least))
    squeeze += which * 256
    squeeze_bias += which * 8
    excite += which * 256
    excite_bias += which * 64
    from_mean = _mlp(mean, squeeze, squeeze_bias, excite, excite_bias, 0)
    from_deviation = _mlp(deviation, squeeze, squeeze_bias, excite, excite_bias, 1)
    to = factors + (which * frames + frame) * 32 + tl.arange(0, 32)
    tl.store(to, 0.5 * (from_mean + from_deviation))


def gate(parts: Tensor, weights: GateWeights) -> Tensor:
    """Slopes and offsets ``(N, 2, 32)`` float32 of a map with these parts of moments."""
    frames, programs = parts.shape[:2]
    gates = parts.new_empty((frames, 2, FLAT))
    _gate_kernel[(frames,)](
        parts, programs, weights.slope, weights.offset, weights.by_mean, weights.eps, gates,
        **all_of(parts),
    )  # fmt: skip
    return gates


def coefficients(
    parts: tuple[Tensor, Tensor], weights: CoefficientWeights
) -> tuple[Tensor, Tensor]:
    """Factors ``(N, 32)`` float32 of two coefficients, each by the parts of its map's moments."""
    first, second = parts
    frames = len(first)
    factors = torch.empty((2, frames, FLAT), dtype=torch.float32, device=first.device)
    _coefficients_kernel[(frames, 2)](
        first, first.shape[1], second, second.shape[1], frames,
        weights.squeeze, weights.squeeze_bias, weights.excite, weights.excite_bias,
        weights.least, factors, **all_of(max(parts, key=lambda p: p.shape[1])),
    )  # fmt: skip
    return factors[0], factors[1]

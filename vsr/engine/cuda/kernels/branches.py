"""The stages where a block's two branches meet: they weigh each other, then become one map."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from vsr.engine.cuda.kernels.gates import gated
from vsr.engine.cuda.kernels.grid import LAUNCH, TILE, loaded, places
from vsr.engine.cuda.kernels.narrow import (
    Narrow,
    narrow_map,
    narrowed,
    reduced,
    save_narrow,
    shared_pixels,
    tile_pixels,
)

__all__ = ["fuse", "weigh"]


@triton.jit(do_not_specialize=["pixels", "tiles", "each"])
def _weigh_kernel(
    a1, b, p_weight, q_weight, by_a1, by_b, a2, b2,
    narrow_a, expand_a, expand_bias_a, reduce_a, reduce_bias_a,
    narrow_b, expand_b, expand_bias_b, reduce_b, reduce_bias_b,
    pixels, tiles, each,
    E: tl.constexpr, R: tl.constexpr, NARROW: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    frame = tl.program_id(1).to(tl.int64)
    column = tl.arange(0, 32)
    from_a = tl.load(by_a1 + frame * 32 + column)[None, :]
    from_b = tl.load(by_b + frame * 32 + column)[None, :]
    a1 += frame * pixels * 24
    b += frame * pixels * 24
    p_weight += frame * pixels * 24
    q_weight += frame * pixels * 24
    a2 += frame * pixels * 24
    b2 += frame * pixels * 24
    narrow_a += frame * pixels * NARROW
    narrow_b += frame * pixels * NARROW
    first = tl.program_id(0) * each
    for tile in range(first, tl.minimum(first + each, tiles)):
        pixel, valid, at, there = tile_pixels(tile, pixels, TILE)
        one = loaded(a1, at, there)
        other = loaded(b, at, there)
        p = loaded(p_weight, at, there)
        q = loaded(q_weight, at, there)
        second_a = ((one + from_b * other) * p).to(a2.dtype.element_ty)
        second_b = ((other + from_a * one) * q).to(b2.dtype.element_ty)
        tl.store(a2 + at, second_a, mask=there)
        tl.store(b2 + at, second_b, mask=there)
        low = narrowed(second_a, expand_a, expand_bias_a, reduce_a, reduce_bias_a, E, R)
        save_narrow(narrow_a, low, pixel, valid, R, NARROW)
        low = narrowed(second_b, expand_b, expand_bias_b, reduce_b, reduce_bias_b, E, R)
        save_narrow(narrow_b, low, pixel, valid, R, NARROW)


@triton.jit(do_not_specialize=["pixels", "tiles", "each"])
def _fuse_kernel(
    t_a, gates_a, a2, skip_a, t_b, gates_b, b2, skip_b, x, calibrate,
    z, base, narrow, expand, expand_bias, reduce, reduce_bias,
    pixels, tiles, each,
    E: tl.constexpr, R: tl.constexpr, NARROW: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    frame = tl.program_id(1).to(tl.int64)
    column = tl.arange(0, 32)
    wide = tl.arange(0, E)
    t_a += frame * pixels * 24
    a2 += frame * pixels * 24
    t_b += frame * pixels * 24
    b2 += frame * pixels * 24
    x += frame * pixels * 24
    base += frame * pixels * 24
    z += frame * pixels * 48
    narrow += frame * pixels * NARROW
    first = tl.program_id(0) * each
    for tile in range(first, tl.minimum(first + each, tiles)):
        pixel, valid, at, there = tile_pixels(tile, pixels, TILE)
        to = places(pixel, column, 48)
        one = gated(loaded(t_a, at, there), gates_a, frame, column)
        one += skip_a * loaded(a2, at, there)
        one = one.to(z.dtype.element_ty)
        other = gated(loaded(t_b, at, there), gates_b, frame, column)
        other += skip_b * loaded(b2, at, there)
        other = other.to(z.dtype.element_ty)
        tl.store(z + to, one, mask=there)
        tl.store(z + to + 24, other, mask=there)

        square = column[:, None] * 32 + column[None, :]
        chosen = tl.dot(one, tl.load(calibrate + square), input_precision="ieee")
        chosen += tl.dot(other, tl.load(calibrate + 1024 + square), input_precision="ieee")
        sum_ = loaded(x, at, there)
        sum_ += tl.sigmoid(chosen) * other.to(tl.float32)
        tl.store(base + at, sum_.to(base.dtype.element_ty), mask=there)

        rows = column[:, None] * E + wide[None, :]
        h = tl.dot(one, tl.load(expand + rows), input_precision="ieee")
        h += tl.dot(other, tl.load(expand + 32 * E + rows), input_precision="ieee")
        h += tl.load(expand_bias + wide)[None, :]
        low = reduced(h, z.dtype.element_ty, reduce, reduce_bias, E, R)
        save_narrow(narrow, low, pixel, valid, R, NARROW)


def weigh(
    a1: Tensor,
    b: Tensor,
    weights: tuple[Tensor, Tensor],
    factors: tuple[Tensor, Tensor],
    units: tuple[Narrow, Narrow],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``a2 = (a1 + by_b b) p``, ``b2 = (b + by_a1 a1) q``, and their narrow maps.

    Args:
        a1, b: ``(N, H, W, 24)``.
        weights: ``p, q`` of that shape.
        factors: ``by_a1, by_b``, ``(N, 32)`` float32.
        units: expand and reduce of a2's unit and of b2's, equally wide.
    """
    shared, pixels = shared_pixels(b)
    a2, b2 = b.new_empty(b.shape), b.new_empty(b.shape)
    narrow_a, narrow_b = (narrow_map(b, unit) for unit in units)
    one, other = units
    _weigh_kernel[(shared.programs, len(b))](
        a1, b, *weights, *factors, a2, b2,
        narrow_a, one.expand, one.expand_bias, one.reduce, one.reduce_bias,
        narrow_b, other.expand, other.expand_bias, other.reduce, other.reduce_bias,
        pixels, shared.tiles, shared.each, TILE=TILE, **one.widths, **LAUNCH,
    )  # fmt: skip
    return a2, b2, narrow_a, narrow_b


def fuse(
    branch_a: tuple[Tensor, Tensor, Tensor, float],
    branch_b: tuple[Tensor, Tensor, Tensor, float],
    x: Tensor,
    calibrate: Tensor,
    unit: Narrow,
) -> tuple[Tensor, Tensor, Tensor]:
    """Both branches as one map, ``x + sigmoid(calibrate(z)) branch_b``, and z's narrow map.

    Args:
        branch_a, branch_b: ``t, gates, input, skip`` of ``gate(t) + skip input``.
        x: the block's input, ``(N, H, W, 24)``.
        calibrate: ``(2, 32, 32)`` in the storage type: branch, input, output.
        unit: expand, ``(64, E)`` with branch b's channels from row 32, and reduce.
    """
    shared, pixels = shared_pixels(x)
    z, base = x.new_empty((*x.shape[:3], 48)), x.new_empty(x.shape)
    narrow = narrow_map(x, unit)
    _fuse_kernel[(shared.programs, len(x))](
        *branch_a, *branch_b, x, calibrate, z, base, narrow,
        unit.expand, unit.expand_bias, unit.reduce, unit.reduce_bias,
        pixels, shared.tiles, shared.each, TILE=TILE, **unit.widths, **LAUNCH,
    )  # fmt: skip
    return z, base, narrow

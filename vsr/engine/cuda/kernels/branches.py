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
    pixel_tiles,
    reduced,
    save_narrow,
    tile_pixels,
)

__all__ = ["fuse", "weigh"]


@triton.jit(do_not_specialize=["pixels"])
def _weigh_kernel(
    a1, b, p_weight, q_weight, by_a1, by_b, a2, b2,
    narrow_a, expand_a, expand_bias_a, reduce_a, reduce_bias_a,
    narrow_b, expand_b, expand_bias_b, reduce_b, reduce_bias_b,
    pixels,
    E: tl.constexpr, R: tl.constexpr, NARROW: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    tile = tl.program_id(0)
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


@triton.jit(do_not_specialize=["pixels"])
def _fuse_kernel(
    t_a, gates_a, a2, skip_a, t_b, gates_b, b2, skip_b,
    z, narrow, expand, expand_bias, reduce, reduce_bias,
    pixels,
    E: tl.constexpr, R: tl.constexpr, NARROW: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    tile = tl.program_id(0)
    frame = tl.program_id(1).to(tl.int64)
    column = tl.arange(0, 32)
    wide = tl.arange(0, E)
    t_a += frame * pixels * 24
    a2 += frame * pixels * 24
    t_b += frame * pixels * 24
    b2 += frame * pixels * 24
    z += frame * pixels * 48
    narrow += frame * pixels * NARROW
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
    tiles, pixels = pixel_tiles(b)
    a2, b2 = b.new_empty(b.shape), b.new_empty(b.shape)
    narrow_a, narrow_b = (narrow_map(b, unit) for unit in units)
    one, other = units
    _weigh_kernel[(tiles, len(b))](
        a1, b, *weights, *factors, a2, b2,
        narrow_a, one.expand, one.expand_bias, one.reduce, one.reduce_bias,
        narrow_b, other.expand, other.expand_bias, other.reduce, other.reduce_bias,
        pixels, TILE=TILE, **one.widths, **LAUNCH,
    )  # fmt: skip
    return a2, b2, narrow_a, narrow_b


def fuse(
    branch_a: tuple[Tensor, Tensor, Tensor, float],
    branch_b: tuple[Tensor, Tensor, Tensor, float],
    unit: Narrow,
) -> tuple[Tensor, Tensor]:
    """Both branches as one map ``(N, H, W, 48)``, and its narrow map.

    Args:
        branch_a, branch_b: ``t, gates, input, skip`` of ``gate(t) + skip input``.
        unit: expand, ``(64, E)`` with branch b's channels from row 32, and reduce.
    """
    t = branch_a[0]
    tiles, pixels = pixel_tiles(t)
    z, narrow = t.new_empty((*t.shape[:3], 48)), narrow_map(t, unit)
    _fuse_kernel[(tiles, len(t))](
        *branch_a, *branch_b, z, narrow,
        unit.expand, unit.expand_bias, unit.reduce, unit.reduce_bias,
        pixels, TILE=TILE, **unit.widths, **LAUNCH,
    )  # fmt: skip
    return z, narrow

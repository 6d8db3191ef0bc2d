"""The stages between two convolutions: gate what was left, combine, expand and reduce.

Each reads its maps once, makes the input of the next units, and narrows it for their 3x3
convolutions (expand 1x1, ReLU, reduce 1x1) without the wide features ever leaving the chip.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from vsr.engine.cuda.kernels.gates import gated
from vsr.engine.cuda.kernels.grid import LAUNCH, RESIDENT, TILE, loaded, share
from vsr.engine.cuda.kernels.moments import (
    add_tile,
    new_parts,
    nothing_summed,
    save_part,
)
from vsr.engine.cuda.kernels.narrow import (
    Narrow,
    narrow_map,
    narrowed,
    pixel_tiles,
    save_narrow,
    tile_pixels,
)

__all__ = ["activate", "enter", "interact", "opened"]


@triton.jit(do_not_specialize=["pixels", "tiles", "each", "programs"])
def _enter_kernel(
    y, gates, x, narrow, expand, expand_bias, reduce, reduce_bias, parts,
    pixels, tiles, each, programs,
    GATED: tl.constexpr, MOMENTS: tl.constexpr,
    E: tl.constexpr, R: tl.constexpr, NARROW: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    frame = tl.program_id(1).to(tl.int64)
    y += frame * pixels * 24
    x += frame * pixels * 24
    narrow += frame * pixels * NARROW
    count, sums, squares, pivot = nothing_summed(32)
    first = program * each
    for tile in range(first, tl.minimum(first + each, tiles)):
        pixel, valid, at, there = tile_pixels(tile, pixels, TILE)
        values = tl.load(y + at, mask=there, other=0.0)
        if GATED:
            values = gated(values, gates, frame, tl.arange(0, 32)).to(x.dtype.element_ty)
            tl.store(x + at, values, mask=there)
        low = narrowed(values, expand, expand_bias, reduce, reduce_bias, E, R)
        save_narrow(narrow, low, pixel, valid, R, NARROW)
        if MOMENTS:
            count, sums, squares, pivot = add_tile(
                count, sums, squares, pivot, values, valid, tile == first, 4, 32, 1, 1
            )
    if MOMENTS:
        save_part(parts, frame, program, programs, count, sums, squares, pivot)


@triton.jit(do_not_specialize=["pixels"])
def _activate_kernel(
    t, gates, x, skip, p, narrow, expand, expand_bias, reduce, reduce_bias,
    pixels,
    E: tl.constexpr, R: tl.constexpr, NARROW: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    tile = tl.program_id(0)
    frame = tl.program_id(1).to(tl.int64)
    t += frame * pixels * 24
    x += frame * pixels * 24
    p += frame * pixels * 24
    narrow += frame * pixels * NARROW
    pixel, valid, at, there = tile_pixels(tile, pixels, TILE)
    value = gated(loaded(t, at, there), gates, frame, tl.arange(0, 32))
    value += skip * loaded(x, at, there)
    value = tl.where(value > 0, value, 0.05 * value).to(p.dtype.element_ty)
    tl.store(p + at, value, mask=there)
    low = narrowed(value, expand, expand_bias, reduce, reduce_bias, E, R)
    save_narrow(narrow, low, pixel, valid, R, NARROW)


@triton.jit(do_not_specialize=["pixels"])
def _open_kernel(t, gates, result, pixels, TILE: tl.constexpr):
    tile = tl.program_id(0)
    frame = tl.program_id(1).to(tl.int64)
    t += frame * pixels * 24
    result += frame * pixels * 24
    _, _, at, there = tile_pixels(tile, pixels, TILE)
    value = gated(loaded(t, at, there), gates, frame, tl.arange(0, 32))
    tl.store(result + at, value.to(result.dtype.element_ty), mask=there)


@triton.jit(do_not_specialize=["pixels", "tiles", "each", "programs"])
def _interact_kernel(
    x, a, by_a, by_x, b1, a1, narrow, expand, expand_bias, reduce, reduce_bias, parts,
    pixels, tiles, each, programs,
    E: tl.constexpr, R: tl.constexpr, NARROW: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    frame = tl.program_id(1).to(tl.int64)
    column = tl.arange(0, 32)
    from_a = tl.load(by_a + frame * 32 + column)[None, :]
    from_x = tl.load(by_x + frame * 32 + column)[None, :]
    x += frame * pixels * 24
    a += frame * pixels * 24
    b1 += frame * pixels * 24
    a1 += frame * pixels * 24
    narrow += frame * pixels * NARROW
    count, sums, squares, pivot = nothing_summed(32)
    first = program * each
    for tile in range(first, tl.minimum(first + each, tiles)):
        pixel, valid, at, there = tile_pixels(tile, pixels, TILE)
        own = loaded(x, at, there)
        others = loaded(a, at, there)
        first_b = (own + from_a * others).to(b1.dtype.element_ty)
        first_a = (others + from_x * own).to(a1.dtype.element_ty)
        tl.store(b1 + at, first_b, mask=there)
        tl.store(a1 + at, first_a, mask=there)
        count, sums, squares, pivot = add_tile(
            count, sums, squares, pivot, first_a, valid, tile == first, 4, 32, 1, 1
        )
        low = narrowed(first_b, expand, expand_bias, reduce, reduce_bias, E, R)
        save_narrow(narrow, low, pixel, valid, R, NARROW)
    save_part(parts, frame, program, programs, count, sums, squares, pivot)


def enter(
    y: Tensor, gates: Tensor | None, unit: Narrow, *, moments: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """A block begins: its input, the parts of its moments, and its first unit's narrow map.

    Args:
        y: ``(N, H, W, 24)``.
        gates: what ``y`` still has to be gated with; ``None``: ``y`` is the input.
        unit: expand and reduce.
        moments: whether anybody wants them; else the parts hold anything.
    """
    tiles, pixels = pixel_tiles(y)
    shared = share(tiles, RESIDENT["enter"] if moments else None)
    x = y if gates is None else y.new_empty(y.shape)
    narrow = narrow_map(y, unit)
    parts = new_parts(y, shared) if moments else unit.expand_bias
    _enter_kernel[(shared.programs, len(y))](
        y, parts if gates is None else gates, x, narrow,
        unit.expand, unit.expand_bias, unit.reduce, unit.reduce_bias, parts,
        pixels, shared.tiles, shared.each, shared.programs,
        GATED=gates is not None, MOMENTS=moments, TILE=TILE, **unit.widths, **LAUNCH,
    )  # fmt: skip
    return x, parts, narrow


def activate(
    t: Tensor, gates: Tensor, x: Tensor, skip: float, unit: Narrow
) -> tuple[Tensor, Tensor]:
    """``leaky_relu(gate(t) + skip x, 0.05)`` and the next unit's narrow map.

    Args:
        t, x: ``(N, H, W, 24)``. gates: of ``t``, ``(N, 2, 32)`` float32. unit: expand and reduce.
    """
    tiles, pixels = pixel_tiles(t)
    p, narrow = t.new_empty(t.shape), narrow_map(t, unit)
    _activate_kernel[(tiles, len(t))](
        t, gates, x, skip, p, narrow,
        unit.expand, unit.expand_bias, unit.reduce, unit.reduce_bias,
        pixels, TILE=TILE, **unit.widths, **LAUNCH,
    )  # fmt: skip
    return p, narrow


def opened(t: Tensor, gates: Tensor) -> Tensor:
    """``gate(t)``, for readers that do not gate it themselves.

    Args:
        t: ``(N, H, W, 24)``. gates: of ``t``, ``(N, 2, 32)`` float32.
    """
    tiles, pixels = pixel_tiles(t)
    result = t.new_empty(t.shape)
    _open_kernel[(tiles, len(t))](t, gates, result, pixels, TILE=TILE, **LAUNCH)
    return result


def interact(
    x: Tensor, a: Tensor, by_a: Tensor, by_x: Tensor, unit: Narrow
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``b1 = x + by_a a`` and ``a1 = a + by_x x``, the parts of a1's moments, b1's narrow map.

    Args:
        x, a: ``(N, H, W, 24)``. by_a, by_x: ``(N, 32)`` float32. unit: expand and reduce.
    """
    tiles, pixels = pixel_tiles(x)
    shared = share(tiles, RESIDENT["interact"])
    b1, a1, narrow = x.new_empty(x.shape), x.new_empty(x.shape), narrow_map(x, unit)
    parts = new_parts(x, shared)
    _interact_kernel[(shared.programs, len(x))](
        x, a, by_a, by_x, b1, a1, narrow,
        unit.expand, unit.expand_bias, unit.reduce, unit.reduce_bias, parts,
        pixels, shared.tiles, shared.each, shared.programs,
        TILE=TILE, **unit.widths, **LAUNCH,
    )  # fmt: skip
    return b1, a1, parts, narrow

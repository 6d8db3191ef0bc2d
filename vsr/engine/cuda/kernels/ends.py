"""How blocks and groups end: convolutions of two maps at once, and all that is added to them."""

from __future__ import annotations

from dataclasses import dataclass

import triton
import triton.language as tl
from torch import Tensor

from vsr.engine.cuda.kernels.conv import (
    CONVOLVE,
    Taps,
    convolved,
    map_tile,
    map_tiles,
    near,
    new_map,
    of_columns,
)
from vsr.engine.cuda.kernels.gates import gated, sigmoid
from vsr.engine.cuda.kernels.grid import RESIDENT, loaded, share
from vsr.engine.cuda.kernels.moments import (
    add_tile,
    new_parts,
    nothing_summed,
    save_part,
)

__all__ = ["Merge", "finish", "merge", "pass_on"]


@dataclass(frozen=True, slots=True, eq=False)
class Merge:
    """A group's end; see :func:`merge`.

    Attributes:
        first, second: the convolution's part for each of two maps; the bias is the first's.
        natural: ``(32,)`` int32, which channel of the second map belongs to each of the result.
        body_scale, skip_scale: of what the blocks have made, and of the unit beside them.
        unit_skip: of the unit's input in its result.
    """

    first: Taps
    second: Taps
    natural: Tensor
    body_scale: float
    skip_scale: float
    unit_skip: float


@triton.jit(do_not_specialize=["height", "width", "across", "tiles", "each", "programs"])
def _finish_kernel(
    z, weights, bias, calibrate, x, t, gates, result, parts,
    height, width, across, tiles, each, programs,
    CHANNELS: tl.constexpr, STEPS: tl.constexpr,
    HIGH: tl.constexpr, WIDE: tl.constexpr, DEPTH: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    frame = tl.program_id(1).to(tl.int64)
    column = tl.arange(0, 32)
    square = column[:, None] * 32 + column[None, :]
    z += frame * height * width * CHANNELS
    x += frame * height * width * 24
    t += frame * height * width * 24
    result += frame * height * width * 24
    count, totals, squares, pivot = nothing_summed(32)
    first = program * each
    for tile in range(first, tl.minimum(first + each, tiles)):
        top, left, begin, valid, at, there = map_tile(tile, across, height, width, HIGH, WIDE)
        sums = tl.zeros([HIGH * WIDE, 32], tl.float32)
        sums, _ = convolved(
            sums, sums, z, weights, top, left, begin, height, width,
            CHANNELS, STEPS, False, HIGH, WIDE, DEPTH, STAGES,
        )  # fmt: skip
        both = z + begin * CHANNELS + near(width, column, CHANNELS, HIGH, WIDE)
        one = tl.load(both, mask=there, other=0.0)
        other = tl.load(both + 24, mask=there, other=0.0)
        chosen = tl.dot(one, tl.load(calibrate + square), input_precision="ieee")
        chosen += tl.dot(other, tl.load(calibrate + 1024 + square), input_precision="ieee")
        sums += (
            of_columns(bias, 0)
            + sigmoid(chosen) * other.to(tl.float32)
            + loaded(x + begin * 24, at, there)
        )
        sums += gated(loaded(t + begin * 24, at, there), gates, frame, column)
        value = sums.to(result.dtype.element_ty)
        tl.store(result + begin * 24 + at, value, mask=there)
        count, totals, squares, pivot = add_tile(
            count, totals, squares, pivot, value, valid, tile == first, 4, 32, 1, 1
        )
    save_part(parts, frame, program, programs, count, totals, squares, pivot)


@triton.jit(do_not_specialize=["height", "width", "across"])
def _pass_on_kernel(
    o1, o2, weights1, weights2, bias, passed, merged, height, width, across,
    CHANNELS: tl.constexpr, STEPS: tl.constexpr,
    HIGH: tl.constexpr, WIDE: tl.constexpr, DEPTH: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    tile = tl.program_id(0)
    frame = tl.program_id(1).to(tl.int64)
    o1 += frame * height * width * 24
    o2 += frame * height * width * 24
    passed += frame * height * width * 24
    merged += frame * height * width * 24
    top, left, begin, _, at, there = map_tile(tile, across, height, width, HIGH, WIDE)
    skip = tl.zeros([HIGH * WIDE, 32], tl.float32)
    sums = tl.zeros([HIGH * WIDE, 32], tl.float32)
    skip, sums = convolved(
        skip, sums, o1, weights1, top, left, begin, height, width,
        CHANNELS, STEPS, True, HIGH, WIDE, DEPTH, STAGES,
    )  # fmt: skip
    sums, _ = convolved(
        sums, sums, o2, weights2, top, left, begin, height, width,
        CHANNELS, STEPS, False, HIGH, WIDE, DEPTH, STAGES,
    )  # fmt: skip
    skip += of_columns(bias, 0) + loaded(o2 + begin * 24, at, there)
    sums += of_columns(bias, 32)
    tl.store(passed + begin * 24 + at, skip.to(passed.dtype.element_ty), mask=there)
    tl.store(merged + begin * 24 + at, sums.to(merged.dtype.element_ty), mask=there)


@triton.jit(do_not_specialize=["height", "width", "across"])
def _merge_kernel(
    c1, o3, weights1, weights2, bias, natural, body_scale, t, gates, skip_scale, x, keep, result,
    height, width, across,
    CHANNELS: tl.constexpr, STEPS: tl.constexpr,
    HIGH: tl.constexpr, WIDE: tl.constexpr, DEPTH: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    tile = tl.program_id(0)
    frame = tl.program_id(1).to(tl.int64)
    column = tl.arange(0, 32)
    stored = tl.load(natural + column)
    c1 += frame * height * width * 24
    o3 += frame * height * width * 24
    t += frame * height * width * 24
    x += frame * height * width * 24
    result += frame * height * width * 24
    top, left, begin, _, at, there = map_tile(tile, across, height, width, HIGH, WIDE)
    sums = tl.zeros([HIGH * WIDE, 32], tl.float32)
    sums, _ = convolved(
        sums, sums, c1, weights1, top, left, begin, height, width,
        CHANNELS, STEPS, False, HIGH, WIDE, DEPTH, STAGES,
    )  # fmt: skip
    sums, _ = convolved(
        sums, sums, o3, weights2, top, left, begin, height, width,
        CHANNELS, STEPS, False, HIGH, WIDE, DEPTH, STAGES,
    )  # fmt: skip
    sums += of_columns(bias, 0) + loaded(
        o3 + begin * 24, near(width, stored, 24, HIGH, WIDE), there
    )
    beside = gated(loaded(t + begin * 24, at, there), gates, frame, column)
    value = sums * body_scale + beside * skip_scale + loaded(x + begin * 24, at, there) * keep
    tl.store(result + begin * 24 + at, value.to(result.dtype.element_ty), mask=there)


def finish(
    z: Tensor, taps: Taps, calibrate: Tensor, x: Tensor, t: Tensor, gates: Tensor
) -> tuple[Tensor, Tensor]:
    """A block's result before its own gate, and the parts of its moments.

    ``gate(t) + shortcut(z) + x + sigmoid(calibrate(z)) branch b``.

    Args:
        z: both branches, ``(N, H, W, 48)``.
        taps: the shortcut, to 24 channels.
        calibrate: ``(2, 32, 32)`` in the storage type: branch, input, output.
        x: the block's input, ``(N, H, W, 24)``.
        t: the wide path of what fuses the branches, likewise. gates: of ``t``.
    """
    sizes, tiles = map_tiles(z)
    shared = share(tiles, RESIDENT["finish"])
    result, parts = new_map(z), new_parts(z, shared)
    _finish_kernel[(shared.programs, len(z))](
        z, taps.weights, taps.bias, calibrate, x, t, gates, result, parts, *sizes, *shared.numbers,
        **taps.widths, **CONVOLVE,
    )  # fmt: skip
    return result, parts


def pass_on(o1: Tensor, o2: Tensor, first: Taps, second: Taps) -> tuple[Tensor, Tensor]:
    """``o2 + skip(o1)``, which the third block reads, and ``merge1(o1, o2)``.

    Args:
        o1, o2: what the first two blocks of a group have made, ``(N, H, W, 24)``.
        first: of o1, to 48 channels: ``skip``, and ``merge1``'s part. second: merge1's part of o2.

    Returns:
        ``(N, H, W, 24)`` each.
    """
    sizes, tiles = map_tiles(o1)
    passed, merged = new_map(o1), new_map(o1)
    _pass_on_kernel[(tiles, len(o1))](
        o1, o2, first.weights, second.weights, first.bias, passed, merged, *sizes,
        **first.widths, **CONVOLVE,
    )  # fmt: skip
    return passed, merged


def merge(
    c1: Tensor, o3: Tensor, end: Merge, t: Tensor, gates: Tensor, x: Tensor, *, residual: bool
) -> Tensor:
    """``(merge2(c1, o3) + o3) body_scale + unit(x) skip_scale``, channels in their natural order.

    Args:
        c1, o3: ``(N, H, W, 24)``, in the order in which the third block leaves its channels.
        end: the parameters.
        t: the unit's wide path, ``(N, H, W, 24)``. gates: of ``t``, ``(N, 2, 32)`` float32.
        x: the group's input, likewise. residual: whether it is added to the result.
    """
    sizes, tiles = map_tiles(x)
    result = new_map(x)
    keep = end.skip_scale * end.unit_skip + float(residual)
    _merge_kernel[(tiles, len(x))](
        c1, o3, end.first.weights, end.second.weights, end.first.bias, end.natural,
        end.body_scale, t, gates, end.skip_scale, x, keep, result, *sizes,
        **end.first.widths, **CONVOLVE,
    )  # fmt: skip
    return result

"""How blocks and groups end: convolutions of two maps at once, and all that is added to them."""

from __future__ import annotations

from dataclasses import dataclass

import triton
import triton.language as tl
from torch import Tensor

from vsr.engine.cuda.kernels.conv import (
    CONVOLVE,
    Taps,
    biased,
    convolved,
    map_tile,
    map_tiles,
    new_map,
)
from vsr.engine.cuda.kernels.gates import gated
from vsr.engine.cuda.kernels.grid import loaded, places, share
from vsr.engine.cuda.kernels.moments import add_tile, new_parts, save_part

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
    CHANNELS: tl.constexpr, CHUNKS: tl.constexpr,
    HIGH: tl.constexpr, WIDE: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    frame = tl.program_id(1).to(tl.int64)
    column = tl.arange(0, 32)
    square = column[:, None] * 32 + column[None, :]
    z += frame * height * width * CHANNELS
    x += frame * height * width * 24
    t += frame * height * width * 24
    result += frame * height * width * 24
    count = 0.0
    mean = tl.zeros([32], tl.float32)
    squares = tl.zeros([32], tl.float32)
    first = program * each
    for tile in range(first, tl.minimum(first + each, tiles)):
        row, line, valid, at, there = map_tile(tile, across, height, width, HIGH, WIDE)
        sums = biased(bias, 0, HIGH * WIDE)
        sums, _ = convolved(
            sums, sums, z, weights, row, line, height, width, CHANNELS, CHUNKS, False, STAGES
        )
        both = places(row * width + line, column, CHANNELS)
        one = tl.load(z + both, mask=there, other=0.0)
        other = tl.load(z + both + 24, mask=there, other=0.0)
        chosen = tl.dot(one, tl.load(calibrate + square), input_precision="ieee")
        chosen += tl.dot(other, tl.load(calibrate + 1024 + square), input_precision="ieee")
        sums += tl.sigmoid(chosen) * other.to(tl.float32) + loaded(x, at, there)
        sums += gated(loaded(t, at, there), gates, frame, column)
        value = sums.to(result.dtype.element_ty)
        tl.store(result + at, value, mask=there)
        count, mean, squares = add_tile(count, mean, squares, value.to(tl.float32), valid)
    save_part(parts, frame, program, programs, count, mean, squares)


@triton.jit(do_not_specialize=["height", "width", "across"])
def _pass_on_kernel(
    o1, o2, weights1, weights2, bias, passed, merged, height, width, across,
    CHANNELS: tl.constexpr, CHUNKS: tl.constexpr,
    HIGH: tl.constexpr, WIDE: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    tile = tl.program_id(0)
    frame = tl.program_id(1).to(tl.int64)
    o1 += frame * height * width * 24
    o2 += frame * height * width * 24
    passed += frame * height * width * 24
    merged += frame * height * width * 24
    row, line, _, at, there = map_tile(tile, across, height, width, HIGH, WIDE)
    skip = biased(bias, 0, HIGH * WIDE)
    sums = biased(bias, 32, HIGH * WIDE)
    skip, sums = convolved(
        skip, sums, o1, weights1, row, line, height, width, CHANNELS, CHUNKS, True, STAGES
    )
    sums, _ = convolved(
        sums, sums, o2, weights2, row, line, height, width, CHANNELS, CHUNKS, False, STAGES
    )
    skip += loaded(o2, at, there)
    tl.store(passed + at, skip.to(passed.dtype.element_ty), mask=there)
    tl.store(merged + at, sums.to(merged.dtype.element_ty), mask=there)


@triton.jit(do_not_specialize=["height", "width", "across"])
def _merge_kernel(
    c1, o3, weights1, weights2, bias, natural, body_scale, t, gates, skip_scale, x, keep, result,
    height, width, across,
    CHANNELS: tl.constexpr, CHUNKS: tl.constexpr,
    HIGH: tl.constexpr, WIDE: tl.constexpr, STAGES: tl.constexpr,
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
    row, line, _, at, there = map_tile(tile, across, height, width, HIGH, WIDE)
    sums = biased(bias, 0, HIGH * WIDE)
    sums, _ = convolved(
        sums, sums, c1, weights1, row, line, height, width, CHANNELS, CHUNKS, False, STAGES
    )
    sums, _ = convolved(
        sums, sums, o3, weights2, row, line, height, width, CHANNELS, CHUNKS, False, STAGES
    )
    sums += loaded(o3, places(row * width + line, stored, 24), there)
    beside = gated(loaded(t, at, there), gates, frame, column)
    value = sums * body_scale + beside * skip_scale + loaded(x, at, there) * keep
    tl.store(result + at, value.to(result.dtype.element_ty), mask=there)


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
    shared = share(tiles, 2)
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

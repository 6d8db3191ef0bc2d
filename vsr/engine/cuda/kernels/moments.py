"""Mean and variance of each channel over a frame: parts per program, added in one order.

A program leaves count, mean and sum of squared deviations of its own pixels; parts are joined
exactly (Chan, Golub and LeVeque, "Algorithms for computing the sample variance", 1983). Sums of
squares about zero would cancel where a channel is nearly constant, and atomic additions would come
in another order each time.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from vsr.engine.cuda.kernels.grid import FLAT, LAUNCH, TILE, Share, loaded, places, share

__all__ = [
    "add_tile",
    "all_of",
    "frame_moments",
    "moments",
    "new_parts",
    "save_part",
    "statistics",
]

#: Rows of a part: mean, sum of squared deviations, count.
_ROWS = 3


@triton.jit
def _tile_moments(values, valid):
    """Count, and mean and sum of squared deviations of each column of ``(P, C)`` float32."""
    count = tl.sum(valid.to(tl.float32), 0)
    mean = tl.sum(tl.where(valid[:, None], values, 0.0), 0) / count
    deviation = tl.where(valid[:, None], values - mean[None, :], 0.0)
    return count, mean, tl.sum(deviation * deviation, 0)


@triton.jit
def add_tile(count, mean, squares, values, valid):
    """The moments of the pixels so far and of a tile ``(P, C)`` float32, as those of one set."""
    more, more_mean, more_squares = _tile_moments(values, valid)
    total = count + more
    part = more / total
    delta = more_mean - mean
    squares += more_squares + delta * delta * count * part
    return total, mean + delta * part, squares


@triton.jit
def save_part(parts, frame, program, programs, count, mean, squares):
    """Write a program's part to ``(N, programs, 3, 32)``."""
    column = tl.arange(0, 32)
    to = parts + (frame * programs + program) * 96 + column
    tl.store(to, mean)
    tl.store(to + 32, squares)
    tl.store(to + 64, tl.zeros([32], tl.float32) + count)


@triton.jit
def frame_moments(parts, frame, programs, ROWS: tl.constexpr):
    """Mean and population variance, ``(32,)`` each, from a frame's at most ``ROWS`` parts.

    All are read at once, because everything waits for it: it takes as long as memory's answer.
    """
    row = tl.arange(0, ROWS)
    begin = parts + frame * programs * 96 + row * 96
    at = begin[:, None] + tl.arange(0, 32)[None, :]
    there = row < programs
    n = tl.load(begin + 64, mask=there, other=0.0)
    mean = tl.load(at, mask=there[:, None], other=0.0)
    inside = tl.load(at + 32, mask=there[:, None], other=0.0)
    count = tl.sum(n, 0)
    whole = tl.sum(n[:, None] * mean, 0) / count
    off = mean - whole[None, :]
    return whole, tl.sum(inside + n[:, None] * off * off, 0) / count


@triton.jit(do_not_specialize=["pixels", "tiles", "each", "programs"])
def _moments_kernel(
    x, parts, pixels, tiles, each, programs, CHANNELS: tl.constexpr, TILE: tl.constexpr
):
    program = tl.program_id(0)
    frame = tl.program_id(1).to(tl.int64)
    column = tl.arange(0, 32)
    x += frame * pixels * CHANNELS
    count = 0.0
    mean = tl.zeros([32], tl.float32)
    squares = tl.zeros([32], tl.float32)
    first = program * each
    for tile in range(first, tl.minimum(first + each, tiles)):
        pixel = tile * TILE + tl.arange(0, TILE)
        valid = pixel < pixels
        there = valid[:, None] & (column < CHANNELS)[None, :]
        at = places(pixel, column, CHANNELS)
        count, mean, squares = add_tile(count, mean, squares, loaded(x, at, there), valid)
    save_part(parts, frame, program, programs, count, mean, squares)


@triton.jit(do_not_specialize=["programs"])
def _statistics_kernel(
    parts, means, variances, programs, CHANNELS: tl.constexpr, ROWS: tl.constexpr
):
    frame = tl.program_id(0).to(tl.int64)
    mean, variance = frame_moments(parts, frame, programs, ROWS)
    column = tl.arange(0, 32)
    there = column < CHANNELS
    tl.store(means + frame * CHANNELS + column, mean, mask=there)
    tl.store(variances + frame * CHANNELS + column, variance, mask=there)


def new_parts(x: Tensor, shared: Share) -> Tensor:
    """Room for the parts of every frame of ``x``, ``(N, programs, 3, 32)`` float32."""
    return x.new_empty((len(x), shared.programs, _ROWS, FLAT), dtype=torch.float32)


def all_of(parts: Tensor) -> dict[str, int | bool]:
    """Options of a launch of one program a frame, which reads all ``parts`` at once."""
    rows = triton.next_power_of_2(parts.shape[1])
    # Mean and squares are 64 registers of each thread at most.
    return LAUNCH | {"ROWS": rows, "num_warps": max(1, rows // 64)}


def moments(x: Tensor) -> Tensor:
    """Parts of the moments of ``(N, H, W, C)`` with ``C <= 32``; see :func:`new_parts`."""
    frames, height, width, channels = x.shape
    shared = share(-(-height * width // TILE), 3)
    parts = new_parts(x, shared)
    _moments_kernel[(shared.programs, frames)](
        x, parts, height * width, shared.tiles, shared.each, shared.programs,
        CHANNELS=channels, TILE=TILE, **LAUNCH,
    )  # fmt: skip
    return parts


def statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and population variance per frame and channel of ``(N, H, W, C)``, ``C <= 32``.

    Returns:
        ``(N, C)`` float32 each.
    """
    frames, channels = x.shape[0], x.shape[3]
    parts = moments(x)
    mean, variance = x.new_empty((2, frames, channels), dtype=torch.float32)
    _statistics_kernel[(frames,)](
        parts, mean, variance, parts.shape[1], CHANNELS=channels, **all_of(parts)
    )
    return mean, variance

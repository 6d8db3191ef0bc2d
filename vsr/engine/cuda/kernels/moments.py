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

from vsr.engine.cuda.kernels.grid import FLAT, LAUNCH, RESIDENT, TILE, Share, loaded, places, share

__all__ = [
    "add_tile",
    "all_of",
    "frame_moments",
    "moments",
    "new_parts",
    "nothing_summed",
    "save_part",
    "statistics",
]

#: Rows of a part: mean, sum of squared deviations, count.
_ROWS = 3


@triton.jit
def nothing_summed(ROWS: tl.constexpr):
    """Count, sums, squares and pivot of no pixels; see :func:`add_tile`."""
    count = tl.zeros([ROWS], tl.float32)
    sums = tl.zeros([ROWS, 32], tl.float32)
    return count, sums, sums, tl.zeros([32], tl.float32)


@triton.jit
def _tile_mean(values, valid):
    """Mean of each column of a tile ``(P, 32)`` float32."""
    total = tl.sum(tl.where(valid[:, None], values, 0.0), 0)
    return total / tl.sum(valid.to(tl.float32), 0)


@triton.jit
def add_tile(
    count, sums, squares, pivot, stored, valid, begins,
    A: tl.constexpr, B: tl.constexpr, C: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    """Add a tile's pixels to sums about a pivot, in ``B D`` rows that meet only in the end.

    Pixels of a tile that lie in one thread are added within it; threads need not wait for another
    until :func:`save_part`.

    Args:
        count: pixels so far, ``(B D,)``. sums, squares: of their deviations, ``(B D, 32)``.
        pivot: ``(32,)``, the mean of the first tile: since its pixels are among those summed, no
            more than a few bits cancel.
        stored: the tile's values, ``(P, 32)``. valid: ``(P,)``. begins: this is the first tile.
        A, B, C, D: pixels as four axes, of which the first and third lie in one thread.
    """
    values = stored.to(tl.float32)
    if begins:
        pivot = _tile_mean(values, valid)
    off = tl.where(valid[:, None], values - pivot[None, :], 0.0)
    count += _in_threads(tl.reshape(valid.to(tl.float32), [A, B, C, D, 1]), B * D, 1).reshape(
        [B * D]
    )
    sums += _in_threads(tl.reshape(off, [A, B, C, D, 32]), B * D, 32)
    squares += _in_threads(tl.reshape(off * off, [A, B, C, D, 32]), B * D, 32)
    return count, sums, squares, pivot


@triton.jit
def _in_threads(values, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """``(A, B, C, D, columns)`` summed over A and C: ``(B D, columns)``."""
    return tl.reshape(tl.sum(tl.sum(values, 2), 0), [ROWS, COLUMNS])


@triton.jit
def save_part(parts, frame, program, programs, count, sums, squares, pivot):
    """Write a program's part to ``(N, programs, 3, 32)``: mean, squared deviations, count."""
    column = tl.arange(0, 32)
    n = tl.sum(count, 0)
    total = tl.sum(sums, 0)
    to = parts + (frame * programs + program) * 96 + column
    tl.store(to, pivot + total / n)
    tl.store(to + 32, tl.maximum(tl.sum(squares, 0) - total * (total / n), 0.0))
    tl.store(to + 64, tl.zeros([32], tl.float32) + n)


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
    count, sums, squares, pivot = nothing_summed(32)
    first = program * each
    for tile in range(first, tl.minimum(first + each, tiles)):
        pixel = tile * TILE + tl.arange(0, TILE)
        valid = pixel < pixels
        there = valid[:, None] & (column < CHANNELS)[None, :]
        at = places(pixel, column, CHANNELS)
        values = loaded(x, at, there)
        count, sums, squares, pivot = add_tile(
            count, sums, squares, pivot, values, valid, tile == first, 4, 32, 1, 1
        )
    save_part(parts, frame, program, programs, count, sums, squares, pivot)


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
    shared = share(-(-height * width // TILE), RESIDENT["moments"])
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

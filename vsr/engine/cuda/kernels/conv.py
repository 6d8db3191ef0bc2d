"""3x3 convolutions to 24 channels, with what comes right after: moments, a sum, a sigmoid.

An implicit matrix product: for each of nine places and each 16 channels, a tile of shifted pixels
times ``(16, 32)`` weights. Shifted tiles overlap, so that all but the first come from the cache.
"""

from __future__ import annotations

from dataclasses import dataclass

import triton
import triton.language as tl
from torch import Tensor

from vsr.engine.cuda.kernels.grid import LAUNCH, MAP, Share, loaded, places, share
from vsr.engine.cuda.kernels.moments import add_tile, new_parts, save_part

__all__ = ["Taps", "add", "split", "with_moments"]


#: Tiles of pixels and weights that are on their way to a product, or in it.
_STAGES = 3


@dataclass(frozen=True, slots=True, eq=False)
class Taps:
    """A convolution's parameters, filled up with zeros.

    Attributes:
        weights: ``(9, I, O)`` in the storage type: place row by row, input filled up to 16s,
            output filled up to 32 for each 24.
        bias: ``(O,)`` float32.
        channels: of the map that is read, ``<= I``.
    """

    weights: Tensor
    bias: Tensor
    channels: int


@triton.jit(do_not_specialize=["height", "width", "across", "tiles", "each", "programs"])
def _conv_kernel(
    x, weights, bias, result, second, other, parts,
    height, width, across, tiles, each, programs,
    CHANNELS: tl.constexpr, CHUNKS: tl.constexpr, SPLIT: tl.constexpr, ADD: tl.constexpr,
    MOMENTS: tl.constexpr, HIGH: tl.constexpr, WIDE: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    frame = tl.program_id(1).to(tl.int64)
    COLUMNS: tl.constexpr = 64 if SPLIT else 32
    x += frame * height * width * CHANNELS
    result += frame * height * width * 24
    second += frame * height * width * 24
    other += frame * height * width * 24
    place = tl.arange(0, HIGH * WIDE)
    column = tl.arange(0, 32)
    count = 0.0
    mean = tl.zeros([32], tl.float32)
    squares = tl.zeros([32], tl.float32)
    first = program * each
    for tile in range(first, tl.minimum(first + each, tiles)):
        row = (tile // across) * HIGH + place // WIDE
        line = (tile % across) * WIDE + place % WIDE
        value = tl.zeros([HIGH * WIDE, 32], tl.float32) + tl.load(bias + column)[None, :]
        chosen = value
        if SPLIT:
            chosen = tl.zeros([HIGH * WIDE, 32], tl.float32)
            chosen += tl.load(bias + 32 + column)[None, :]
        for step in tl.range(0, 9 * CHUNKS, num_stages=STAGES):
            tap = step // CHUNKS
            channel = (step % CHUNKS) * 16 + tl.arange(0, 16)
            y = row + (tap // 3 - 1)
            z = line + (tap % 3 - 1)
            inside = (y >= 0) & (y < height) & (z >= 0) & (z < width)
            there = inside[:, None] & (channel < CHANNELS)[None, :]
            begin = places(y * width + z, channel, CHANNELS)
            part = tl.load(x + begin, mask=there, other=0.0)
            at = (tap * CHUNKS * 16 + channel[:, None]) * COLUMNS + column[None, :]
            value += tl.dot(part, tl.load(weights + at), input_precision="ieee")
            if SPLIT:
                chosen += tl.dot(part, tl.load(weights + at + 32), input_precision="ieee")
        valid = (row < height) & (line < width)
        there = valid[:, None] & (column < 24)[None, :]
        at = places(row * width + line, column, 24)
        if ADD:
            value += loaded(other, at, there)
        rounded = value.to(result.dtype.element_ty)
        tl.store(result + at, rounded, mask=there)
        if SPLIT:
            tl.store(second + at, tl.sigmoid(chosen).to(second.dtype.element_ty), mask=there)
        if MOMENTS:
            count, mean, squares = add_tile(count, mean, squares, rounded.to(tl.float32), valid)
    if MOMENTS:
        save_part(parts, frame, program, programs, count, mean, squares)


def _launch(
    x: Tensor,
    taps: Taps,
    shared: Share,
    across: int,
    result: Tensor,
    *,
    second: Tensor | None = None,
    other: Tensor | None = None,
    parts: Tensor | None = None,
) -> None:
    height, width = x.shape[1:3]
    _conv_kernel[(shared.programs, len(x))](
        x, taps.weights, taps.bias, result,
        result if second is None else second,
        result if other is None else other,
        taps.bias if parts is None else parts,
        height, width, across, shared.tiles, shared.each, shared.programs,
        CHANNELS=taps.channels, CHUNKS=taps.weights.shape[1] // 16, SPLIT=second is not None,
        ADD=other is not None, MOMENTS=parts is not None, HIGH=MAP[0], WIDE=MAP[1],
        STAGES=_STAGES, **LAUNCH,
    )  # fmt: skip


def _shared(x: Tensor) -> tuple[Share, int]:
    """How a map's tiles are shared, and how many lie side by side."""
    across = -(-x.shape[2] // MAP[1])
    return share(across * -(-x.shape[1] // MAP[0])), across


def _map(x: Tensor) -> Tensor:
    return x.new_empty((*x.shape[:3], 24))


def with_moments(x: Tensor, taps: Taps) -> tuple[Tensor, Tensor]:
    """The convolution of ``(N, H, W, C)``, ``(N, H, W, 24)``, and the parts of its moments."""
    shared, across = _shared(x)
    result, parts = _map(x), new_parts(x, shared)
    _launch(x, taps, shared, across, result, parts=parts)
    return result, parts


def split(x: Tensor, taps: Taps) -> tuple[Tensor, Tensor]:
    """A convolution of ``(N, H, W, C)`` to 48 channels: the first 24, and the others' sigmoid.

    Both are ``(N, H, W, 24)``.
    """
    shared, across = _shared(x)
    result, second = _map(x), _map(x)
    _launch(x, taps, shared, across, result, second=second)
    return result, second


def add(x: Tensor, taps: Taps, other: Tensor) -> Tensor:
    """``convolution(x) + other``, where ``other`` is ``(N, H, W, 24)``, as is the result."""
    shared, across = _shared(x)
    result = _map(x)
    _launch(x, taps, shared, across, result, other=other)
    return result

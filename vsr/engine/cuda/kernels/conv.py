"""3x3 convolutions to 24 channels, with whatever can be done to their results on the way out.

An implicit matrix product: for each of nine places and each 16 channels, a tile of shifted pixels
times ``(16, 32)`` weights. Shifted tiles overlap, so that all but the first come from the cache.
Memory limits the network, so a convolution whose result is only added to something adds it itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import triton
import triton.language as tl
from torch import Tensor

from vsr.engine.cuda.kernels.gates import gated
from vsr.engine.cuda.kernels.grid import (
    LAUNCH,
    MAP,
    THREE_RESIDENT,
    loaded,
    places,
    share,
)
from vsr.engine.cuda.kernels.moments import add_tile, new_parts, save_part

__all__ = [
    "CONVOLVE",
    "Taps",
    "biased",
    "convolved",
    "map_tile",
    "map_tiles",
    "new_map",
    "sum_up",
    "wide",
]

#: Tiles of pixels and weights that are on their way to a product, or in it.
_STAGES = 3
#: Options of a convolution's launch.
CONVOLVE = LAUNCH | {"HIGH": MAP[0], "WIDE": MAP[1], "STAGES": _STAGES}


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

    @property
    def widths(self) -> dict[str, int]:
        """What kernels are compiled for."""
        return {"CHANNELS": self.channels, "CHUNKS": self.weights.shape[1] // 16}


@triton.jit
def map_tile(tile, across, height, width, HIGH: tl.constexpr, WIDE: tl.constexpr):
    """A tile's rows and columns, which of its pixels exist, where their 24 channels lie, a mask."""
    place = tl.arange(0, HIGH * WIDE)
    row = (tile // across) * HIGH + place // WIDE
    line = (tile % across) * WIDE + place % WIDE
    valid = (row < height) & (line < width)
    column = tl.arange(0, 32)
    at = places(row * width + line, column, 24)
    return row, line, valid, at, valid[:, None] & (column < 24)[None, :]


@triton.jit
def convolved(
    sums, more, x, weights, row, line, height, width,
    CHANNELS: tl.constexpr, CHUNKS: tl.constexpr, SPLIT: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """``sums`` plus a convolution of a map at a tile's pixels: ``(P, 32)`` float32.

    If ``SPLIT``, weights have 64 columns, and the second half of them goes to ``more``.
    """
    COLUMNS: tl.constexpr = 64 if SPLIT else 32
    column = tl.arange(0, 32)
    for step in tl.range(0, 9 * CHUNKS, num_stages=STAGES):
        tap = step // CHUNKS
        channel = (step % CHUNKS) * 16 + tl.arange(0, 16)
        y = row + (tap // 3 - 1)
        z = line + (tap % 3 - 1)
        inside = (y >= 0) & (y < height) & (z >= 0) & (z < width)
        there = inside[:, None] & (channel < CHANNELS)[None, :]
        part = tl.load(x + places(y * width + z, channel, CHANNELS), mask=there, other=0.0)
        at = (tap * CHUNKS * 16 + channel[:, None]) * COLUMNS + column[None, :]
        sums += tl.dot(part, tl.load(weights + at), input_precision="ieee")
        if SPLIT:
            more += tl.dot(part, tl.load(weights + at + 32), input_precision="ieee")
    return sums, more


@triton.jit
def biased(bias, FROM: tl.constexpr, PIXELS: tl.constexpr):
    """Sums ``(P, 32)`` that begin with the bias of the columns from ``FROM`` on."""
    column = tl.arange(0, 32)
    return tl.zeros([PIXELS, 32], tl.float32) + tl.load(bias + FROM + column)[None, :]


@triton.jit(do_not_specialize=["height", "width", "across", "tiles", "each", "programs"])
def _wide_kernel(
    x, weights, bias, result, parts, height, width, across, tiles, each, programs,
    CHANNELS: tl.constexpr, CHUNKS: tl.constexpr,
    HIGH: tl.constexpr, WIDE: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    frame = tl.program_id(1).to(tl.int64)
    x += frame * height * width * CHANNELS
    result += frame * height * width * 24
    count = 0.0
    mean = tl.zeros([32], tl.float32)
    squares = tl.zeros([32], tl.float32)
    first = program * each
    for tile in range(first, tl.minimum(first + each, tiles)):
        row, line, valid, at, there = map_tile(tile, across, height, width, HIGH, WIDE)
        sums = biased(bias, 0, HIGH * WIDE)
        sums, _ = convolved(
            sums, sums, x, weights, row, line, height, width, CHANNELS, CHUNKS, False, STAGES
        )
        value = sums.to(result.dtype.element_ty)
        tl.store(result + at, value, mask=there)
        count, mean, squares = add_tile(count, mean, squares, value.to(tl.float32), valid)
    save_part(parts, frame, program, programs, count, mean, squares)


@triton.jit(do_not_specialize=["height", "width", "across", "tiles", "each", "programs"])
def _sum_up_kernel(
    p, weights, bias, t, gates, result, distilled, parts,
    height, width, across, tiles, each, programs,
    CHANNELS: tl.constexpr, CHUNKS: tl.constexpr,
    HIGH: tl.constexpr, WIDE: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    frame = tl.program_id(1).to(tl.int64)
    p += frame * height * width * CHANNELS
    t += frame * height * width * 24
    result += frame * height * width * 24
    distilled += frame * height * width * 24
    count = 0.0
    mean = tl.zeros([32], tl.float32)
    squares = tl.zeros([32], tl.float32)
    first = program * each
    for tile in range(first, tl.minimum(first + each, tiles)):
        row, line, valid, at, there = map_tile(tile, across, height, width, HIGH, WIDE)
        sums = biased(bias, 0, HIGH * WIDE)
        chosen = biased(bias, 32, HIGH * WIDE)
        sums, chosen = convolved(
            sums, chosen, p, weights, row, line, height, width, CHANNELS, CHUNKS, True, STAGES
        )
        tl.store(distilled + at, tl.sigmoid(chosen).to(distilled.dtype.element_ty), mask=there)
        sums += gated(loaded(t, at, there), gates, frame, tl.arange(0, 32))
        value = sums.to(result.dtype.element_ty)
        tl.store(result + at, value, mask=there)
        count, mean, squares = add_tile(count, mean, squares, value.to(tl.float32), valid)
    save_part(parts, frame, program, programs, count, mean, squares)


def map_tiles(x: Tensor) -> tuple[tuple[int, int, int], int]:
    """Height, width and tiles side by side of a map ``(N, H, W, C)``, and a frame's tiles."""
    height, width = x.shape[1:3]
    across = -(-width // MAP[1])
    return (height, width, across), across * -(-height // MAP[0])


def new_map(x: Tensor) -> Tensor:
    """Room for 24 channels of each pixel of ``(N, H, W, C)``."""
    return x.new_empty((*x.shape[:3], 24))


def wide(low: Tensor, taps: Taps) -> tuple[Tensor, Tensor]:
    """The convolution of a narrow map ``(N, H, W, C)`` and the parts of its moments.

    Returns:
        ``(N, H, W, 24)``, and parts as of :func:`vsr.engine.cuda.kernels.moments.moments`.
    """
    sizes, tiles = map_tiles(low)
    shared = share(tiles, 3)
    result, parts = new_map(low), new_parts(low, shared)
    _wide_kernel[(shared.programs, len(low))](
        low, taps.weights, taps.bias, result, parts, *sizes, *shared.numbers,
        **taps.widths, **CONVOLVE,
    )  # fmt: skip
    return result, parts


def sum_up(p: Tensor, taps: Taps, t: Tensor, gates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What a WCRW gives, and what it distils.

    Args:
        p: its input, ``(N, H, W, 24)``.
        taps: to 48 channels: its shortcut and the distilled half's convolution.
        t: its wide path, ``(N, H, W, 24)``. gates: of ``t``, ``(N, 2, 32)`` float32.

    Returns:
        ``gate(t) + shortcut(p)``; the parts of its moments; the sigmoid of the distilled half's.
    """
    sizes, tiles = map_tiles(p)
    shared = share(tiles, 3)
    result, distilled, parts = new_map(p), new_map(p), new_parts(p, shared)
    _sum_up_kernel[(shared.programs, len(p))](
        p, taps.weights, taps.bias, t, gates, result, distilled, parts, *sizes, *shared.numbers,
        **taps.widths, **CONVOLVE, **THREE_RESIDENT,
    )  # fmt: skip
    return result, parts, distilled

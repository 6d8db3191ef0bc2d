"""3x3 convolutions to 24 channels, with whatever can be done to their results on the way out.

An implicit matrix product. What a pixel's result depends on, the channels of nine neighbours, is a
row of ``9 C`` values, of which so many at a time are gathered that steps, which all threads have to
wait for, are few. Neighbours overlap, so that most come from the cache. Memory limits the network,
so a convolution whose result is only added to something adds it itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import triton
import triton.language as tl
from torch import Tensor

from vsr.engine.cuda.kernels.gates import gated, sigmoid
from vsr.engine.cuda.kernels.grid import (
    LAUNCH,
    MAP,
    RESIDENT,
    loaded,
    share,
)
from vsr.engine.cuda.kernels.moments import (
    add_tile,
    new_parts,
    nothing_summed,
    save_part,
)

__all__ = [
    "CONVOLVE",
    "Taps",
    "convolved",
    "depth",
    "map_tile",
    "map_tiles",
    "near",
    "new_map",
    "of_columns",
    "sum_up",
    "wide",
]

#: Values of a row in a step, and steps whose pixels and weights are on their way to a product or in
#: it: for maps of up to 24 channels, and for those of 48.
_STEPS = (32, 3), (64, 2)
#: Options of a convolution's launch.
CONVOLVE = LAUNCH | {"HIGH": MAP[0], "WIDE": MAP[1]}


@dataclass(frozen=True, slots=True, eq=False)
class Taps:
    """A convolution's parameters, filled up with zeros.

    Attributes:
        weights: ``(I, O)`` in the storage type: place row by row, and a place's channels one after
            the other, filled up to a multiple of :func:`depth`; output filled up to 32 for each 24.
        bias: ``(O,)`` float32.
        channels: of the map that is read, a multiple of eight.
    """

    weights: Tensor
    bias: Tensor
    channels: int

    @property
    def widths(self) -> dict[str, int]:
        """What kernels are compiled for."""
        deep = depth(self.channels)
        return {
            "CHANNELS": self.channels,
            "DEPTH": deep,
            "STEPS": self.weights.shape[0] // deep,
            "STAGES": _steps(self.channels)[1],
        }


def depth(channels: int) -> int:
    """Values of a row that a step takes, of a map of so many channels."""
    return _steps(channels)[0]


def _steps(channels: int) -> tuple[int, int]:
    return _STEPS[channels >= 48]


@triton.jit
def map_tile(tile, across, height, width, HIGH: tl.constexpr, WIDE: tl.constexpr):
    """Where a tile lies.

    Returns:
        Its first row and column; the number of its first pixel, int64; which of its pixels exist,
        ``(P,)``; where 24 channels lie from the first pixel's on, ``(P, 32)`` int32, and a mask.
    """
    above = tile // across
    top = above * HIGH
    left = (tile - above * across) * WIDE
    begin = tl.cast(top, tl.int64) * width + left
    place = tl.arange(0, HIGH * WIDE)
    column = tl.arange(0, 32)
    valid = (top + place // WIDE < height) & (left + place % WIDE < width)
    at = near(width, column, 24, HIGH, WIDE)
    return top, left, begin, valid, at, valid[:, None] & (column < 24)[None, :]


@triton.jit
def near(width, channel, CHANNELS: tl.constexpr, HIGH: tl.constexpr, WIDE: tl.constexpr):
    """Where channels ``(C,)`` of a tile's pixels lie from its first pixel on: ``(P, C)`` int32."""
    place = tl.arange(0, HIGH * WIDE)
    return (place // WIDE * width + place % WIDE)[:, None] * CHANNELS + channel[None, :]


@triton.jit
def convolved(
    sums, more, x, weights, top, left, begin, height, width,
    CHANNELS: tl.constexpr, STEPS: tl.constexpr, SPLIT: tl.constexpr,
    HIGH: tl.constexpr, WIDE: tl.constexpr, DEPTH: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """``sums`` plus a convolution of a map at a tile's pixels: ``(P, 32)`` float32.

    If ``SPLIT``, weights have 64 columns, and the second half of them goes to ``more``.
    """
    COLUMNS: tl.constexpr = 64 if SPLIT else 32
    place = tl.arange(0, HIGH * WIDE)
    column = tl.arange(0, 32)
    x += begin * CHANNELS
    for step in tl.range(0, STEPS, num_stages=STAGES):
        value = step * DEPTH + tl.arange(0, DEPTH)
        # What the last step has too many of is multiplied by zeros.
        tap = tl.minimum(value // CHANNELS, 8)
        y = (place // WIDE)[:, None] + (tap // 3 - 1)[None, :]
        z = (place % WIDE)[:, None] + (tap % 3 - 1)[None, :]
        # Negative places are large ones without a sign.
        there = ((top + y).to(tl.uint32) < height) & ((left + z).to(tl.uint32) < width)
        at = x + (y * width + z) * CHANNELS + (value % CHANNELS)[None, :]
        part = tl.load(at, mask=there, other=0.0)
        to = value[:, None] * COLUMNS + column[None, :]
        sums += tl.dot(part, tl.load(weights + to), input_precision="ieee")
        if SPLIT:
            more += tl.dot(part, tl.load(weights + to + 32), input_precision="ieee")
    return sums, more


@triton.jit
def of_columns(bias, FROM: tl.constexpr):
    """The bias of 32 columns from ``FROM`` on, ``(1, 32)``."""
    return tl.load(bias + FROM + tl.arange(0, 32))[None, :]


@triton.jit(do_not_specialize=["height", "width", "across", "tiles", "each", "programs"])
def _wide_kernel(
    x, weights, bias, result, parts, height, width, across, tiles, each, programs,
    CHANNELS: tl.constexpr, STEPS: tl.constexpr,
    HIGH: tl.constexpr, WIDE: tl.constexpr, DEPTH: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    frame = tl.program_id(1).to(tl.int64)
    x += frame * height * width * CHANNELS
    result += frame * height * width * 24
    count, totals, squares, pivot = nothing_summed(32)
    first = program * each
    for tile in range(first, tl.minimum(first + each, tiles)):
        top, left, begin, valid, at, there = map_tile(tile, across, height, width, HIGH, WIDE)
        sums = tl.zeros([HIGH * WIDE, 32], tl.float32)
        sums, _ = convolved(
            sums, sums, x, weights, top, left, begin, height, width,
            CHANNELS, STEPS, False, HIGH, WIDE, DEPTH, STAGES,
        )  # fmt: skip
        value = (sums + of_columns(bias, 0)).to(result.dtype.element_ty)
        tl.store(result + begin * 24 + at, value, mask=there)
        count, totals, squares, pivot = add_tile(
            count, totals, squares, pivot, value, valid, tile == first, 2, 4, 2, 8
        )
    save_part(parts, frame, program, programs, count, totals, squares, pivot)


@triton.jit(do_not_specialize=["height", "width", "across", "tiles", "each", "programs"])
def _sum_up_kernel(
    p, weights, bias, t, gates, result, distilled, parts,
    height, width, across, tiles, each, programs,
    CHANNELS: tl.constexpr, STEPS: tl.constexpr,
    HIGH: tl.constexpr, WIDE: tl.constexpr, DEPTH: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    frame = tl.program_id(1).to(tl.int64)
    p += frame * height * width * CHANNELS
    t += frame * height * width * 24
    result += frame * height * width * 24
    distilled += frame * height * width * 24
    count, totals, squares, pivot = nothing_summed(32)
    first = program * each
    for tile in range(first, tl.minimum(first + each, tiles)):
        top, left, begin, valid, at, there = map_tile(tile, across, height, width, HIGH, WIDE)
        sums = tl.zeros([HIGH * WIDE, 32], tl.float32)
        chosen = tl.zeros([HIGH * WIDE, 32], tl.float32)
        sums, chosen = convolved(
            sums, chosen, p, weights, top, left, begin, height, width,
            CHANNELS, STEPS, True, HIGH, WIDE, DEPTH, STAGES,
        )  # fmt: skip
        chosen = sigmoid(chosen + of_columns(bias, 32))
        tl.store(distilled + begin * 24 + at, chosen.to(distilled.dtype.element_ty), mask=there)
        sums += of_columns(bias, 0) + gated(
            loaded(t + begin * 24, at, there), gates, frame, tl.arange(0, 32)
        )
        value = sums.to(result.dtype.element_ty)
        tl.store(result + begin * 24 + at, value, mask=there)
        count, totals, squares, pivot = add_tile(
            count, totals, squares, pivot, value, valid, tile == first, 4, 32, 1, 1
        )
    save_part(parts, frame, program, programs, count, totals, squares, pivot)


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
    shared = share(tiles, RESIDENT["wide"])
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
    shared = share(tiles, RESIDENT["sum_up"])
    result, distilled, parts = new_map(p), new_map(p), new_parts(p, shared)
    _sum_up_kernel[(shared.programs, len(p))](
        p, taps.weights, taps.bias, t, gates, result, distilled, parts, *sizes, *shared.numbers,
        **taps.widths, **CONVOLVE,
    )  # fmt: skip
    return result, parts, distilled

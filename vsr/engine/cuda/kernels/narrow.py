"""Expand 1x1, ReLU, reduce 1x1, on a tile of pixels: the wide features never leave the chip."""

from __future__ import annotations

from dataclasses import dataclass

import triton
import triton.language as tl
from torch import Tensor

from vsr.engine.cuda.kernels.grid import TILE, places

__all__ = [
    "Narrow",
    "narrow_map",
    "narrowed",
    "pixel_tiles",
    "reduced",
    "save_narrow",
    "tile_pixels",
]


@dataclass(frozen=True, slots=True, eq=False)
class Narrow:
    """Expand and reduce, filled up with zeros to powers of two.

    Attributes:
        expand: ``(I, E)`` in the storage type, ``I`` input channels; bias: ``(E,)`` float32.
        reduce: ``(E, R)``; reduce_bias: ``(R,)``.
        channels: that the narrow map stores, ``<= R``.
    """

    expand: Tensor
    expand_bias: Tensor
    reduce: Tensor
    reduce_bias: Tensor
    channels: int

    @property
    def widths(self) -> dict[str, int]:
        """What kernels are compiled for."""
        wide, narrow = self.reduce.shape
        return {"E": wide, "R": narrow, "NARROW": self.channels}


@triton.jit
def tile_pixels(tile, pixels, TILE: tl.constexpr):
    """A tile's pixels, which of them exist, and the places of their 24 channels with a mask."""
    pixel = tile * TILE + tl.arange(0, TILE)
    valid = pixel < pixels
    column = tl.arange(0, 32)
    at = places(pixel, column, 24)
    return pixel, valid, at, valid[:, None] & (column < 24)[None, :]


@triton.jit
def narrowed(x, expand, expand_bias, reduce, reduce_bias, E: tl.constexpr, R: tl.constexpr):
    """``reduce(relu(expand(x)))`` of ``(P, 32)`` in the storage type: ``(P, R)`` float32."""
    channel = tl.arange(0, 32)
    wide = tl.arange(0, E)
    weights = tl.load(expand + channel[:, None] * E + wide[None, :])
    h = tl.dot(x, weights, input_precision="ieee") + tl.load(expand_bias + wide)[None, :]
    return reduced(h, x.dtype, reduce, reduce_bias, E, R)


@triton.jit
def reduced(h, dtype: tl.constexpr, reduce, reduce_bias, E: tl.constexpr, R: tl.constexpr):
    """``reduce(relu(h))`` of ``(P, E)`` float32: ``(P, R)`` float32."""
    wide = tl.arange(0, E)
    narrow = tl.arange(0, R)
    weights = tl.load(reduce + wide[:, None] * R + narrow[None, :])
    h = tl.maximum(h, 0.0).to(dtype)
    return tl.dot(h, weights, input_precision="ieee") + tl.load(reduce_bias + narrow)[None, :]


@triton.jit
def save_narrow(narrow, values, pixel, valid, R: tl.constexpr, NARROW: tl.constexpr):
    """Store a tile's first ``NARROW`` columns."""
    channel = tl.arange(0, R)
    to = narrow + places(pixel, channel, NARROW)
    there = valid[:, None] & (channel < NARROW)[None, :]
    tl.store(to, values.to(narrow.dtype.element_ty), mask=there)


def pixel_tiles(x: Tensor) -> tuple[int, int]:
    """A frame's tiles in a map ``(N, H, W, C)``, and its pixels."""
    pixels = x.shape[1] * x.shape[2]
    return -(-pixels // TILE), pixels


def narrow_map(x: Tensor, unit: Narrow) -> Tensor:
    """Room for the narrow map of ``(N, H, W, C)``."""
    return x.new_empty((*x.shape[:3], unit.channels))

"""How a frame's tiles are shared among programs, where they lie, and how a launch is set up."""

from __future__ import annotations

from dataclasses import dataclass

import triton
import triton.language as tl

__all__ = ["FLAT", "LAUNCH", "MAP", "RESIDENT", "TILE", "Share", "loaded", "places", "share"]

#: Pixels of a tile: two blocks of the 64 rows that a Hopper tensor core multiplies at a time.
TILE = 128
#: The same as rows and columns, for kernels that read neighbours.
MAP = (8, 16)
#: Columns of a tile inside a kernel.
FLAT = 32
#: An H200's.
_MULTIPROCESSORS = 132
#: Of each kernel that sums, how many programs a multiprocessor has registers for at a time.
RESIDENT = {"enter": 2, "finish": 2, "interact": 2, "moments": 3, "sum_up": 2, "wide": 3}
#: Options of every launch. Several programs share a multiprocessor and hide each other's waiting;
#: pipelining the loop over tiles as well would take the shared memory that they need for that.
#: Multiply-adds may be fused, as cuDNN does.
LAUNCH = {"num_warps": 4, "num_stages": 1, "enable_fp_fusion": True}


@dataclass(frozen=True, slots=True)
class Share:
    """Tiles of one frame, and how many of them in a row each program takes.

    Attributes:
        tiles: of a frame. each: tiles of a program; the last may have fewer. programs: of a frame.
    """

    tiles: int
    each: int
    programs: int

    @property
    def numbers(self) -> tuple[int, int, int]:
        """Tiles, each, programs, as kernels take them."""
        return self.tiles, self.each, self.programs


@triton.jit
def places(pixel, channel, CHANNELS: tl.constexpr):
    """Where ``(C,)`` channels of ``(P,)`` pixels lie in a frame's map: ``(P, C)`` int64.

    24 channels of 90 megapixels are more than 32 bits count.
    """
    return pixel.to(tl.int64)[:, None] * CHANNELS + channel[None, :]


@triton.jit
def loaded(x, at, there):
    """A tile's values at the places ``at``, float32; zero where ``there`` is false."""
    return tl.load(x + at, mask=there, other=0.0).to(tl.float32)


def share(tiles: int, resident: int | None) -> Share:
    """Share a frame's tiles evenly; every program has one at least.

    Args:
        tiles: of a frame.
        resident: of :data:`RESIDENT`. Each program leaves its part of the statistics, and somebody
            has to add them, so there are as many as run at a time, and none that begins when
            others are done. ``None``: the kernel sums nothing, and each tile has a program.
    """
    if resident is None:
        return Share(tiles, 1, tiles)
    each = -(-tiles // (resident * _MULTIPROCESSORS))
    return Share(tiles, each, -(-tiles // each))

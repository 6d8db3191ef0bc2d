"""Hardware decoders' surfaces to planes, on whatever device the tensors are.

A surface has luma, and both chroma planes interleaved: NV12 with samples of 8 bits, P010 and P016
with wider ones in the top bits of 16 (FFmpeg's ``libavutil/pixdesc.c``). Samples only change
their places, so the planes equal those of a decoder on the CPU exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["unpack_semi_planar"]


def unpack_semi_planar(luma: Tensor, chroma: Tensor, into: Sequence[Tensor], bits: int) -> None:
    """Copy a surface into planes Y, U, V.

    Args:
        luma: ``(H, W)``, uint8, or uint16 with the value in the top ``bits`` bits; rows may be
            padded.
        chroma: ``(H/2, W/2, 2)`` of the same kind: U and V.
        into: three planes ``(H, W)``, ``(H/2, W/2)``, ``(H/2, W/2)``, uint8, or uint16 with the
            value in the low bits; on the same device.
        bits: significant bits of a sample.
    """
    for source, target in zip((luma, chroma[..., 0], chroma[..., 1]), into, strict=True):
        if source.dtype == torch.uint8:
            target.copy_(source)
        else:
            # torch shifts no unsigned 16-bit integers: let 32 bits hold them.
            wide = source.view(torch.int16).to(torch.int32).bitwise_and_(0xFFFF)
            target.view(torch.int16).copy_(wide.bitwise_right_shift_(16 - bits))

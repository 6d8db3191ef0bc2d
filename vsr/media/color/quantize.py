"""Integer codes and what they stand for: ITU-T H.273 (BT.601, BT.709, BT.2020, BT.2100) scaling.

Light signals here are nominally 0..255 (black to white) whatever the bit depth, colour differences
-127.5..127.5; a *code* is the integer in a plane.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vsr.errors import InputError
from vsr.types import ColorRange

__all__ = ["Scale", "chroma_scale", "full_scale", "luma_scale"]


@dataclass(frozen=True, slots=True)
class Scale:
    """``code = gain * signal + zero``, between 0 and the format's largest code.

    Attributes:
        gain: codes per unit of a signal that is nominally 0..255 or -127.5..127.5.
        zero: the code of signal 0.
        bits: of the code.
    """

    gain: float
    zero: int
    bits: int

    def decode(self, codes: Tensor) -> Tensor:
        """Signal of integer ``codes``, float32, same shape; footroom and headroom survive."""
        # Subtracting first keeps integers exact: code `zero` is signal 0.0, whatever the gain.
        return codes.to(torch.float32).sub_(self.zero).mul_(1 / self.gain)

    def encode_(self, signal: Tensor) -> Tensor:
        """Codes of a float32 ``signal``, uint8 or uint16; **overwrites** ``signal``.

        Rounds half up, which is H.273's ``Round`` for codes (they are never negative), and clamps
        to ``0..2**bits - 1``: a limited-range picture keeps its footroom and headroom. Codes that
        BT.1120/SDI reserves for synchronisation (0 and 255 at 8 bits) are ordinary values in files.

        A depth lower than the source's is rounded, not dithered.
        """
        top = float(2**self.bits - 1)
        # Conversion to an integer type cuts off, so half a code on top rounds.
        signal.mul_(self.gain).add_(self.zero + 0.5).clamp_(0.0, top)
        return signal.to(torch.uint8 if self.bits <= 8 else torch.uint16)


def full_scale(bits: int) -> Scale:
    """Full range: 0 is black (transparent), ``2**bits - 1`` is white (opaque)."""
    return Scale((2**bits - 1) / 255, 0, bits)


def luma_scale(bits: int, color_range: ColorRange) -> Scale:
    """Of Y, and of R, G and B: full, or limited to ``(16..235) * 2**(bits - 8)``.

    Raises:
        InputError: the range is unspecified.
    """
    if _is_full(color_range):
        return full_scale(bits)
    return Scale(219 * 2 ** (bits - 8) / 255, 16 << (bits - 8), bits)


def chroma_scale(bits: int, color_range: ColorRange, limited_codes: int = 224) -> Scale:
    """Of Cb and Cr: zero at ``2**(bits - 1)``; limited range spans ``limited_codes`` at 8 bits.

    Raises:
        InputError: the range is unspecified.
    """
    gain = 2**bits - 1 if _is_full(color_range) else limited_codes * 2 ** (bits - 8)
    return Scale(gain / 255, 1 << (bits - 1), bits)


def _is_full(color_range: ColorRange) -> bool:
    if color_range is ColorRange.UNSPECIFIED:
        raise InputError(
            "the sample range is unspecified, and black is a different code in each",
            where="color.range",
            remedy="Decide for limited (what untagged video is) or full before converting.",
        )
    return color_range is ColorRange.FULL

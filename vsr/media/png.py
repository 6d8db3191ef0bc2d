"""A picture as a PNG file, and back."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import torch
from torch import Tensor

from vsr.errors import InputError, OutputError, UsageError
from vsr.media.av_errors import av_errors

__all__ = ["decode_png", "encode_png"]

_FORMATS = {torch.uint8: "rgb24", torch.uint16: "rgb48be"}


def encode_png(rgb: Tensor) -> bytes:
    """The bytes of a PNG file (ISO/IEC 15948) that holds exactly these samples.

    The file has no colour tags, which viewers take for sRGB.

    Args:
        rgb: ``(3, H, W)``, uint8 (8 bits per sample) or uint16 (16 bits), on any device.

    Raises:
        UsageError: another shape or type, or no pixels.
        OutputError: the encoder failed.
    """
    name = _FORMATS.get(rgb.dtype)
    if name is None or rgb.dim() != 3 or rgb.shape[0] != 3 or rgb.numel() == 0:
        raise UsageError(
            f"(3, H, W) of uint8 or uint16 is needed for a PNG, not {tuple(rgb.shape)} "
            f"of {str(rgb.dtype).removeprefix('torch.')}"
        )
    samples = rgb.permute(1, 2, 0).contiguous().cpu().numpy()
    frame = av.VideoFrame.from_ndarray(samples, name)  # takes samples in native byte order
    frame.pts = 0
    with av_errors("a PNG picture", "encode it", OutputError):
        encoder = av.CodecContext.create("png", "w")
        encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, name
        encoder.time_base = Fraction(1, 25)
        # Each row filtered as suits it best (the heuristic of the PNG specification, 12.7).
        encoder.options = {"pred": "mixed"}
        encoder.thread_count = 1
        return b"".join(bytes(p) for p in [*encoder.encode(frame), *encoder.encode(None)])


def decode_png(data: bytes) -> Tensor:
    """The samples of a PNG file.

    Returns:
        ``(3, H, W)``, uint16 from 16-bit RGB, else uint8; alpha is dropped.

    Raises:
        InputError: it is not a whole PNG file.
    """
    with av_errors("a PNG picture", "decode it", InputError):
        decoder = av.CodecContext.create("png", "r")
        decoder.thread_count = 1
        frames = [*decoder.decode(av.Packet(data)), *decoder.decode(None)]
    if len(frames) != 1 or not isinstance(frames[0], av.VideoFrame):
        raise InputError("cannot decode a PNG picture: it holds none")
    frame = frames[0]
    deep = frame.format.name == "rgb48be"
    samples = frame.to_ndarray() if deep else frame.to_ndarray(format="rgb24")
    return torch.from_numpy(np.ascontiguousarray(samples)).permute(2, 0, 1).contiguous()

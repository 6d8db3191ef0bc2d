"""Evaluation protocols: how a clip is made small, and which numbers of two frames are compared.

Two are in use, and they give different figures for the same frames:

``video``
    What the file holds: Y is the luma plane, as the clip's own matrix and range define it, at its
    own bit depth (scaled to 8 bits, not rounded), every pixel counts, the peak is 255. That is what
    video tools measure. The result is what ``vsr upscale`` gives to the encoder, chroma subsampled
    as in the clip, and the small clip has the clip's own pixel format.
``matlab``
    What papers about single images print: frames are RGB pictures of 8 bits, made small by
    MATLAB's ``imresize`` (which rounds to 8 bits), Y is MATLAB's ``rgb2ycbcr`` in floating point
    whatever the clip's own matrix is, and as many pixels as the scale are shaved at each edge.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from vsr.media.color import batch_to_rgb, from_rgb
from vsr.media.color.matrix import luma_weights, same_matrix
from vsr.metrics import Signals, rgb_to_y
from vsr.models.bicubic import imresize, resize_exactly
from vsr.types import Color, ColorRange, FrameBatch, Matrix, pixel_format

__all__ = [
    "PROTOCOLS",
    "EvaluationProtocol",
    "cropped",
    "resized",
    "rgb8",
    "rgb_picture",
    "same_samples",
]

_RGB8 = pixel_format("gbrp")
_RGB_COLOR = Color(matrix=Matrix.RGB, range=ColorRange.FULL)


class EvaluationProtocol(Protocol):
    """See the head of this file."""

    #: One sentence for the settings of an evaluation.
    summary: str

    def form(self, batch: FrameBatch) -> FrameBatch:
        """``batch`` in the form in which frames are enlarged and compared."""
        ...

    def shrink(self, batch: FrameBatch, scale: int) -> FrameBatch:
        """``batch`` (formed, sides multiples of ``scale``) at ``1 / scale`` of its size."""
        ...

    def signals(self, batch: FrameBatch, color: Color) -> Signals:
        """What is compared of ``batch`` (formed), if the ground truth's colour is ``color``."""
        ...

    def shave(self, scale: int) -> int:
        """Pixels left out at each edge, unless somebody asks for another number."""
        ...


class _Video:
    summary = (
        "video: the clip's own Y at its own depth scaled to 8 bits, peak 255; RGB by its own "
        "matrix, clamped to 0..255, not rounded"
    )

    def form(self, batch: FrameBatch) -> FrameBatch:
        return batch

    def shrink(self, batch: FrameBatch, scale: int) -> FrameBatch:
        rgb, _ = batch_to_rgb(batch)
        small = resize_exactly(rgb, 1 / scale)
        planes = from_rgb(small, None, batch.format, batch.color)
        height, width = small.shape[-2:]
        return replace(batch, planes=planes, width=width, height=height)

    def signals(self, batch: FrameBatch, color: Color) -> Signals:
        rgb, _ = batch_to_rgb(batch)
        own = batch.color.range is color.range and same_matrix(batch.color.matrix, color.matrix)
        if color.matrix is Matrix.RGB:  # an RGB clip has no luma of its own
            luma = rgb_to_y(rgb)
        elif own and batch.format.family != "rgb":
            luma = _to_8_bits(batch.planes[0], batch.format.bits, color.range).unsqueeze(1)
        else:
            luma = _luma(rgb, color)
        return Signals(luma, rgb.clamp(0, 255))

    def shave(self, scale: int) -> int:  # noqa: ARG002
        return 0


class _Matlab:
    summary = (
        "matlab: RGB of 8 bits, Y of MATLAB's rgb2ycbcr in floating point, peak 255, LR by "
        "MATLAB's imresize"
    )

    def form(self, batch: FrameBatch) -> FrameBatch:
        return rgb8(batch)

    def shrink(self, batch: FrameBatch, scale: int) -> FrameBatch:
        return resized(batch, 1 / scale)

    def signals(self, batch: FrameBatch, color: Color) -> Signals:  # noqa: ARG002
        rgb = torch.stack([batch.planes[i] for i in (2, 0, 1)], dim=1).float()
        return Signals(rgb_to_y(rgb), rgb)

    def shave(self, scale: int) -> int:
        return scale


#: By name; the first is the default for clips and files, the second for images.
PROTOCOLS: dict[str, EvaluationProtocol] = {"video": _Video(), "matlab": _Matlab()}


def cropped(batch: FrameBatch, scale: int) -> FrameBatch:
    """The largest part from the top left whose sides are multiples of ``scale``."""
    width, height = (size // scale * scale for size in (batch.width, batch.height))
    if (width, height) == (batch.width, batch.height):
        return batch
    planes = []
    for index, plane in enumerate(batch.planes):
        h, w = batch.format.plane_size(index, width, height)
        planes.append(plane[:, :h, :w].contiguous())
    return replace(batch, planes=tuple(planes), width=width, height=height)


def rgb8(batch: FrameBatch) -> FrameBatch:
    """As RGB of 8 bits, clamped and rounded; alpha is left out."""
    if batch.format == _RGB8 and batch.color.range is ColorRange.FULL:
        return batch
    rgb, _ = batch_to_rgb(batch)
    planes = from_rgb(rgb, None, _RGB8, _RGB_COLOR)
    return replace(batch, planes=planes, format=_RGB8, color=_RGB_COLOR)


def rgb_picture(batch: FrameBatch, index: int) -> Tensor:
    """One frame as ``(3, H, W)`` uint8 RGB."""
    planes = rgb8(batch).planes
    return torch.stack([planes[i][index] for i in (2, 0, 1)])


def same_samples(a: FrameBatch, b: FrameBatch) -> bool:
    """Whether two batches of one form hold the same numbers."""
    return all(torch.equal(p, q) for p, q in zip(a.planes, b.planes, strict=True))


def resized(batch: FrameBatch, scale: float) -> FrameBatch:
    """8-bit frames by MATLAB's ``imresize``, bit for bit."""
    planes = []
    for plane in batch.planes:
        # Frames as channels: what imresize does to one does not depend on the others.
        frames = plane.permute(1, 2, 0).cpu().numpy()
        planes.append(torch.from_numpy(imresize(frames, scale)).permute(2, 0, 1).contiguous())
    height, width = planes[0].shape[-2:]
    return replace(batch, planes=tuple(planes), width=width, height=height)


def _to_8_bits(plane: Tensor, bits: int, span: ColorRange) -> Tensor:
    """Codes on the scale of 8 bits: limited range shifts bits, full range stretches."""
    gain = 255 / (2**bits - 1) if span is ColorRange.FULL else 1 / 2 ** (bits - 8)
    return plane.to(torch.float64).mul_(gain)


def _luma(rgb: Tensor, color: Color) -> Tensor:
    """Y of another clip as ``color`` defines it, in codes of 8 bits, not rounded."""
    weights = torch.tensor(luma_weights(color.matrix), dtype=torch.float64, device=rgb.device)
    y = (rgb.to(torch.float64) * weights.view(3, 1, 1)).sum(-3, keepdim=True)
    return y if color.range is ColorRange.FULL else 16 + y * (219 / 255)

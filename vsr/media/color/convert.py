"""A video's own samples to RGB and back, in float32 on tensors of any device.

Everything follows ITU-T H.273 (which restates BT.601, BT.709, BT.2020). ``quantize`` beside this
file scales codes, ``chroma`` resamples chroma, ``matrix`` has the matrices.
Transfer characteristics are not undone: networks are trained on gamma-coded R'G'B'.

RGB is nominally 0..255 whatever the bit depth and is **not clamped**: YUV codes that lie outside
the RGB cube survive, so 4:4:4 (and grey, and RGB) planes of 8 to 16 bits come back exactly, and
subsampled chroma does to within a code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vsr.errors import UsageError
from vsr.media.color.chroma import downsample, upsample
from vsr.media.color.matrix import coefficients, luma_weights
from vsr.media.color.quantize import Scale, chroma_scale, full_scale, luma_scale
from vsr.types import Color, ColorRange, FrameBatch, Matrix, PixelFormat

__all__ = ["batch_to_rgb", "from_rgb", "to_rgb"]

#: Plane numbers of R, G, B in FFmpeg's planar RGB formats.
_GBR = (2, 0, 1)


def to_rgb(
    planes: Sequence[Tensor],
    format: PixelFormat,  # noqa: A002
    color: Color,
) -> tuple[Tensor, Tensor | None]:
    """Planes to RGB.

    Args:
        planes: one per plane of ``format``, ``(N, H_p, W_p)``, uint8 or uint16, on one device.
        format: what the planes are.
        color: how to read them: matrix and range, and the site where chroma is subsampled. RGB
            formats need none of these; their range is full unless tagged as limited.

    Returns:
        ``(N, 3, H, W)`` float32 R'G'B', nominally 0..255, not clamped; and alpha, ``(N, 1, H, W)``
        float32 in 0..255, or ``None`` if the format has none.

    Raises:
        UsageError: the planes are not tensors of the sizes that the format has.
        InputError: something needed is unspecified, or the matrix has no linear inverse.
    """
    _check_planes(planes, format)
    alpha = full_scale(format.bits).decode(planes[-1]).unsqueeze(1) if format.alpha else None
    luma = _luma_scale(format, color)
    count, height, width = planes[0].shape
    rgb = torch.empty((count, 3, height, width), dtype=torch.float32, device=planes[0].device)
    if _is_rgb(format, color):
        for channel, plane in enumerate(_GBR):
            rgb[:, channel] = luma.decode(planes[plane])
        return rgb, alpha
    y = luma.decode(planes[0])
    if format.family == "gray":
        rgb[:] = y.unsqueeze(1)
        return rgb, alpha
    matrix = coefficients(color.matrix)
    scale = chroma_scale(format.bits, color.range, matrix.limited_codes)
    differences = [
        upsample(scale.decode(plane), format, color.site, (height, width)) for plane in planes[1:3]
    ]
    for channel, gains in enumerate(matrix.to_rgb):
        _weighted_sum(y, differences, gains, out=rgb[:, channel])
    return rgb, alpha


def from_rgb(
    rgb: Tensor,
    alpha: Tensor | None,
    format: PixelFormat,  # noqa: A002
    color: Color,
) -> tuple[Tensor, ...]:
    """RGB to planes, rounded half up and clamped to the codes that ``format`` has.

    Footroom and headroom of limited range are kept; a bit depth lower than the source's is rounded,
    not dithered. Formats without alpha drop it, those with alpha get opaque if there is none.

    Args:
        rgb: ``(N, 3, H, W)`` R'G'B' of real numbers, nominally 0..255.
        alpha: ``(N, 1, H, W)`` likewise, of the same size, or ``None``.
        format: of the planes wanted.
        color: what their samples shall mean; as for :func:`to_rgb`. A grey picture is the luma of
            ``color.matrix``.

    Returns:
        One tensor per plane of ``format``, ``(N, H_p, W_p)``, uint8 or uint16, contiguous.

    Raises:
        UsageError: tensors of another shape, or something else.
        InputError: something needed is unspecified, or the matrix has no linear form.
    """
    _check_shape("rgb", rgb, 3)
    if alpha is not None:
        _check_shape("alpha", alpha, 1)
        if rgb.shape[::2] != alpha.shape[::2] or rgb.shape[3] != alpha.shape[3]:
            raise UsageError(f"alpha {_shape(alpha)} is not of the size of rgb {_shape(rgb)}")
    rgb = rgb.to(torch.float32)
    luma = _luma_scale(format, color)
    if _is_rgb(format, color):
        order = sorted(range(3), key=_GBR.__getitem__)
        planes = [luma.encode_(_copy(rgb[:, channel])) for channel in order]
    elif format.family == "gray":
        planes = [luma.encode_(_luma(rgb, luma_weights(color.matrix)))]
    else:
        matrix = coefficients(color.matrix)
        scale = chroma_scale(format.bits, color.range, matrix.limited_codes)
        y = _luma(rgb, matrix.luma)
        signals = (*rgb.unbind(1), y)
        chroma: list[Tensor] = []
        for gain, plus, minus in matrix.differences:
            # Averaging and the matrix commute, so the gain waits until there are fewer samples.
            difference = (signals[plus] - signals[minus]).contiguous()
            chroma.append(scale.encode_(downsample(difference, format, color.site).mul_(gain)))
        planes = [luma.encode_(y), *chroma]
    if format.alpha:
        opaque = torch.full_like(planes[0], 255.0, dtype=torch.float32)
        signal = opaque if alpha is None else _copy(alpha[:, 0])
        planes.append(full_scale(format.bits).encode_(signal))
    return tuple(planes)


def batch_to_rgb(batch: FrameBatch) -> tuple[Tensor, Tensor | None]:
    """:func:`to_rgb` of a batch; on a CUDA device the current stream waits for its planes."""
    batch.wait()
    return to_rgb(batch.planes, batch.format, batch.color)


def _is_rgb(format: PixelFormat, color: Color) -> bool:  # noqa: A002
    """Planes G, B, R: RGB formats, and "YUV" 4:4:4 whose matrix is the identity (H.273)."""
    if format.family == "yuv":
        whole = format.log2_chroma_w == format.log2_chroma_h == 0
        return whole and color.matrix is Matrix.RGB
    return format.family == "rgb"


def _luma_scale(format: PixelFormat, color: Color) -> Scale:  # noqa: A002
    if format.family == "rgb" and color.range is ColorRange.UNSPECIFIED:
        return full_scale(format.bits)
    return luma_scale(format.bits, color.range)


def _check_shape(name: str, given: Any, channels: int) -> None:
    if not isinstance(given, Tensor):
        raise UsageError(
            f"{name} must be a torch.Tensor, not {type(given).__name__}",
            remedy="Of an array, pass torch.from_numpy(array).",
        )
    if given.dim() != 4 or given.shape[1] != channels or 0 in given.shape[2:]:
        raise UsageError(f"{name} must be (N, {channels}, H, W), not {_shape(given)}")


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a single number"


def _check_planes(planes: Sequence[Tensor], format: PixelFormat) -> None:  # noqa: A002
    plane: Any
    for plane in planes:
        if not isinstance(plane, Tensor) or plane.dim() != 3 or 0 in plane.shape[1:]:
            what = _shape(plane) if isinstance(plane, Tensor) else type(plane).__name__
            raise UsageError(f"planes of {format.name} must be tensors (N, H, W), not {what}")
    if len({plane.shape[0] for plane in planes}) != 1:
        raise UsageError(f"planes of {format.name} must be of the same number of frames")
    height, width = planes[0].shape[1:]
    wanted = [format.plane_size(p, width, height) for p in range(format.planes)]
    got = [tuple(plane.shape[1:]) for plane in planes]
    if got != wanted:
        raise UsageError(f"planes of {format.name} must measure {wanted}, these are {got}")


def _weighted_sum(
    base: Tensor, terms: Sequence[Tensor], gains: Sequence[float], out: Tensor
) -> None:
    """``out = base + sum(gain * term)``, one pass per gain that is not zero (one at least)."""
    total = base
    for term, gain in zip(terms, gains, strict=True):
        if gain:
            torch.add(total, term, alpha=gain, out=out)
            total = out


def _luma(rgb: Tensor, weights: tuple[float, float, float]) -> Tensor:
    """``(N, H, W)``, contiguous and new."""
    y = _copy(rgb[:, 0]).mul_(weights[0])
    return y.add_(rgb[:, 1], alpha=weights[1]).add_(rgb[:, 2], alpha=weights[2])


def _copy(signal: Tensor) -> Tensor:
    """A contiguous float32 copy, to be overwritten."""
    return signal.to(torch.float32, copy=True, memory_format=torch.contiguous_format)

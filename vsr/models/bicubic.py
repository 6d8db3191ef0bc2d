"""MATLAB's bicubic ``imresize``: bit for bit on 8-bit images, and as a weight-free upscaler.

The kernel is Keys' cubic convolution with a = -0.5 ("Cubic Convolution Interpolation for Digital
Image Processing", IEEE Trans. ASSP 29(6), 1981), widened by 1/scale when shrinking (antialiasing).
Super-resolution benchmarks make their low-resolution images with it, so a different bicubic
(PyTorch's has a = -0.75, OpenCV's does not antialias) shifts every published figure.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - what everybody calls it
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["Bicubic", "imresize", "resize", "resize_exactly", "resize_matrix"]

_SUPPORT = 4  # samples under the unwidened kernel


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    d = np.abs(x)
    d2 = d * d
    d3 = d2 * d
    near = (1.5 * d3 - 2.5 * d2 + 1) * (d <= 1)
    far = (-0.5 * d3 + 2.5 * d2 - 4 * d + 2) * ((d > 1) & (d <= 2))
    out: NDArray[np.float64] = near + far
    return out


@lru_cache(maxsize=8)
def resize_matrix(size: int, scale: float) -> NDArray[np.float64]:
    """One axis of the resize as a matrix.

    Args:
        size: samples before.
        scale: 2.0 doubles, 0.5 halves.

    Returns:
        ``(ceil(size * scale), size)``, rows summing to 1; samples beyond the border repeat it.
    """
    out = int(np.ceil(size * scale - 1e-9))
    shrink = min(scale, 1.0)
    width = _SUPPORT / shrink
    # MATLAB counts pixels from 1 and puts their centres on integers.
    centre = np.arange(1, out + 1) / scale + 0.5 * (1 - 1 / scale)
    first = np.floor(centre - width / 2)
    taps = first[:, None] + np.arange(int(np.ceil(width)) + 2)
    weights = shrink * _cubic(shrink * (centre[:, None] - taps))
    weights /= weights.sum(1, keepdims=True)
    source = np.clip(taps - 1, 0, size - 1).astype(np.intp)
    matrix = np.zeros((out, size))
    np.add.at(matrix, (np.arange(out)[:, None], source), weights)
    matrix.setflags(write=False)
    return matrix


def imresize(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """Resize as MATLAB's ``imresize(image, scale, 'bicubic')`` does an 8-bit image.

    Rows are resized first and rounded to 8 bits, then columns, rounded again: that is MATLAB's
    order for one scale on both axes, and it shows in the last bit.

    Args:
        image: ``(H, W)`` or ``(H, W, C)`` uint8.
        scale: for both axes; benchmarks crop the image to a multiple of the scale beforehand.

    Returns:
        ``(ceil(H * scale), ceil(W * scale)[, C])`` uint8.
    """
    return _resize(image, (float(scale), float(scale)))


def resize(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """:func:`imresize` to a size, where the two axes may need scales that differ a little.

    Args:
        image: ``(H, W)`` or ``(H, W, C)`` uint8.
        height, width: of the result.

    Returns:
        ``(height, width[, C])`` uint8; what ``imresize`` gives where that has this size.
    """
    return _resize(image, (height / image.shape[0], width / image.shape[1]))


def _resize(image: NDArray[np.uint8], scales: tuple[float, float]) -> NDArray[np.uint8]:
    for axis, scale in enumerate(scales):
        matrix = resize_matrix(image.shape[axis], scale)
        exact = np.tensordot(matrix, image.astype(np.float64), (1, axis))
        rounded = np.clip(np.floor(exact + 0.5), 0, 255).astype(np.uint8)
        image = np.moveaxis(rounded, 0, axis)
    return np.ascontiguousarray(image)


def resize_exactly(x: Tensor, scale: float) -> Tensor:
    """:func:`imresize` in floating point: nothing is rounded between rows and columns, or after.

    Args:
        x: ``(..., H, W)`` floating point.
        scale: for both axes.

    Returns:
        ``(..., ceil(H * scale), ceil(W * scale))`` of x's dtype, not clamped.
    """
    height, width = x.shape[-2:]
    rows, columns = (
        torch.tensor(resize_matrix(size, float(scale)), dtype=x.dtype, device=x.device)
        for size in (height, width)
    )
    return rows @ x @ columns.t()


class Bicubic(nn.Module):
    """The same enlargement without rounding: a network without weights, and the baseline.

    Equals :func:`imresize` but for its two roundings. Works on any number of channels.

    Args:
        scale: whole number, 2 or more.
    """

    kernel: Tensor

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale
        # In the middle of a long enough line every output sample sees five input samples.
        middle = resize_matrix(11, float(scale))[5 * scale : 6 * scale, 3:8]
        phases = np.einsum("ai,bj->abij", middle, middle).reshape(scale * scale, 1, 5, 5)
        self.register_buffer("kernel", torch.from_numpy(phases).float(), persistent=False)

    @staticmethod
    def state_shapes(name: str, scale: int) -> dict[str, tuple[int, ...]]:  # noqa: ARG004
        """No weights."""
        return {}

    @classmethod
    def from_state(cls, name: str, scale: int, state: Mapping[str, Tensor]) -> Bicubic:  # noqa: ARG003
        """Build it; there is nothing to load."""
        return cls(scale)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to ``(N, C, scale * H, scale * W)``, floating point, not clamped."""
        n, c, h, w = x.shape
        padded = F.pad(x.reshape(n * c, 1, h, w), (2, 2, 2, 2), mode="replicate")
        phases = F.conv2d(padded, self.kernel)
        return F.pixel_shuffle(phases, self.scale).view(n, c, h * self.scale, w * self.scale)

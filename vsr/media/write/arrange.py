"""Planes into FFmpeg's frames, in the arrangement the encoder takes.

One copy of each sample, with regard to the padding at the end of FFmpeg's rows. Frames that share
the planes' memory would save it, but encoders keep frames for as long as their lookahead lasts,
and the planes are reused long before that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

__all__ = ["arrangement"]

Fill = Callable[[VideoFrame, Sequence[NDArray[Any]]], None]


def arrangement(encoder: str, name: str) -> tuple[str, Fill]:
    """How ``encoder`` takes frames of the planar format ``name``.

    Returns:
        FFmpeg's name of the format that is handed over (another one where the encoder wants the
        same samples arranged differently), and a function that copies planes, ``(H_p, W_p)``
        each, into a frame of it.
    """
    return _ARRANGED.get((encoder, name), (name, _fill_planes))


def _fill_planes(frame: VideoFrame, planes: Sequence[NDArray[Any]]) -> None:
    for index, plane in enumerate(planes):
        _rows(frame, index, plane.dtype)[: plane.shape[0], : plane.shape[1]] = plane


def _fill_bgr(frame: VideoFrame, planes: Sequence[NDArray[Any]]) -> None:
    green, blue, red, *alpha = planes
    pixels = _rows(frame, 0, np.uint8).reshape(frame.height, -1, 4)[:, : frame.width]
    pixels[..., 0], pixels[..., 1], pixels[..., 2] = blue, green, red
    pixels[..., 3] = alpha[0] if alpha else 0


def _fill_p010(frame: VideoFrame, planes: Sequence[NDArray[Any]]) -> None:
    luma, blue, red = planes
    np.left_shift(luma, 6, out=_rows(frame, 0, np.uint16)[: luma.shape[0], : luma.shape[1]])
    chroma = _rows(frame, 1, np.uint16)[: blue.shape[0], : 2 * blue.shape[1]]
    np.left_shift(blue, 6, out=chroma[:, 0::2])
    np.left_shift(red, 6, out=chroma[:, 1::2])


def _fill_high_bits(frame: VideoFrame, planes: Sequence[NDArray[Any]]) -> None:
    for index, plane in enumerate(planes):
        out = _rows(frame, index, np.uint16)[: plane.shape[0], : plane.shape[1]]
        np.left_shift(plane, 6, out=out)


def _rows(frame: VideoFrame, index: int, dtype: Any) -> NDArray[Any]:
    """A plane of the frame as rows of samples, padding at the end of each row included."""
    plane = frame.planes[index]
    rows: NDArray[Any] = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return rows.view(dtype)


# FFV1 has 8-bit RGB in packed form only. NVENC wants ten bits at the top of sixteen, and chroma
# of 4:2:0 interleaved.
_ARRANGED: dict[tuple[str, str], tuple[str, Fill]] = {
    ("ffv1", "gbrp"): ("bgr0", _fill_bgr),
    ("ffv1", "gbrap"): ("bgra", _fill_bgr),
    ("hevc_nvenc", "yuv420p10le"): ("p010le", _fill_p010),
    ("hevc_nvenc", "yuv444p10le"): ("yuv444p16le", _fill_high_bits),
    ("av1_nvenc", "yuv420p10le"): ("p010le", _fill_p010),
}

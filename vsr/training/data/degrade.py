"""LR pictures as people's videos have them: a little blurred, a little noisy, and compressed.

A network that has seen only clean pictures enlarges compression artefacts with the rest. Here each
LR picture becomes a short clip, a slow pan over it, which goes through x264 or x265 and back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - what everybody calls it
from numpy.typing import NDArray

from vsr.media.color import from_rgb, to_rgb
from vsr.media.degrade import encode_decode
from vsr.types import ChromaSite, Color, ColorRange, FrameBatch, Matrix, pixel_format

__all__ = ["Recording", "VideoDegrade", "draw_recording", "through_codec"]

#: Clips made of a picture, each with settings of its own: photos are few, recordings need not be.
CLIPS = 3
#: Frames of a clip: the first is coded by itself, the others from it.
FRAMES = 4
#: How far the pan goes from one frame to the next, LR pixels.
_PAN = 3
_FORMAT = "yuv420p"
#: x265 writes beyond its buffers on pictures smaller than its coding tree unit (64), which crashes;
#: the pan may take a tenth of a side. Smaller ones go through x264.
X265_LEAST = 72
#: codec -> its CRFs, around those where compression shows: what looks clean has its own weights.
_CRF = {"x264": (20, 34), "x265": (22, 36)}
_SPEEDS = ("ultrafast", "veryfast", "fast")


@dataclass(frozen=True, slots=True)
class Recording:
    """How a clip is made.

    Attributes:
        codec: of :data:`vsr.media.degrade.DEGRADE_CODECS`. crf: its quality. speed: its preset.
        matrix: of the colours: BT.601 or BT.709.
        blur: standard deviation of a Gaussian, LR pixels; 0 for none.
        noise: standard deviation, codes; 0 for none.
        pan: steps between frames, (rows, columns).
    """

    codec: str
    crf: int
    speed: str
    matrix: Matrix
    blur: float
    noise: float
    pan: tuple[int, int]


def draw_recording(rng: np.random.Generator) -> Recording:
    """One at random: both codecs alike, a quarter of the clips blurred, a quarter noisy."""
    codec = str(rng.choice(list(_CRF)))
    low, high = _CRF[codec]
    return Recording(
        codec=codec,
        crf=int(rng.integers(low, high + 1)),
        speed=str(rng.choice(_SPEEDS)),
        matrix=(Matrix.SMPTE170M, Matrix.BT709)[int(rng.integers(2))],
        blur=float(rng.uniform(0.2, 0.8) * (rng.random() < 0.25)),
        noise=float(rng.uniform(0.5, 4) * (rng.random() < 0.25)),
        pan=(int(rng.integers(-_PAN, _PAN + 1)), int(rng.integers(-_PAN, _PAN + 1))),
    )


class VideoDegrade:
    """Makes compressed clips of an LR picture; see :data:`vsr.training.data.store.Degrade`.

    Args:
        seed: of everything random; with the picture's number it settles the clips.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def __call__(
        self, lr: NDArray[np.uint8], number: int
    ) -> Sequence[tuple[NDArray[np.uint8], int, int]]:
        """Frames of clips that pan over ``lr``, one clip after the other.

        Args:
            lr: ``(H, W, 3)`` uint8. number: of the picture.

        Returns:
            For each frame ``(h, w, 3)`` uint8 as decoded, and the row and column of its first pixel
            in ``lr``. Frames have even sides, as 4:2:0 needs, and are smaller than ``lr`` by the
            pan, but never by more than a tenth.
        """
        rng = np.random.default_rng((self._seed, number))
        return [version for _ in range(CLIPS) for version in _clip(lr, rng)]


def _clip(
    lr: NDArray[np.uint8], rng: np.random.Generator
) -> Sequence[tuple[NDArray[np.uint8], int, int]]:
    """One clip; arguments and result as above."""
    how = draw_recording(rng)
    height, width = lr.shape[:2]
    if how.codec == "x265" and min(height, width) < X265_LEAST:
        how = replace(how, codec="x264")
    rows, columns = _steps((height, width), how.pan)
    places = list(zip(_line(rows), _line(columns), strict=True))
    h = (height - abs(rows) * (FRAMES - 1)) // 2 * 2
    w = (width - abs(columns) * (FRAMES - 1)) // 2 * 2
    picture = _blurred(lr, how.blur)
    frames = []
    for y, x in places:
        noise = how.noise * rng.standard_normal((h, w, 3), np.float32)
        frame = picture[y : y + h, x : x + w] + noise
        frames.append(np.clip(np.floor(frame + 0.5), 0, 255).astype(np.uint8))
    decoded = through_codec(np.stack(frames), how)
    return [(frame, y, x) for frame, (y, x) in zip(decoded, places, strict=True)]


def _steps(size: tuple[int, int], pan: tuple[int, int]) -> tuple[int, int]:
    """The pan's step along rows and columns, shorter along a side that is too short for it."""
    rows, columns = (
        max(-most, min(most, step))
        for most, step in zip((n // (10 * (FRAMES - 1)) for n in size), pan, strict=True)
    )
    return rows, columns


def _line(step: int) -> list[int]:
    """Where each frame begins along one side."""
    return [step * i if step >= 0 else -step * (FRAMES - 1 - i) for i in range(FRAMES)]


def _blurred(lr: NDArray[np.uint8], sigma: float) -> NDArray[np.float32]:
    picture = lr.astype(np.float32)
    if not sigma:
        return picture
    radius = max(1, round(3 * sigma))
    line = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (line / sigma) ** 2)
    kernel /= kernel.sum()
    x = torch.from_numpy(picture).permute(2, 0, 1)[:, None]
    x = F.pad(x, (radius,) * 4, mode="replicate")
    x = F.conv2d(F.conv2d(x, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))
    return x[:, 0].permute(1, 2, 0).numpy()


def through_codec(frames: NDArray[np.uint8], how: Recording) -> NDArray[np.uint8]:
    """Encode and decode; the colours are converted as ``vsr upscale`` converts them.

    Args:
        frames: ``(N, H, W, 3)`` uint8 RGB, H and W even.
        how: codec, CRF, speed and matrix.

    Returns:
        As many frames of the same size, in the same order.

    Raises:
        EncodeError, DecodeError: the codec failed or lost a frame.
    """
    count, height, width = frames.shape[:3]
    fmt = pixel_format(_FORMAT)
    color = Color(matrix=how.matrix, range=ColorRange.LIMITED, site=ChromaSite.LEFT)
    rgb = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
    clip = FrameBatch(
        planes=tuple(from_rgb(rgb, None, fmt, color)),
        format=fmt,
        width=width,
        height=height,
        color=color,
        pts=tuple(range(count)),
        durations=(1,) * count,
        time_base=Fraction(1, 25),
    )
    coded = list(encode_decode([clip], how.codec, crf=how.crf, preset=how.speed))
    planes = [torch.cat(of_frames) for of_frames in zip(*(b.planes for b in coded), strict=True)]
    back, _ = to_rgb(planes, fmt, color)
    codes = back.clamp(0, 255).add(0.5).floor().to(torch.uint8)
    return codes.permute(0, 2, 3, 1).numpy()

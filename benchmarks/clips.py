"""Clips that benchmarks make for themselves: a picture of noise that drifts to the right."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray


def noise_clip(path: Path, width: int, height: int, frames: int) -> None:
    """Blurred noise that drifts: neither trivial nor impossible for an encoder."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), np.uint8)
    still = np.kron(coarse, np.ones((8, 8, 1), np.uint8))
    with av.open(path, "w") as clip:
        video = add_video(clip, width, height, rate=25, options={"crf": "18"})
        for index in range(frames):
            clip.mux(video.encode(drifted(still, index * 2, width, height)))
        clip.mux(video.encode(None))


def add_video(
    clip: OutputContainer, width: int, height: int, *, rate: int, options: dict[str, str]
) -> VideoStream:
    """A stream of H.264 by x264, 4:2:0, ``rate`` frames a second."""
    video = clip.add_stream("libx264", rate=rate, options=options)
    video.width, video.height, video.pix_fmt = width, height, "yuv420p"
    return video


def drifted(still: NDArray[np.uint8], pixels: int, width: int, height: int) -> av.VideoFrame:
    """``still``, ``(H, W, 3)``, moved so far to the right, and its upper left corner as a frame."""
    moved = np.roll(still, pixels, axis=1)[:height, :width]
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(moved), format="rgb24")

"""A clip to measure with."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

__all__ = ["make_clip"]

_SOUND = 48000


def make_clip(path: Path, size: tuple[int, int], frames: int, rate: int = 25) -> None:
    """Blurred noise that drifts, neither trivial nor impossible for an encoder, with a tone.

    Args:
        path: an ``.mp4`` file. size: width and height, even. frames, rate: how many, how fast.
    """
    width, height = size
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), np.uint8)
    still = np.kron(coarse, np.ones((8, 8, 1), np.uint8))
    with av.open(str(path), "w") as clip:
        video = clip.add_stream("libx264", rate=rate, options={"crf": "18"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        audio = clip.add_stream("aac", rate=_SOUND)
        audio.layout = "mono"
        for index in range(frames):
            moved = np.roll(still, index * 2, axis=1)[:height, :width]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(moved), format="rgb24")
            clip.mux(video.encode(frame))
            samples = _SOUND // rate
            times = np.arange(index * samples, (index + 1) * samples)
            tone = 0.2 * np.sin(times * 0.06).astype(np.float32)[None]
            block = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            block.sample_rate, block.pts = _SOUND, index * samples
            block.time_base = Fraction(1, _SOUND)
            clip.mux(audio.encode(block))
        clip.mux(video.encode(None))
        clip.mux(audio.encode(None))

"""What ``make demo`` runs: make a clip with sound, upscale it, show one frame side by side."""

from __future__ import annotations

import shlex
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scene import draw, sound

import vsr
from vsr.metrics import psnr_y
from vsr.models.bicubic import imresize

FOLDER = Path("demo")
SCALE = 2
# Small, because the network takes a second or two per frame of this size on two CPU cores.
WIDTH, HEIGHT = 256, 144
RATE, FRAMES = 12, 24
SAMPLE_RATE = 48000
SHOWN = 15
#: Part of the result that is shown enlarged: the ferry sign (x, y, width, height).
DETAIL = (328, 192, 176, 96)
PANEL = 768

Image = NDArray[np.uint8]


def truth(index: int) -> Image:
    """Frame ``index`` as it would be in the large size."""
    return draw(index / RATE, WIDTH * SCALE, HEIGHT * SCALE)


def make_clip(path: Path) -> None:
    """The scene at the small size, in H.264 of high quality with AAC sound."""
    with av.open(path, "w") as clip:
        video = clip.add_stream("libx264", rate=RATE, options={"crf": "12", "preset": "slow"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = clip.add_stream("aac", rate=SAMPLE_RATE)
        audio.layout = "stereo"
        for index in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(imresize(truth(index), 1 / SCALE), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            clip.mux(video.encode(frame))
        clip.mux(video.encode(None))
        samples = sound(FRAMES / RATE, SAMPLE_RATE)
        for start in range(0, samples.shape[1], 1024):
            part = np.ascontiguousarray(samples[:, start : start + 1024])
            block = av.AudioFrame.from_ndarray(part, format="fltp", layout="stereo")
            block.sample_rate, block.pts = SAMPLE_RATE, start
            block.time_base = Fraction(1, SAMPLE_RATE)
            clip.mux(audio.encode(block))
        clip.mux(audio.encode(None))


def rgb(path: Path, index: int) -> torch.Tensor:
    """Frame ``index`` of a file, ``(1, 3, H, W)`` float32 in 0..255."""
    seen = 0
    for batch in vsr.frames(str(path)):
        if index < seen + len(batch):
            pixels, _ = vsr.to_rgb(batch.planes, batch.format, batch.color)
            return pixels[index - seen : index - seen + 1]
        seen += len(batch)
    raise IndexError(f"{path} has only {seen} frames")


def picture(pixels: torch.Tensor) -> Image:
    """``(1, 3, H, W)`` in 0..255 as an 8-bit picture ``(H, W, 3)``."""
    return np.asarray(pixels[0].clamp(0, 255).round().permute(1, 2, 0).cpu().numpy(), np.uint8)


def distance(a: Image, b: Image) -> str:
    """How near two pictures are: PSNR of their luma, as papers measure it."""
    x, y = (torch.from_numpy(image.copy()).permute(2, 0, 1) for image in (a, b))
    return f"{psnr_y(x, y, shave=SCALE).item():.2f} dB"


def panel(image: Image, caption: str) -> Image:
    """A whole frame over an enlarged detail, pixels shown as they are, under a caption."""
    x, y, w, h = DETAIL
    parts = []
    for part in (image, image[y : y + h, x : x + w]):
        height = round(PANEL * part.shape[0] / part.shape[1])
        parts.append(cv2.resize(part, (PANEL, height), interpolation=cv2.INTER_NEAREST))
    head = np.full((52, PANEL, 3), 24, np.uint8)
    font = cv2.FONT_HERSHEY_DUPLEX
    cv2.putText(head, caption, (14, 36), font, 0.85, (236, 236, 236), 1, cv2.LINE_AA)
    gap = np.full((8, PANEL, 3), 24, np.uint8)
    return np.concatenate([head, parts[0], gap, parts[1]])


def side_by_side(source: Path, result: Path, path: Path) -> None:
    """Write one frame interpolated, upscaled, and as it really is, next to each other."""
    small = rgb(source, SHOWN)
    large = truth(SHOWN)
    interpolated = picture(vsr.Upscaler(SCALE, "bicubic")(small))
    upscaled = picture(rgb(result, SHOWN))
    panels = [
        panel(interpolated, f"bicubic  {distance(interpolated, large)}"),
        panel(upscaled, f"vsr upscale (FDIWN)  {distance(upscaled, large)}"),
        panel(large, "what was there before it was shrunk"),
    ]
    gap = np.full((panels[0].shape[0], 8, 3), 24, np.uint8)
    sheet = np.concatenate([panels[0], gap, panels[1], gap, panels[2]], axis=1)
    cv2.imwrite(str(path), sheet[..., ::-1])


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    source, result, sheet = (FOLDER / n for n in ("input.mp4", "output.mp4", "side_by_side.png"))
    make_clip(source)
    print(f"{source}: {FRAMES} frames of {WIDTH}x{HEIGHT} with sound, made by tools/scene.py\n")
    arguments = ["upscale", str(source), "-s", str(SCALE), "-o", str(result), "--overwrite"]
    print("$", shlex.join(["vsr", *arguments]), flush=True)
    subprocess.run([Path(sys.executable).with_name("vsr"), *arguments], check=True)
    side_by_side(source, result, sheet)
    print(f"""
{result}: the upscaled clip
{sheet}: frame {SHOWN} of it beside bicubic interpolation and the original

Next, with a file of your own (`source .venv/bin/activate` puts vsr on the path):
  vsr plan input.mp4 -s 2 -o output.mp4                  what would happen, and how long it takes
  vsr upscale input.mp4 -s 2 -o sample.mp4 --frames 24   the first second of it
  vsr upscale input.mp4 -s 2 -o output.mp4               all of it""")


if __name__ == "__main__":
    main()

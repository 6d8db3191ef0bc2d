"""The same clip through what people would use instead, frames per second side by side.

Usage: ``python benchmarks/peers.py [--size 640x360] [--scale 2] [--frames 100]
[--network-frames 6] [--save]``.
File to file where the tool works so: decode, enlarge, encode with x264 (``veryfast``). Compact and
SPAN, the networks that video2x and TheAnimeScripter run most, have random weights here (speed does
not depend on them) and a plain loop over PyAV's frames, as scripts have it. They need ``spandrel``,
ffmpeg ``imageio-ffmpeg``; what is not installed is left out, with a line that says so. Nothing here
is about quality.
Prints a Markdown table. Run it on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import record
import torch
from clips import noise_clip
from numpy.typing import NDArray

import vsr

Picture = NDArray[np.uint8]
#: Codec settings of every row.
X264 = {"preset": "veryfast", "crf": "18"}


def plain_loop(source: Path, result: Path, enlarge: Callable[[Picture], Picture], most: int) -> int:
    """Decode, enlarge, encode, one after another, as scripts do it; the number of frames."""
    done = 0
    with av.open(source) as clip, av.open(result, "w") as out:
        video: Any = None
        for frame in clip.decode(video=0):
            large = enlarge(frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False))
            if video is None:
                video = out.add_stream("libx264", rate=25, options=X264)
                video.height, video.width, video.pix_fmt = *large.shape[:2], "yuv420p"
            out.mux(video.encode(av.VideoFrame.from_ndarray(large, format="rgb24")))
            done += 1
            if done == most:
                break
        out.mux(video.encode(None))
    return done


def with_opencv(how: int, scale: int, picture: Picture) -> Picture:
    """OpenCV's resize."""
    height, width = picture.shape[:2]
    return np.asarray(cv2.resize(picture, (width * scale, height * scale), interpolation=how))


@torch.inference_mode()
def with_network(net: torch.nn.Module, picture: Picture) -> Picture:
    """A network on RGB in 0..1, float32."""
    x = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    large: torch.Tensor = net(x)[0].permute(1, 2, 0).clamp(0, 1).mul(255).round().byte()
    return large.contiguous().numpy()


def with_ffmpeg(program: str, kind: str, scale: int, source: Path, result: Path, most: int) -> int:
    """The scale filter of ffmpeg."""
    command = [program, "-v", "error", "-y", "-i", str(source), "-frames:v", str(most)]
    command += ["-vf", f"scale=iw*{scale}:ih*{scale}:flags={kind}", "-c:v", "libx264"]
    subprocess.run([*command, "-preset", X264["preset"], "-crf", X264["crf"], result], check=True)
    return most


def with_vsr(model: str, scale: int, source: Path, result: Path, most: int) -> int:
    """What this project does, file to file, verification and all."""
    report = vsr.upscale(
        source,
        result,
        scale,
        model=model,
        codec="h264",
        options=(("preset", X264["preset"]), ("crf", X264["crf"])),
        frames=most,
        overwrite=True,
    )
    return report.frames_out


Way = Callable[[Path, Path, int], int]


def ways(scale: int) -> Iterator[tuple[str, bool, Way]]:
    """Name, whether a network is at work, and how."""
    for name, how in (("bicubic", cv2.INTER_CUBIC), ("Lanczos", cv2.INTER_LANCZOS4)):
        enlarge = partial(with_opencv, how, scale)
        yield f"OpenCV {name}, plain loop", False, partial(loop, enlarge)
    try:
        import imageio_ffmpeg

        program = imageio_ffmpeg.get_ffmpeg_exe()
    except ImportError:
        print("left out: ffmpeg, since imageio-ffmpeg is not installed\n")
    else:
        for kind in ("bicubic", "lanczos"):
            yield f"ffmpeg scale, {kind}", False, partial(with_ffmpeg, program, kind, scale)
    yield "vsr, bicubic", False, partial(with_vsr, "bicubic", scale)
    try:
        from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact
        from spandrel.architectures.SPAN.__arch.span import SPAN
    except ImportError as error:
        print(f"left out: Compact and SPAN ({error})\n")
    else:
        nets = {
            "Compact 64x16": SRVGGNetCompact(num_feat=64, num_conv=16, upscale=scale),
            "SPAN 48": SPAN(num_in_ch=3, num_out_ch=3, feature_channels=48, upscale=scale),
        }
        for name, net in nets.items():
            yield (
                f"{name}, plain loop, float32",
                True,
                partial(loop, partial(with_network, net.eval())),
            )
    yield "vsr, FDIWN", True, partial(with_vsr, "fdiwn", scale)


def loop(enlarge: Callable[[Picture], Picture], source: Path, result: Path, most: int) -> int:
    """:func:`plain_loop` with its arguments in the order of the others."""
    return plain_loop(source, result, enlarge, most)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", default="640x360", metavar="WxH")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--frames", type=int, default=100, help="for what is no network")
    parser.add_argument("--network-frames", type=int, default=6)
    parser.add_argument("--save", action="store_true", help="keep the figures as JSON")
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder, "in.mp4"), Path(folder, "out.mp4")
        noise_clip(source, width, height, arguments.frames)
        for name, network, way in ways(arguments.scale):
            most = arguments.network_frames if network else arguments.frames
            begun = time.perf_counter()
            done = way(source, result, most)
            seconds = time.perf_counter() - begun
            rows.append({"what": name, "frames": done, "fps": done / seconds})
    ours = next(row["fps"] for row in rows if row["what"] == "vsr, FDIWN")
    print(
        f"{arguments.size}, {arguments.scale} times as large, {torch.get_num_threads()} threads\n"
    )
    print("| | frames/s | of vsr, FDIWN |\n|---|---|---|")
    for row in rows:
        print(f"| {row['what']} | {row['fps']:.3g} | {row['fps'] / ours:.3g} |")
    if arguments.save:
        print(f"\nkept in {record.save('peers', rows).name}")


if __name__ == "__main__":
    main()

"""Peak memory of ``vsr upscale`` for shorter and longer parts of the same clip.

Usage: ``python benchmarks/memory.py [CLIP]``. Without a clip, one of five minutes with sound is
made. Each part is upscaled in a process of its own; the figure is its largest resident set.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import record
from clips import add_video, drifted

SECONDS = (10, 60, 300)
RATE = 24


def make_clip(path: Path) -> None:
    """Drifting noise at 320x180 with a tone, as long as the longest part."""
    still = np.random.default_rng(0).integers(0, 256, (180, 320, 3), np.uint8)
    with av.open(path, "w") as clip:
        options = {"crf": "30", "preset": "veryfast"}
        video = add_video(clip, 320, 180, rate=RATE, options=options)
        audio = clip.add_stream("aac", rate=48000)
        audio.layout = "stereo"
        for second in range(max(SECONDS)):
            for index in range(RATE):
                frame = drifted(still, second * RATE + index, 320, 180)
                clip.mux(video.encode(frame))
            times = np.arange(second * 48000, (second + 1) * 48000)
            tone = np.tile(0.2 * np.sin(times * 0.06), (2, 1)).astype(np.float32)
            for start in range(0, 48000, 1000):
                part = np.ascontiguousarray(tone[:, start : start + 1000])
                block = av.AudioFrame.from_ndarray(part, format="fltp", layout="stereo")
                block.sample_rate, block.pts = 48000, second * 48000 + start
                block.time_base = Fraction(1, 48000)
                clip.mux(audio.encode(block))
        clip.mux(video.encode(None))
        clip.mux(audio.encode(None))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("clip", type=Path, nargs="?")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        clip = arguments.clip or Path(folder, "clip.mp4")
        if arguments.clip is None:
            make_clip(clip)
        print("| part | frames | peak memory | of the first |\n|---|---|---|---|")
        for seconds in SECONDS:
            command = [sys.executable, "-m", "vsr", "upscale", str(clip), "--model", "bicubic"]
            command += ["--end", str(seconds), "-o", str(Path(folder, f"{seconds}.mp4")), "--json"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            report = json.loads(done.stdout.splitlines()[-1])["report"]
            peak = report["peak_memory"]
            rows.append(
                {"seconds": seconds, "frames": report["frames_out"], "peak_bytes": peak,
                 "ratio": round(peak / (rows[0]["peak_bytes"] if rows else peak), 3)}
            )  # fmt: skip
            frames, ratio = rows[-1]["frames"], rows[-1]["ratio"]
            print(f"| {seconds} s | {frames} | {peak / 1e6:.0f} MB | {ratio:.2f} |", flush=True)
    print(record.save("memory", rows).name)


if __name__ == "__main__":
    main()

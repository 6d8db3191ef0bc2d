"""A second opinion: what an ffmpeg that is not PyAV's says about a file."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg

__all__ = ["DecodedFrames", "decode_frames", "ffmpeg", "packet_hashes"]


@dataclass(frozen=True)
class DecodedFrames:
    """Every frame of a video stream: timestamps in seconds and a hash of the decoded samples."""

    times: tuple[Fraction, ...]
    hashes: tuple[str, ...]

    def ticks(self, rate: int = 90000) -> list[int]:
        """The timestamps in ticks of ``1/rate`` seconds, rounded."""
        return [round(time * rate) for time in self.times]


def ffmpeg(*arguments: str) -> bytes:
    """Run ffmpeg and return its standard output; raises with its messages on failure."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", *arguments]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr.decode(errors='replace')}")
    return done.stdout


def _hash_lines(path: Path, stream: str, *options: str) -> tuple[Fraction, list[list[str]]]:
    text = ffmpeg(
        *("-copyts", "-i", str(path), "-map", f"0:{stream}", *options),
        *("-f", "framehash", "-hash", "crc32", "-"),
    ).decode()
    base = re.search(r"^#tb 0: (\d+)/(\d+)$", text, re.MULTILINE)
    if base is None:
        raise RuntimeError(f"{path}: ffmpeg shows no time base for {stream}")
    rows = [line.split(",") for line in text.splitlines() if line and not line.startswith("#")]
    return Fraction(int(base[1]), int(base[2])), rows


def decode_frames(path: Path, stream: str = "v:0") -> DecodedFrames:
    """Decode a video stream, every frame once, timestamps as the file has them."""
    base, rows = _hash_lines(path, stream, "-fps_mode", "passthrough", "-enc_time_base", "demux")
    return DecodedFrames(
        tuple(int(row[2]) * base for row in rows), tuple(row[5].strip() for row in rows)
    )


def packet_hashes(path: Path, stream: str) -> list[str]:
    """CRC-32 of every packet of a stream, in order, payload only."""
    _, rows = _hash_lines(path, stream, "-c", "copy")
    return [row[5].strip() for row in rows]

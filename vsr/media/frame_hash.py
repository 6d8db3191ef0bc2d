"""A frame's samples as one number that anybody can compute again."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator

from vsr.types import FrameBatch

__all__ = ["HASH_RULE", "frame_hashes"]

#: How the numbers are made, for people; part of every manifest.
HASH_RULE = (
    "SHA-256 of the frame's planes one after the other in FFmpeg's order for the pixel format "
    "(Y U V A, G B R A), each row by row from the top without padding; a sample of up to 8 bits is "
    "a byte, a wider one two bytes, little endian, with the value in the low bits. "
    "ffmpeg -i FILE -map 0:v:0 -pix_fmt FORMAT -fps_mode passthrough -f framehash -hash sha256 - "
    "prints the same."
)


def frame_hashes(batch: FrameBatch) -> Iterator[str]:
    """SHA-256 of each frame of ``batch``, planes on the CPU, by :data:`HASH_RULE`, in hex."""
    planes = [plane.numpy() for plane in batch.planes]
    for index in range(len(batch)):
        digest = hashlib.sha256()
        for plane in planes:
            samples = plane[index]
            if sys.byteorder == "big" and samples.dtype.itemsize > 1:
                samples = samples.byteswap()
            digest.update(memoryview(samples).cast("B"))
        yield digest.hexdigest()

"""How much room on the disk a run may take."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipelines.segments.cut import why_whole
from pipelines.segments.ledger import ledger_folder
from pipelines.upscale import expected_frames
from vsr.media.codecs import CODECS
from vsr.types import Plan

__all__ = ["free_space", "space_needed"]

#: Codecs whose results grow with the picture rather than with what is in it: bytes per sample byte.
#: FFV1 halves camera footage at best; ProRes 422 HQ takes 220 Mbit/s at 1920x1080 and 30 fps, a
#: sixth of its 10-bit samples in 16 bits.
_PER_SAMPLE_BYTE = {"ffv1": 0.7, "prores": 0.25}


def space_needed(plan: Plan) -> int:
    """Bytes a run may take: an upper estimate.

    A job in segments has its pictures on the disk twice while they are joined. What an earlier run
    has finished is on the disk already: it is gone on with, or removed first.

    A lossy codec spends no more bits on a sample of the result than the source has for one of its
    own, hence the square of the scale; codecs without a rate are reckoned by samples.
    """
    return max(_result(plan) * (1 if why_whole(plan) else 2) - _kept(plan), 0)


def _kept(plan: Plan) -> int:
    """Bytes that finished segments of an earlier run take."""
    folder = ledger_folder(plan.destination)
    if not folder.is_dir():
        return 0
    return sum(path.lstat().st_size for path in folder.iterdir())


def _result(plan: Plan) -> int:
    """Bytes the result may take."""
    source = plan.info.size
    scaled = source * plan.model.scale**2
    share = _PER_SAMPLE_BYTE.get(plan.encode.name)
    if share is None and not CODECS[plan.encode.name].lossless:
        return scaled
    frames = expected_frames(plan)
    if frames is None:
        return scaled
    fmt = plan.encode.format
    samples = sum(
        width * height
        for height, width in (
            fmt.plane_size(plane, plan.width, plan.height) for plane in range(fmt.planes)
        )
    )
    return source + round(frames * samples * fmt.bytes_per_sample * (share or 1.0))


def free_space(path: Path) -> int:
    """Bytes free on the disk on which ``path`` is, or will be."""
    there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    return shutil.disk_usage(there).free

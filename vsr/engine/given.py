"""Whether frames that somebody else has made are what an upscaler takes."""

from __future__ import annotations

from typing import Any

import torch

from vsr.errors import UsageError
from vsr.types import FrameBatch, PixelFormat

__all__ = ["check_batch", "check_rgb"]


def check_rgb(frames: Any) -> None:
    """Make sure that this is RGB.

    Raises:
        UsageError: it is not a tensor ``(N, 3, H, W)`` of real numbers with at least one pixel.
    """
    if not isinstance(frames, torch.Tensor):
        name = _name(type(frames))
        raise UsageError(
            f"frames must be a torch.Tensor or a FrameBatch, not {name}",
            remedy="Of an array, pass torch.from_numpy(array)." if name == "numpy.ndarray" else "",
        )
    shape = frames.shape
    if frames.dim() != 4 or shape[1] != 3 or 0 in shape[2:]:
        raise UsageError(
            f"frames must be (N, 3, H, W), not {'x'.join(map(str, shape)) or 'a single number'}",
            remedy=_remedy(tuple(shape)),
        )
    if frames.is_complex() or frames.dtype == torch.bool:
        raise UsageError(f"frames must be real numbers, nominally 0 to 255, not {frames.dtype}")


def _remedy(shape: tuple[int, ...]) -> str:
    if len(shape) == 3 and shape[0] == 3:
        return "Of a single frame, pass frame[None]."
    if len(shape) in (3, 4) and shape[-1] == 3:  # as most other libraries have pictures
        one = "[None]" if len(shape) == 3 else ""
        name = "frame" if len(shape) == 3 else "frames"
        return f"Colours come before lines: pass {name}{one}.permute(0, 3, 1, 2)."
    return ""


def _name(kind: type) -> str:
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return module + kind.__name__


def check_batch(batch: FrameBatch) -> None:
    """Make sure that the planes are those of as many frames as there are timestamps.

    Raises:
        UsageError: they are not.
    """
    form, width, height = batch.format, batch.width, batch.height
    if not isinstance(form, PixelFormat):
        raise UsageError(
            f"format must be a vsr.types.PixelFormat, not {form!r}",
            remedy="vsr.types.pixel_format('yuv420p') gives one.",
        )
    for plane in batch.planes:
        if not isinstance(plane, torch.Tensor):
            raise UsageError(
                f"planes must be tensors, not {_name(type(plane))}",
                remedy="Of an array, pass torch.from_numpy(array).",
            )
    if width < 1 or height < 1:
        raise UsageError(f"frames of {width}x{height} have no pixels")
    wanted = [(len(batch), *form.plane_size(p, width, height)) for p in range(form.planes)]
    got = [tuple(plane.shape) for plane in batch.planes]
    if got != wanted:
        raise UsageError(
            f"planes of {len(batch)} frames of {width}x{height} in {form.name} must measure "
            f"{wanted}, these are {got}",
            remedy="There is a timestamp in pts for each frame.",
        )
    kind = torch.uint8 if form.bytes_per_sample == 1 else torch.uint16
    for plane in batch.planes:
        if plane.dtype != kind:
            raise UsageError(f"planes of {form.name} must be {kind}, these are {plane.dtype}")

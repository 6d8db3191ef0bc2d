"""What is compared in an evaluation: ways to make frames larger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from vsr.engine.protocol import resized
from vsr.engine.upscaler import Upscaler
from vsr.media.color import batch_to_rgb, from_rgb
from vsr.models.quarters import in_quarters
from vsr.types import Color, FrameBatch, PixelFormat

__all__ = ["Contender", "bicubic", "network"]

#: A small batch, and format and colour of the large one that is wanted.
Enlarge = Callable[[FrameBatch, PixelFormat, Color], FrameBatch]


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """A way to make frames larger.

    Attributes:
        name, label: as in :class:`vsr.types.Candidate`.
        enlarge: does it.
        settings: (name, value) pairs: what somebody needs to do it again.
    """

    name: str
    label: str
    enlarge: Enlarge
    settings: tuple[tuple[str, str], ...] = ()


def network(name: str, label: str, upscaler: Upscaler, *, quarters: bool = False) -> Contender:
    """A network.

    Args:
        name, label: of the candidate.
        upscaler: the network, ready.
        quarters: enlarge four overlapping quarters on their own, as FDIWN's authors evaluate.
    """
    settings = ((f"{name} weights sha256", upscaler.weights_sha256 or "none"),)

    @torch.inference_mode()
    def enlarge(batch: FrameBatch, format: PixelFormat, color: Color) -> FrameBatch:  # noqa: A002
        rgb, _ = batch_to_rgb(batch)
        large = in_quarters(upscaler, rgb, upscaler.scale)
        planes = tuple(plane.cpu() for plane in from_rgb(large, None, format, color))
        return replace(
            batch,
            planes=planes,
            format=format,
            color=color,
            width=batch.width * upscaler.scale,
            height=batch.height * upscaler.scale,
        )

    return Contender(name, label, enlarge if quarters else upscaler.upscale, settings)


def bicubic(scale: int, *, exact: bool) -> Contender:
    """The baseline.

    Args:
        scale: enlargement.
        exact: MATLAB's ``imresize`` of 8-bit pictures with its roundings, bit for bit; else the
            same in floating point, for frames of any kind.
    """
    if not exact:
        return Contender("bicubic", "bicubic", Upscaler(scale, "bicubic", device="cpu").upscale)

    def enlarge(batch: FrameBatch, _format: PixelFormat, _color: Color) -> FrameBatch:
        return resized(batch, scale)

    return Contender("bicubic", "bicubic (MATLAB)", enlarge)

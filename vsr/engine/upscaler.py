"""Frames in, larger frames out: colour in, network, colour out."""

from __future__ import annotations

from dataclasses import replace
from typing import overload

import torch

from vsr.engine.backend import open_backend
from vsr.engine.device import choose_device
from vsr.media.color import batch_to_rgb, from_rgb
from vsr.models.bicubic import Bicubic
from vsr.types import Color, FrameBatch, ModelPlan, PixelFormat

__all__ = ["Upscaler"]


class Upscaler:
    """A network ready to upscale RGB tensors or frame batches.

    Args:
        scale: 2, 3 or 4.
        model: row of the model table.
        weights: path of a weights file; the shipped ones by default.
        device, backend, dtype: as on the command line; ``auto`` chooses.

    Raises:
        ModelError: no such model, or its weights cannot be loaded.
        BackendError: the device or backend is missing.
    """

    def __init__(
        self,
        scale: int = 2,
        model: str = "fdiwn",
        weights: str | None = None,
        *,
        device: str = "auto",
        backend: str = "auto",
        dtype: str = "auto",
    ) -> None:
        facts = choose_device(
            device, backend, model=model, dtype=None if dtype == "auto" else dtype
        )
        self.scale = scale
        self._backend = open_backend(
            facts.backend,
            ModelPlan(model, scale, weights),
            facts.device,
            facts.dtypes[0] if dtype == "auto" else dtype,
        )
        # Alpha is a mask, not a picture: the network would ring on its edges and has never seen
        # one, so it is interpolated.
        self._alpha = Bicubic(scale).to(self._backend.device)

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self._backend.device

    @property
    def weights_sha256(self) -> str:
        """Hash of the weights in use; empty for models without weights."""
        return self._backend.weights_sha256

    @overload
    def __call__(self, frames: torch.Tensor) -> torch.Tensor: ...
    @overload
    def __call__(self, frames: FrameBatch) -> FrameBatch: ...
    def __call__(self, frames: torch.Tensor | FrameBatch) -> torch.Tensor | FrameBatch:
        """Upscale RGB or a batch of frames.

        Args:
            frames: ``(N, 3, H, W)`` float RGB, nominally 0..255; or a :class:`FrameBatch`, whose
                result has the same pixel format and colour.

        Returns:
            What went in, ``scale`` times as wide and high; float32 RGB is not clamped.
        """
        if isinstance(frames, FrameBatch):
            return self.upscale(frames, frames.format, frames.color)
        return self._backend(frames.to(self.device, torch.float32))

    @torch.inference_mode()
    def upscale(self, batch: FrameBatch, format: PixelFormat, color: Color) -> FrameBatch:  # noqa: A002
        """Upscale ``batch`` into planes of ``format`` that mean ``color``, on the CPU."""
        planes = tuple(plane.to(self.device, non_blocking=True) for plane in batch.planes)
        rgb, alpha = batch_to_rgb(replace(batch, planes=planes))
        large = self._backend(rgb)
        large_alpha = None
        if format.alpha and alpha is not None:
            large_alpha = self._alpha(alpha)
        result = from_rgb(large, large_alpha, format, color)
        return replace(
            batch,
            planes=tuple(plane.cpu() for plane in result),
            format=format,
            width=batch.width * self.scale,
            height=batch.height * self.scale,
            color=color,
            ready=None,
        )

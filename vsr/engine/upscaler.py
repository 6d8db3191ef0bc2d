"""Frames in, larger frames out: colour in, network, colour out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar, overload

import torch

from vsr.engine.backend import check_process, open_backend
from vsr.engine.cuda.streams import CudaLayer, Pipeline, Ready
from vsr.engine.device import choose_device
from vsr.engine.fitting import Fitting, out_of_memory
from vsr.engine.given import check_batch, check_rgb
from vsr.engine.modes import Passes, effect_of_tiles
from vsr.engine.torch_backend import exact_on
from vsr.media.color import batch_to_rgb, from_rgb
from vsr.models.bicubic import Bicubic
from vsr.types import (
    Color,
    ColorRange,
    FrameBatch,
    Matrix,
    Mode,
    ModelPlan,
    PixelFormat,
    Plan,
    pixel_format,
)
from vsr.values import Check, checked, choice, device_name, name_or_file, text, whole

__all__ = ["Upscaler"]

T = TypeVar("T")

#: How tensors are shown to the detector of cuts, which looks at video.
_VIDEO = pixel_format("yuv444p")
_VIDEO_COLOR = Color(Matrix.BT709, range=ColorRange.LIMITED)

_TAKES: dict[str, Check] = {
    "scale": whole(),  # which there are is the model's to say
    "model": text,
    "weights": name_or_file,
    "device": device_name,
    "backend": text,
    "dtype": choice("auto", "float32", "float16", "bfloat16"),
    "mode": text,
}


class Upscaler:
    """A network ready to upscale RGB tensors or frame batches.

    Args:
        scale: 2, 3 or 4.
        model: row of the model table: ``fdiwn``, ``fdiwn-m``, ``bicubic``.
        weights: name of a set (``clean``, ``video``, ``authors``, or what was imported) or a
            weights file; a :class:`~pathlib.Path` is always a file. ``clean`` by default: frames
            alone do not say what they were compressed with.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``, or a :class:`torch.device`; ``auto`` is
            the first GPU, else the CPU.
        backend: row of the backend table (`vsr doctor` lists them), or ``auto``.
        dtype: what features are stored as, ``float32``, ``float16`` or ``bfloat16``; ``auto`` is
            the backend's own choice.
        mode: what the network weights a frame by: ``exact`` all of it, ``paper`` four overlapping
            quarters, ``lagged`` the frame before: frames must then come in their order, from one
            thread, and :meth:`reset` goes between videos. In the other modes threads may share it.

    It pickles as what it was asked for: another process loads the network anew. Processes are to be
    spawned: torch's threads stay behind in a fork, which can use a network on one thread only.

    Raises:
        UsageError: an argument does not take such a value (``scale="2"``), or there is no such
            backend or mode.
        ModelError: no such model, not at this scale, or its weights cannot be loaded.
        BackendError: the device is missing, or no backend does that on it; or this process was
            forked from one that has used a network.
    """

    def __init__(
        self,
        scale: int = 2,
        model: str = "fdiwn",
        weights: str | Path | None = None,
        *,
        device: str | torch.device = "auto",
        backend: str = "auto",
        dtype: str = "auto",
        mode: Mode = "exact",
    ) -> None:
        asked: dict[str, Any] = {"scale": scale, "model": model, "weights": weights}
        asked |= {"device": device, "backend": backend, "dtype": dtype, "mode": mode}
        asked = checked(_TAKES, asked, needed=_TAKES.keys() - {"weights"})
        self._asked = asked
        scale, weights = asked["scale"], asked.get("weights")
        facts = choose_device(
            device, backend, model=model, dtype=None if dtype == "auto" else dtype, mode=mode
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
        self._alpha = exact_on(self.device, Bicubic(scale).to(self.device))
        self._pipeline: Pipeline | None = None
        if self._backend.device.type == "cuda":
            self._pipeline = Pipeline(CudaLayer(self._backend.device))
        self._passes = Passes(model, facts.backend, facts.mode)
        # Some backends have notes of their own: what comes up is told in the order it came up in.
        self._fitting = Fitting(
            effect_of_tiles(model, facts.backend), getattr(self._backend, "notes", None)
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process loads the network anew; frames so far are not its own.
        return _load, (type(self), self._asked)

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """The network of ``plan``, on its device.

        Raises:
            ModelError, BackendError: as the constructor.
        """
        model = plan.model
        return cls(
            model.scale,
            model.name,
            model.weights,
            device=plan.device,
            backend=plan.backend,
            dtype=plan.dtype,
            mode=plan.mode,
        )

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self._backend.device

    @property
    def weights_sha256(self) -> str:
        """Hash of the weights in use; empty for models without weights."""
        return self._backend.weights_sha256

    @property
    def notes(self) -> list[str]:
        """What came up so far: that batches or frames had to be cut, say. One sentence each."""
        return self._fitting.notes

    def reset(self) -> None:
        """Forget the frames so far: those that follow have nothing to do with them."""
        self._passes.reset()

    @overload
    def __call__(self, frames: torch.Tensor) -> torch.Tensor: ...
    @overload
    def __call__(self, frames: FrameBatch) -> FrameBatch: ...
    def __call__(self, frames: torch.Tensor | FrameBatch) -> torch.Tensor | FrameBatch:
        """Upscale RGB or a batch of frames.

        Args:
            frames: ``(N, 3, H, W)`` RGB of real numbers, nominally 0..255 whatever their type, on
                any device; or a :class:`FrameBatch`, whose result has the same pixel format and
                colour. Neither is changed.

        Returns:
            What went in, ``scale`` times as wide and high, without gradients; float32 RGB is on the
            network's device and not clamped.

        Raises:
            BackendError: the device failed.
            OutOfMemoryError: the device has no room for a tile of a frame, or for the result.
            UsageError: something else, or a tensor of another shape.
        """
        check_process()
        if isinstance(frames, FrameBatch):
            check_batch(frames)
            larger = self.upscale(frames, frames.format, frames.color)
            return replace(larger, planes=tuple(map(_own, larger.planes)))
        check_rgb(frames)

        def enlarge(first: int, end: int, side: int | None) -> torch.Tensor:
            with self._room(frames.shape):
                rgb = frames[first:end].to(self.device, torch.float32)
                network = partial(self._passes, self._backend, side=side)
                if self._pipeline is not None:
                    return _own(self._pipeline.alone(rgb, network))
                return _own(network(rgb))

        count, _, height, width = frames.shape
        with self._room(frames.shape):
            cuts = self._passes.cuts(_shown(frames)) if count and self._passes.in_sequence else []
        result, done = None, 0
        for part in self._parts(count, (height, width), cuts, enlarge):
            if len(part) == count:
                return part
            with self._room(frames.shape):
                # At once: when batches have just been halved, there is no room for all parts twice.
                if result is None:
                    result = self._empty(count, height, width)
                result[done : done + len(part)] = part
            done += len(part)
        return self._empty(0, height, width) if result is None else result

    def _empty(self, count: int, height: int, width: int) -> torch.Tensor:
        """Room for the result of so many frames of this size."""
        size = (count, 3, height * self.scale, width * self.scale)
        return torch.empty(size, dtype=torch.float32, device=self.device)

    @torch.inference_mode()
    def upscale(
        self,
        batch: FrameBatch,
        format: PixelFormat,  # noqa: A002 - the field's own word
        color: Color,
        *,
        wait: bool = True,
    ) -> FrameBatch:
        """Upscale ``batch`` into planes of ``format`` that mean ``color``, on the CPU.

        A batch that does not fit into the device's memory is done in smaller parts, and a frame
        that does not in tiles.

        Args:
            batch: the frames.
            format: of the result's planes.
            color: what its samples mean.
            wait: until it can be read; else, on a GPU, its ``ready.synchronize()`` does.

        Raises:
            BackendError: the device failed; without ``wait``, ``ready`` may raise it instead.
            OutOfMemoryError: the device has no room for a tile of a frame.
        """

        def enlarge(
            first: int, end: int, side: int | None
        ) -> tuple[list[torch.Tensor], Ready | None]:
            with self._room(batch.planes[0].shape):
                return self._planes(batch, slice(first, end), side, format, color)

        if not len(batch):
            return self._nothing(batch, format, color)
        with self._room(batch.planes[0].shape):
            cuts = self._passes.cuts(batch) if self._passes.in_sequence else []
        parts = list(self._parts(len(batch), (batch.height, batch.width), cuts, enlarge))
        planes, ready = parts[0]
        if wait or len(parts) > 1:
            for _, part in parts:
                if part is not None:
                    part.synchronize()
            ready = None
        if len(parts) > 1:
            with self._room(batch.planes[0].shape):
                planes = list(map(torch.cat, zip(*(each for each, _ in parts), strict=True)))
        return self._enlarged(batch, planes, format, color, ready)

    def _enlarged(
        self,
        batch: FrameBatch,
        planes: Sequence[torch.Tensor],
        format: PixelFormat,  # noqa: A002 - the field's own word
        color: Color,
        ready: Ready | None = None,
    ) -> FrameBatch:
        """``batch`` with its result's planes."""
        return replace(
            batch,
            planes=tuple(planes),
            format=format,
            width=batch.width * self.scale,
            height=batch.height * self.scale,
            color=color,
            ready=ready,
        )

    def _nothing(
        self,
        batch: FrameBatch,
        format: PixelFormat,  # noqa: A002 - the field's own word
        color: Color,
    ) -> FrameBatch:
        """The result of a batch of no frames."""
        size = (0, 3, batch.height * self.scale, batch.width * self.scale)
        rgb = torch.empty(size, dtype=torch.float32, device="cpu")
        alpha = rgb[:, :1] if format.alpha else None
        return self._enlarged(batch, from_rgb(rgb, alpha, format, color), format, color)

    def _parts(
        self,
        count: int,
        size: tuple[int, int],
        cuts: list[bool],
        work: Callable[[int, int, int | None], T],
    ) -> Iterator[T]:
        """Results of ``work`` for ``count`` frames, one by one where they depend on each other."""
        if not self._passes.in_sequence:
            yield from self._fitting(count, size, work)
        for index, cut in enumerate(cuts):
            self._passes.follow(cut=cut)
            yield from self._fitting(1, size, partial(_at, index, work))

    def _planes(
        self,
        batch: FrameBatch,
        part: slice,
        side: int | None,
        format: PixelFormat,  # noqa: A002 - the field's own word
        color: Color,
    ) -> tuple[list[torch.Tensor], Ready | None]:
        def enter(planes: Sequence[torch.Tensor]) -> list[torch.Tensor]:
            rgb, alpha = batch_to_rgb(replace(batch, planes=tuple(planes)))
            return [rgb] if alpha is None or not format.alpha else [rgb, alpha]

        def network(small: Sequence[torch.Tensor]) -> list[torch.Tensor]:
            rgb, *alpha = small
            return [self._passes(self._backend, rgb, side), *map(self._alpha, alpha)]

        def leave(large: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
            rgb, *alpha = large
            return from_rgb(rgb, alpha[0] if alpha else None, format, color)

        planes = [plane[part] for plane in batch.planes]
        if self._pipeline is not None:
            where = f"{self.device}: a batch of {len(planes[0])}x{batch.height}x{batch.width}"
            return self._pipeline.planes(planes, enter, network, leave, where)
        small = enter([plane.to(self.device) for plane in planes])
        return [plane.cpu() for plane in leave(network(small))], None

    def _room(self, shape: torch.Size) -> AbstractContextManager[None]:
        size = "x".join(str(n) for n in shape)
        return out_of_memory(self.device, f"a batch of {size}")


def _load(kind: type[Upscaler], asked: dict[str, Any]) -> Upscaler:
    return kind(**asked)


def _at(
    index: int, work: Callable[[int, int, int | None], T], first: int, end: int, side: int | None
) -> T:
    return work(index + first, index + end, side)


def _own(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor that its owner may change in place: torch forbids that for those of inference."""
    return (
        tensor.clone()
        if tensor.is_inference() and not torch.is_inference_mode_enabled()
        else tensor
    )


def _shown(rgb: torch.Tensor) -> FrameBatch:
    """RGB as a video's frames, whose times mean nothing."""
    count, _, height, width = rgb.shape
    planes = from_rgb(rgb.float(), None, _VIDEO, _VIDEO_COLOR)
    times = tuple(range(count))
    return FrameBatch(
        tuple(planes), _VIDEO, width, height, _VIDEO_COLOR, times, (1,) * count, Fraction(1)
    )

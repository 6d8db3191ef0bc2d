"""Backend ``torch``: the inference form in eager PyTorch on any device. The reference path."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import Any

import torch

from vsr.engine.backend import Dtype
from vsr.engine.fitting import out_of_memory
from vsr.errors import BackendError
from vsr.models.registry import load_model, model_spec
from vsr.models.whole_frame.statistics import Statistics
from vsr.types import ModelPlan

__all__ = ["TorchBackend", "exact_convolutions", "exact_on"]

# bf16 costs 0.02-0.04 dB and is a choice to make knowingly; fp16 costs nothing measurable because
# statistics stay float32, but torch is slow at it on CPUs.
_CPU_DTYPES: tuple[Dtype, ...] = ("float32", "bfloat16")
_CUDA_DTYPES: tuple[Dtype, ...] = ("float16", "float32", "bfloat16")


class TorchBackend:
    """See :class:`vsr.engine.backend.ReplayingBackend`."""

    def __init__(self, model: ModelPlan, device: str, dtype: str) -> None:
        self.device = torch.device(device)
        self._loaded = load_model(
            model.name, model.scale, model.weights, device=self.device, dtype=getattr(torch, dtype)
        )
        self._model: Callable[..., torch.Tensor] = exact_on(self.device, self._loaded)
        self.scale = model.scale
        self.weights_sha256 = self._loaded.weights_sha256

    @staticmethod
    def problem(device: str) -> str | None:
        """Why it cannot run on ``device``; ``None`` if it can."""
        if device.startswith("cuda") and not torch.cuda.is_available():
            return "torch sees no CUDA device"
        return None

    @staticmethod
    def description(device: str) -> str:
        """How it runs, for people."""
        return f"on {device}"

    @staticmethod
    def dtypes(model: str, device: str) -> tuple[Dtype, ...]:
        """What the model can be stored as, the device's preference first."""
        preferred = _CUDA_DTYPES if device.startswith("cuda") else _CPU_DTYPES
        supported = model_spec(model).dtypes
        return tuple(dtype for dtype in preferred if dtype in supported)

    @torch.inference_mode()
    def __call__(self, rgb: torch.Tensor, statistics: Statistics | None = None) -> torch.Tensor:
        """Upscale a batch; see the protocol for shapes and ranges.

        Raises:
            OutOfMemoryError: the device has no room for this batch.
            BackendError: the device failed.
        """
        size = "x".join(str(n) for n in rgb.shape)
        with out_of_memory(self.device, f"a batch of {size}"):
            try:
                return self._model(rgb.to(self.device), statistics).float()
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                if self.device.type == "cuda" or "DefaultCPUAllocator" in str(error):
                    raise
                raise BackendError(f"{self.device} failed on a batch of {size}: {error}") from error


def exact_on(
    device: torch.device, work: Callable[..., torch.Tensor]
) -> Callable[..., torch.Tensor]:
    """``work`` itself on a CPU; on a GPU within :func:`exact_convolutions`."""
    return exact_convolutions(work) if device.type == "cuda" else work


def exact_convolutions(work: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """``work`` with cuDNN restricted to settings that give the same frames in every run.

    TF32, which torch allows unless told otherwise, would round the picture to eleven bits in head
    and tail. Algorithms chosen by timing may differ from run to run, and so would the frames.
    """

    def exact(*inputs: Any) -> torch.Tensor:
        with _CUDNN.held():
            return work(*inputs)

    return exact


class _Cudnn:
    """What cuDNN is held to, as long as some thread is inside: the settings are the process's."""

    def __init__(self) -> None:
        self._turn, self._inside, self._settings = Lock(), 0, ExitStack()

    @contextmanager
    def held(self) -> Iterator[None]:
        with self._turn:
            if not self._inside:
                flags = torch.backends.cudnn.flags(
                    enabled=True, benchmark=False, deterministic=True, allow_tf32=False
                )
                self._settings.enter_context(flags)
            self._inside += 1
        try:
            yield
        finally:
            with self._turn:
                self._inside -= 1
                if not self._inside:
                    self._settings.close()


_CUDNN = _Cudnn()

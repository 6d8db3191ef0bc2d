"""Backends ``onnxruntime`` and ``openvino``: the network as an ONNX file, on the CPU.

They are for whoever has them anyway, or wants to compare: ``auto`` never takes them, because
``native`` is faster (docs/export.md has figures).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from vsr.engine.backend import Dtype
from vsr.engine.fitting import out_of_memory
from vsr.engine.onnx.file import exported
from vsr.errors import BackendError
from vsr.models.fdiwn_inference import FdiwnInference
from vsr.models.onnx.export import problem
from vsr.models.onnx.runtimes import RUNTIMES, runtime_version
from vsr.models.registry import network_class
from vsr.types import ModelPlan

__all__ = ["OnnxruntimeBackend", "OpenvinoBackend"]


class _OnnxBackend:
    """See :class:`vsr.engine.backend.Backend`. As many threads compute as torch would use."""

    runtime: ClassVar[str]

    def __init__(self, model: ModelPlan, device: str, dtype: str) -> None:
        if dtype != "float32":
            raise BackendError(f"{self.runtime} does not run it in {dtype}")
        content, self.weights_sha256 = exported(model, self.runtime)
        self.device = torch.device(device)
        self.scale = model.scale
        self._run = RUNTIMES[self.runtime](content, torch.get_num_threads())

    @classmethod
    def problem(cls, device: str) -> str | None:
        """Why it cannot run on ``device``; ``None`` if it can."""
        if device != "cpu":
            return "it runs on the CPU"
        return problem((cls.runtime,))

    @classmethod
    def description(cls, device: str) -> str:
        """How it runs, for people: the runtime's version."""
        return f"on {device} with {cls.runtime} {runtime_version(cls.runtime)}; only by --backend"

    @staticmethod
    def dtypes(model: str, device: str) -> tuple[Dtype, ...]:
        """Float32 alone; nothing else has been measured."""
        fits = device == "cpu" and issubclass(network_class(model), FdiwnInference)
        return ("float32",) if fits else ()

    @torch.inference_mode()
    def __call__(self, rgb: Tensor) -> Tensor:
        """Upscale a batch; see the protocol for shapes and ranges.

        Raises:
            OutOfMemoryError: there is no room for this batch.
            BackendError: the runtime failed.
        """
        with out_of_memory(self.device, f"a batch of {'x'.join(str(n) for n in rgb.shape)}"):
            return self._run(rgb.contiguous())


class OnnxruntimeBackend(_OnnxBackend):
    """ONNX Runtime."""

    runtime = "onnxruntime"


class OpenvinoBackend(_OnnxBackend):
    """OpenVINO."""

    runtime = "openvino"

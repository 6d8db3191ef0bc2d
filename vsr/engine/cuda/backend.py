"""Backend ``cuda``: the inference form on NVIDIA GPUs, 16-bit, replayed as a CUDA graph."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, cast

import torch
from torch import Tensor

from vsr.engine.backend import Dtype
from vsr.engine.cuda.graphs import CudaRecorder, Graphs, Work
from vsr.engine.cuda.padding import pad_channels
from vsr.engine.torch_backend import TorchBackend
from vsr.models.fdiwn_inference import FdiwnInference
from vsr.models.registry import network_class
from vsr.models.whole_frame.statistics import Statistics
from vsr.types import ModelPlan

__all__ = ["CompiledBackend", "CudaBackend", "Kernels"]

#: What computes the trunk: torch's operations one by one, or those fused by ``torch.compile``.
Kernels = Literal["torch", "compile"]


class CudaBackend(TorchBackend):
    """See :class:`vsr.engine.backend.Backend`.

    Args:
        model, device, dtype: as for every backend; a CPU is taken too, without graphs, so that all
            but the recording can be tried out anywhere.
        kernels: what computes the trunk.
        graphs: record CUDA graphs; by default where there is CUDA.

    Attributes:
        notes: what was given up so far, one sentence each; grows at its end.
    """

    #: Pixels of input that fill the device: one frame of 960x540, or two of 640x360.
    batch_pixels = 960 * 540

    def __init__(
        self,
        model: ModelPlan,
        device: str,
        dtype: str,
        *,
        kernels: Kernels = "torch",
        graphs: bool | None = None,
    ) -> None:
        super().__init__(model, device, dtype)
        self.notes: list[str] = []
        net = cast(FdiwnInference, self._loaded.network)
        pad_channels(net)
        work: Work = net
        if kernels == "compile":
            work = torch.compile(net, dynamic=False)
        self._model = _exact(work)
        if self.device.type == "cuda" if graphs is None else graphs:
            self._model = Graphs(self._model, CudaRecorder(), self.notes)

    @staticmethod
    def problem(device: str) -> str | None:
        """Why it cannot run on ``device``; ``None`` if it can."""
        if not device.startswith("cuda"):
            return "it runs on NVIDIA GPUs"
        return TorchBackend.problem(device)

    @staticmethod
    def description(device: str) -> str:
        """How it runs, for people."""
        return f"on {device} ({torch.cuda.get_device_name(device)}) with CUDA graphs"

    @staticmethod
    def dtypes(model: str, device: str) -> tuple[Dtype, ...]:
        """Half precision first: statistics stay float32, so it costs nothing that can be seen."""
        fits = device.startswith("cuda") and issubclass(network_class(model), FdiwnInference)
        return ("float16", "float32", "bfloat16") if fits else ()

    def __call__(self, rgb: Tensor, statistics: Statistics | None = None) -> Tensor:
        """Upscale a batch; see the protocol for shapes and ranges.

        With ``statistics`` the network runs operation by operation, without a graph.

        Raises:
            OutOfMemoryError: the device has no room for this batch.
            BackendError: the device failed.
        """
        # Kernels are launched on the current device, whatever their tensors are on.
        with torch.cuda.device(self.device if self.device.type == "cuda" else -1):
            return super().__call__(rgb, statistics)


class CompiledBackend(CudaBackend):
    """The same with ``torch.compile``, which fuses for any GPU that torch knows.

    The first call for a size takes minutes.
    """

    def __init__(self, model: ModelPlan, device: str, dtype: str) -> None:
        super().__init__(model, device, dtype, kernels="compile")

    @staticmethod
    def description(device: str) -> str:
        """How it runs, for people."""
        return f"{CudaBackend.description(device)}, compiled by torch for each size"


def _exact(work: Work) -> Work:
    """``work`` with cuDNN held to what results may depend on.

    TF32 would round the picture to eleven bits in head and tail. Algorithms chosen by timing may
    differ from run to run, and so would the frames.
    """

    def exact(x: Tensor) -> Tensor:
        with _cudnn():
            return work(x)

    return exact


@contextmanager
def _cudnn() -> Iterator[None]:
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    ):
        yield

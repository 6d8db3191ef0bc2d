"""Backend ``cuda``: the inference form on NVIDIA GPUs, 16-bit, replayed as a CUDA graph."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal, cast

import torch
from torch import Tensor

from vsr.engine.backend import Dtype
from vsr.engine.cuda.graphs import CudaRecorder, Graphs, Work
from vsr.engine.cuda.padding import pad_channels
from vsr.engine.cuda.verified import Verified
from vsr.engine.torch_backend import TorchBackend, exact_convolutions
from vsr.errors import BackendError
from vsr.models.fdiwn_inference import FdiwnInference
from vsr.models.registry import network_class
from vsr.models.whole_frame.statistics import Statistics
from vsr.types import ModelPlan

__all__ = ["CompiledBackend", "CudaBackend", "Kernels"]

#: What computes the trunk: our fused kernels, torch's operations one by one, or those as
#: ``torch.compile`` fuses them.
Kernels = Literal["triton", "torch", "compile"]


class CudaBackend(TorchBackend):
    """See :class:`vsr.engine.backend.ReplayingBackend`.

    Args:
        model, device, dtype: as for every backend; a CPU is taken too, without graphs, so that all
            but the recording can be tried out anywhere.
        kernels: what computes the trunk, and nothing else; by default Triton where it is and the
            trunk is stored in 16 bits, and torch should that fail.
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
        kernels: Kernels | None = None,
        graphs: bool | None = None,
    ) -> None:
        super().__init__(model, device, dtype)
        self.notes: list[str] = []
        self._plain = exact_convolutions(self._loaded.network)
        self._fast = exact_convolutions(self._work(kernels, dtype))
        if self.device.type == "cuda" if graphs is None else graphs:
            self._fast = Graphs(self._fast, CudaRecorder(), self.notes)
        self._model = self._either

    def _either(self, rgb: Tensor, statistics: Statistics | None) -> Tensor:
        # Statistics from elsewhere are asked for map by map, which no graph can hold.
        return self._fast(rgb) if statistics is None else self._plain(rgb, statistics)

    def _work(self, kernels: Kernels | None, dtype: str) -> Work:
        net = cast(FdiwnInference, self._loaded.network)
        pad_channels(net)
        if kernels == "compile":
            return cast(Work, torch.compile(net, dynamic=False))
        # In float32 there are no tensor cores to feed, and cuDNN does as well.
        if kernels == "torch" or (kernels is None and dtype == "float32"):
            return net
        if find_spec("triton") is None:
            missing = "Triton is not installed"
            if kernels == "triton":
                raise BackendError(missing, remedy="pip install triton")
            self.notes.append(f"{missing}: torch's own kernels run the network, which are slower.")
            return net
        from vsr.engine.cuda.trunk import FusedNetwork

        return Verified(
            FusedNetwork(net),
            net,
            # Triton also compiles with the system's C compiler and looks for the driver; what is
            # raised where these are missing has no type in common.
            failures=(Exception,),
            notes=self.notes,
            required=kernels == "triton",
        )

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

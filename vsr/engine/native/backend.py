"""Backend ``native``: head and tail in torch, the trunk (98% of the arithmetic) in C++."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from vsr.engine.backend import Dtype
from vsr.engine.native.library import BFLOAT16, Network, Run, bfloat16_problem, library, problem
from vsr.engine.native.pack import pack_trunk
from vsr.models.fdiwn_inference import FdiwnInference
from vsr.models.registry import load_model, network_class
from vsr.types import ModelPlan

__all__ = ["NativeBackend", "run_tail", "run_trunk"]

#: Pixels of features that torch sees at a time, at least a line: a whole frame's would double the
#: memory, and a few lines' are not worth a call.
_BAND = 2**16
#: Lines that the tail reads beyond those it gives.
_REACH = 2


class NativeBackend:
    """See :class:`vsr.engine.backend.Backend`.

    Statistics are float32; ``dtype`` is what maps are stored as in between. Products are float32
    too; with bfloat16, they are of bfloat16, summed in float32. As many threads compute as torch
    would use.

    Raises:
        BackendError: the library for ``dtype`` cannot be used here.
    """

    def __init__(self, model: ModelPlan, device: str, dtype: str) -> None:
        self._loaded = load_model(model.name, model.scale, model.weights)
        self.device = torch.device(device)
        self.scale = model.scale
        self.weights_sha256 = self._loaded.weights_sha256
        self._net = cast(FdiwnInference, self._loaded.network)
        self._library = library(bfloat16=dtype == "bfloat16")
        self._trunk = Network(self._library, pack_trunk(self._net))
        self._half = dtype == "float16"

    @staticmethod
    def problem(device: str) -> str | None:
        """Why it cannot run on ``device``; ``None`` if it can."""
        if device != "cpu":
            return "it runs on the CPU"
        return problem()

    @staticmethod
    def dtypes(model: str, device: str) -> tuple[Dtype, ...]:
        """The fastest first: bfloat16 costs less than 0.01 dB, half precision than 0.001."""
        if device != "cpu" or not issubclass(network_class(model), FdiwnInference):
            return ()
        if bfloat16_problem() is None:
            return ("bfloat16", "float16", "float32")
        return ("float16", "float32")

    @staticmethod
    def description(device: str) -> str:
        """How it runs, for people: the instruction sets that were chosen.

        Raises:
            BackendError: it cannot run here.
        """
        found = library()
        said = f"on {device} with {found.name}, {found.lanes} floats a vector"
        if bfloat16_problem() is not None:
            return said
        half = library(bfloat16=True)
        why = f" ({half.passed_over})" if half.passed_over else ""
        return f"{said}; bfloat16 with {BFLOAT16[half.name]}{why}"

    @torch.inference_mode()
    def __call__(self, rgb: Tensor) -> Tensor:
        """Upscale a batch, frame by frame; see the protocol for shapes and ranges.

        Raises:
            OutOfMemoryError: there is no room for a frame.
        """
        count, colours, height, width = rgb.shape
        out = None
        for index in range(count):
            x = rgb[index : index + 1]
            with Run.open(
                self._library, height, width, threads=torch.get_num_threads(), half=self._half
            ) as run:
                run_trunk(self._net, self._trunk, run, x)
                # Not before the trunk has given its maps back: this is the next largest thing.
                if out is None:
                    out = rgb.new_empty((count, colours, height * self.scale, width * self.scale))
                run_tail(self._net, run, x, out[index : index + 1])
        return rgb.new_empty((0, colours, 0, 0)) if out is None else out


def run_trunk(net: FdiwnInference, trunk: Network, run: Run, x: Tensor) -> None:
    """One frame through head and trunk; the features stay in ``run``.

    Args:
        net: the inference form, for its head.
        trunk: its trunk in the library.
        run: room for a frame of this size.
        x: ``(1, 3, H, W)`` float32 RGB in 0..255.
    """
    height = x.shape[2]
    band = _lines(x.shape[3])
    for top in range(0, height, band):
        # The head's zero padding is the picture's border: a band has its neighbours' lines instead.
        begin, end = max(0, top - 1), min(height, top + band + 1)
        features = net.head(x[:, :, begin:end] - net.black)
        lines = min(band, height - top)
        run.write(features[:, :, top - begin : top - begin + lines], top)
    run.trunk(trunk)


def run_tail(net: FdiwnInference, run: Run, x: Tensor, out: Tensor) -> None:
    """The tail of a frame that has been through :func:`run_trunk`.

    Args:
        net, run, x: the same.
        out: ``(1, 3, scale * H, scale * W)`` float32, written.
    """
    height, s = x.shape[2], net.scale
    band = _lines(x.shape[3])
    for top in range(0, height, band):
        begin, end = max(0, top - _REACH), min(height, top + band + _REACH)
        picture = x[:, :, begin:end]
        if s == 4:
            picture = picture - net.black
        features = run.read(begin, end - begin)
        large = net.tail(features, picture, top=begin == 0, bottom=end == height)
        lines = min(band, height - top)
        out[:, :, s * top : s * (top + lines)] = large[:, :, s * (top - begin) :][:, :, : s * lines]


def _lines(width: int) -> int:
    """Lines in a band."""
    return max(1, _BAND // width)

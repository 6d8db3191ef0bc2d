"""FDIWN as an ONNX file, checked against torch before anybody gets it."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F  # noqa: N812 - what everybody calls it
from torch import Tensor

from vsr import __version__
from vsr.errors import DependencyError, ModelError
from vsr.models.fdiwn_inference import FdiwnInference
from vsr.models.onnx.record import Recorder
from vsr.models.onnx.runtimes import RUNTIMES, runtime_problem
from vsr.models.registry import LoadedModel, network_class
from vsr.models.weights import FOLDER, sha256
from vsr.models.whole_frame.statistics import Moments

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["INPUT", "OPSET", "OUTPUT", "Exported", "check_exportable", "problem", "to_onnx"]

#: Names of the graph's input and output.
INPUT, OUTPUT = "rgb", "enlarged"
#: Version of ONNX's operators: the oldest that has all that is used as it is used here, and so
#: what most runtimes can read.
OPSET = 17
#: Largest difference from torch in float32 with the same weights, in codes of 0..255, by what the
#: trunk is stored as. Float16 has 11 bits, and each runtime rounds in other places: torch itself on
#: a CPU is further from float32 than runtimes are, so it is no measure for them.
TOLERANCE = {torch.float32: 1e-3, torch.float16: 0.255}
#: Frames that the file is checked on, ``(N, H, W)``: a batch, and sizes without a common factor.
_CHECKED = ((2, 13, 10), (1, 16, 21))


@dataclass(frozen=True, slots=True)
class Exported:
    """An ONNX file's content.

    Attributes:
        content: the file.
        difference: largest one from torch on the frames it was checked on, in codes of 0..255.
        runtime: what it was checked with.
    """

    content: bytes
    difference: float
    runtime: str


def problem(runtimes: Iterable[str] = RUNTIMES) -> str | None:
    """Why nothing can be exported here; ``None`` if it can.

    Args:
        runtimes: those of which one must be there, to check what was exported.
    """
    if find_spec("onnx") is None:
        return "the package onnx is not installed: pip install 'fdiwn-vsr[onnx]'"
    problems = [runtime_problem(name) for name in runtimes]
    return None if None in problems else problems[0]


def check_exportable(model: str, runtimes: Iterable[str] = RUNTIMES) -> None:
    """Whether ``model`` can be exported here.

    Args:
        model: row of the model table.
        runtimes: as for :func:`problem`.

    Raises:
        ModelError: there is no such model, or not as an ONNX file.
        DependencyError: the package ``onnx`` is not installed, or no runtime to check the file.
    """
    if not issubclass(network_class(model), FdiwnInference):
        raise ModelError(
            f"{model} cannot be exported", remedy="FDIWN's variants can: --model fdiwn."
        )
    if (missing := problem(runtimes)) is not None:
        raise DependencyError(
            "cannot write ONNX files here",
            where=missing.partition(":")[0],
            remedy="Install what is needed with `pip install 'fdiwn-vsr[onnx]'`.",
        )


def to_onnx(
    model: LoadedModel,
    *,
    size: tuple[int, int] | None = None,
    opset: int = OPSET,
    runtime: str | None = None,
) -> Exported:
    """A network as an ONNX file.

    The graph maps ``rgb``, ``(N, 3, H, W)`` float32 RGB in 0..255, to ``enlarged``,
    ``(N, 3, scale * H, scale * W)``, not clamped; batch and size are free. If the trunk is stored
    in float16, both stay float32.

    Args:
        model: loaded on the CPU.
        size: width and height of the frames if the graph is for one size only; batches then have
            one frame.
        opset: version of the operators, from :data:`OPSET` on.
        runtime: what to check it with, of :data:`vsr.models.onnx.runtimes.RUNTIMES`; by default
            the first that is there.

    Raises:
        BackendError: the runtime refuses the file.
        ModelError, DependencyError: as :func:`check_exportable`; or the graph does not compute
            what torch does.
    """
    check_exportable(model.name, RUNTIMES if runtime is None else (runtime,))
    network = cast(FdiwnInference, model.network)
    # The same nodes do for any size, so they are checked on small frames whatever is declared.
    recorded = _record(network, opset)
    content = _graph(recorded, model, None).SerializeToString()
    if runtime is None:
        runtime = next(name for name in RUNTIMES if runtime_problem(name) is None)
    difference = _difference(content, model, runtime)
    if not difference <= TOLERANCE[model.dtype]:  # not a number is too much as well
        raise ModelError(
            f"the exported network differs from torch by {difference:.3g} of 255, more than "
            f"{TOLERANCE[model.dtype]:g}",
            remedy="Please report it, with what `vsr doctor` says; nothing was written.",
        )
    if size is not None:
        content = _graph(recorded, model, size).SerializeToString()
    return Exported(content, difference, runtime)


def _moments(x: Tensor) -> Moments:
    """As :func:`vsr.models.whole_frame.statistics.measure`, in operations that ONNX has.

    Rows first, then their means: float32 sums of a whole frame lose digits.
    """

    def mean(values: Tensor) -> Tensor:
        return values.mean(3, keepdim=True).mean(2, keepdim=True)

    x = x.float()
    center = mean(x)
    return Moments(center, mean((x - center).square()))


def _record(net: FdiwnInference, opset: int) -> Recorder:
    """The network's nodes; see :meth:`FdiwnInference.forward`.

    The tail is the two convolutions that the 5x5 one is made of: repairing its border would take
    nodes for frames of one line or column, and they cost 3% of the network.
    """
    with torch.inference_mode(mode=False), torch.no_grad():
        x = torch.zeros(1, 3, 8, 8)
        recorder = Recorder(x, INPUT, opset)
        with recorder:
            shifted = x - net.black
            picture = shifted if net.scale == 4 else x
            features = net.trunk(net.head(shifted).to(net.trunk_dtype), _moments).float()
            large = net.tail.exact(torch.cat([features, picture], 1))
            recorder.result(F.pixel_shuffle(large, net.scale), OUTPUT)
    return recorder


def _graph(recorded: Recorder, model: LoadedModel, size: tuple[int, int] | None) -> ModelProto:
    from onnx import TensorProto, helper, numpy_helper

    scale = model.scale
    small: list[str | int] = ["N", 3, "H", "W"]
    large: list[str | int] = ["N", 3, f"{scale}*H", f"{scale}*W"]
    if size is not None:
        width, height = size
        small, large = [1, 3, height, width], [1, 3, scale * height, scale * width]
    meaning = "RGB, float32, codes of 0..255"
    graph = helper.make_graph(
        recorded.nodes,
        f"{model.name}_x{scale}",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, small, f"{meaning}, N3HW")],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, large, f"{meaning}, unclamped")],
        [numpy_helper.from_array(array, name) for name, array in recorded.constants.items()],
    )
    opsets = [helper.make_opsetid("", recorded.opset)]
    made = helper.make_model(
        graph,
        opset_imports=opsets,
        producer_name="vsr",
        producer_version=__version__,
        # The oldest format that has these operators: older runtimes refuse newer ones.
        ir_version=helper.find_min_ir_version_for(opsets),
    )
    helper.set_model_props(made, _metadata(model))
    return made


def _metadata(model: LoadedModel) -> dict[str, str]:
    shipped = (FOLDER / model.weights_name).is_file() and model.weights_sha256 == sha256(
        FOLDER / model.weights_name
    )
    terms = "Apache-2.0" if shipped else "those of the weights' author; the network's is Apache-2.0"
    return {
        "model": model.name,
        "scale": str(model.scale),
        "dtype": str(model.dtype).removeprefix("torch."),
        "weights": model.weights_name.encode(errors="backslashreplace").decode(),
        "weights_sha256": model.weights_sha256,
        "vsr_version": __version__,
        "licence": terms,
        "layout": "N, colour (R, G, B), row, column; the same in and out",
        "range": "0..255 in, nominally 0..255 out: clamp before rounding",
    }


def _difference(content: bytes, model: LoadedModel, runtime: str) -> float:
    """Largest difference of a runtime from torch in float32."""
    run = RUNTIMES[runtime](content, torch.get_num_threads())
    exact = copy.deepcopy(model.network).float()
    generator = torch.Generator().manual_seed(0)
    found: list[float] = []
    for count, height, width in _CHECKED:
        x = 255 * torch.rand((count, 3, height, width), generator=generator)
        with torch.inference_mode():
            found.append((run(x) - exact(x)).abs().max().item())
    return max(found)

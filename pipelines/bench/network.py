"""The network alone: the form it is trained in, and every backend of the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from pipelines.bench.timing import Timing, in_turn, ratio
from vsr.engine.backend import BACKENDS, backend_class, open_backend
from vsr.errors import VsrError
from vsr.models.cost import count_multiply_adds
from vsr.models.fdiwn import Fdiwn, Variant
from vsr.models.registry import weights_path
from vsr.models.weights import read_weights
from vsr.types import ModelPlan

__all__ = ["BASELINE", "NetworkRow", "candidates", "measure_networks", "training_form"]

#: Name of the baseline's row.
BASELINE = "training form, float32"

Network = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class NetworkRow:
    """One way to run the network.

    Attributes:
        name: ``backend, dtype``, or :data:`BASELINE`.
        fps: frames per second, one frame at a time, by the median of the rounds.
        ratio: how many times as fast as the first row, by the median of the rounds' ratios.
        cpu_seconds: of the processor, a frame.
        gflops: 2e-9 times the multiply-adds of the published network, a second; 0 for bicubic.
            Winograd convolutions do fewer, so that this may come above the machine's limit.
        timing: all repetitions.
    """

    name: str
    fps: float
    ratio: float
    cpu_seconds: float
    gflops: float
    timing: Timing


def training_form(model: ModelPlan, device: str) -> Fdiwn:
    """The network as it is trained, eager, float32, in evaluation mode.

    Raises:
        ModelError: its weights cannot be had.
    """
    variants: dict[str, Variant] = {"fdiwn": "fdiwn", "fdiwn-m": "fdiwn-m"}
    net = Fdiwn(model.scale, variants[model.name])
    path = weights_path(model.name, model.scale, model.weights)
    if path is not None:
        net.load_state_dict(read_weights(path))
    return net.eval().to(device)


def candidates(model: ModelPlan, device: str) -> tuple[dict[str, Network], list[str]]:
    """All that can run ``model`` on ``device``, the baseline first; and why the rest cannot.

    bfloat16 is left out where it is not what the backend would take: there it costs quality and is
    a choice to make knowingly.
    """
    found: dict[str, Network] = {}
    left_out = []
    if model.name.startswith("fdiwn"):
        found[BASELINE] = torch.inference_mode()(training_form(model, device))
    for name in BACKENDS:
        kind = backend_class(name)
        has = kind.dtypes(model.name, device)
        dtypes = [d for d in has if d != "bfloat16" or d == has[0]]
        if name == "cuda-compile":  # takes minutes for each
            dtypes = dtypes[:1]
        problem = kind.problem(device)
        if not dtypes or problem is not None:
            left_out.append(f"{name}: {problem or f'it does not run {model.name} on {device}'}")
            continue
        for dtype in dtypes:
            try:
                found[f"{name}, {dtype}"] = open_backend(name, model, device, dtype)
            except VsrError as error:
                left_out.append(f"{name}, {dtype}: {error.what}")
    return found, left_out


def measure_networks(
    networks: dict[str, Network], model: ModelPlan, device: str, size: tuple[int, int], rounds: int
) -> list[NetworkRow]:
    """Time ``networks`` in turn on noise of ``size`` (width, height); ratios are to the first."""
    width, height = size
    noise = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0)) * 255
    rgb = noise.to(device)

    def one(network: Network) -> Callable[[], object]:
        # .item() waits for the device.
        return lambda: network(rgb).flatten()[0].item()

    timings = in_turn({name: one(network) for name, network in networks.items()}, rounds)
    operations = 0.0
    if model.name.startswith("fdiwn"):
        operations = 2 * count_multiply_adds(training_form(model, "cpu"))[0] * width * height
    first = next(iter(timings.values()))
    return [
        NetworkRow(
            name=name,
            fps=1 / timing.median,
            ratio=ratio(first, timing),
            cpu_seconds=timing.cpu_median,
            gflops=operations / timing.median / 1e9,
            timing=timing,
        )
        for name, timing in timings.items()
    ]

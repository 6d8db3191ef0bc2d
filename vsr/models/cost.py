"""What a network costs: parameters, and multiply-adds for a picture of 1280x720.

Counted, not stated: PyTorch's ``FlopCounterMode`` watches one forward pass of the training form
(the network as published; the inference form folds weights and makes grouped convolutions dense,
which runs faster and multiplies more).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vsr.models.fdiwn import Fdiwn, Variant
from vsr.models.registry import model_spec

__all__ = ["OUTPUT_SIZE", "Cost", "count_cost", "count_multiply_adds"]

#: ``(width, height)`` that multiply-adds are stated for in the literature.
OUTPUT_SIZE = (1280, 720)

#: ``(height, width)`` of the picture that is watched; any will do, for counts are per pixel.
_WATCHED = (16, 24)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a network costs.

    Attributes:
        parameters: learned numbers, weight normalisation's included.
        multiply_adds: of all convolutions, for an output of :data:`OUTPUT_SIZE` (an input of that
            size divided by the scale, rounded up).
        multiply_adds_once: the same if groups that are used several times counted once.
    """

    parameters: int
    multiply_adds: int
    multiply_adds_once: int


def count_cost(name: str, scale: int) -> Cost:
    """Count the model ``name`` at ``scale``; a formula without weights costs nothing here.

    Raises:
        ModelError: there is no such model.
    """
    spec = model_spec(name)
    if not spec.has_weights:
        return Cost(0, 0, 0)
    network = _training_form(name, scale)
    parameters = sum(p.numel() for p in network.parameters())
    width, height = (-(-size // scale) for size in OUTPUT_SIZE)
    every, groups = count_multiply_adds(network, "groups.")
    # A group's runs are alike: one of them is its share of their sum.
    uses = Counter(network.order)
    spared = sum(groups[f"groups.{i}"] * (1 - 1 / n) for i, n in uses.items())
    once = every - spared
    return Cost(parameters, round(every * width * height), round(once * width * height))


def count_multiply_adds(network: nn.Module, parts: str = "") -> tuple[float, dict[str, float]]:
    """Multiply-adds of the convolutions of ``network``, per input pixel.

    What is done once per picture (FDIWN's gates, some 20,000 multiply-adds) is left out.

    Args:
        network: maps ``(1, 3, H, W)`` float32 to something.
        parts: also count the modules whose names begin so, all their runs together.

    Returns:
        The whole network's, and those of the parts by name.
    """
    height, width = _WATCHED
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, height, width))
    root = f"{type(network).__name__}."
    counts = {
        # FlopCounterMode counts a multiplication and its addition as two.
        name.removeprefix(root): sum(
            int(n) for operation, n in operations.items() if "conv" in str(operation)
        )
        / (2 * height * width)
        for name, operations in counter.flop_counts.items()
    }
    return counts["Global"], {k: v for k, v in counts.items() if parts and k.startswith(parts)}


def _training_form(name: str, scale: int) -> Fdiwn:
    variants: dict[str, Variant] = {"fdiwn": "fdiwn", "fdiwn-m": "fdiwn-m"}
    return Fdiwn(scale, variants[name])

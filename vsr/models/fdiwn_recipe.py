"""How FDIWN is trained: what it starts as, and which of its layers learn slowly.

The training loop takes any ``nn.Module``; everything that knows FDIWN's layers is here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vsr.errors import ModelError
from vsr.models.bicubic import resize_matrix
from vsr.models.fdiwn import CHANNELS, MEAN_RGB, SCALES, Fdiwn, Variant, Wdib
from vsr.models.training.trunk import TrainingTrunk, native_problem
from vsr.models.trunk_native import library

__all__ = [
    "PICTURE_RATE",
    "arrange",
    "build",
    "compile_blocks",
    "compiling_helps",
    "how_it_runs",
    "initialise_as_bicubic",
    "network_of",
    "parameter_groups",
    "take_over",
]

#: Learning rate of the layers that see raw 0..255 codes, relative to the others'.
PICTURE_RATE = 0.05
_PICTURE_LAYERS = ("subtract_mean.", "add_mean.", "head.", "input_")
#: Of scalars, gains and the gates' few numbers, relative to the others'. They are near 1 where
#: weights are near 0.1, and have as far to go in proportion.
GAIN_RATE = 6.0
_GATE_ENTRIES = 2


def build(variant: str, scale: int, start: Mapping[str, Tensor] | None = None) -> Fdiwn:
    """The network as it is before its first step, float32, on the CPU.

    Args:
        variant: ``fdiwn`` or ``fdiwn-m``.
        scale: 2, 3 or 4.
        start: a state dictionary of either variant at any scale, to start from; ``None`` starts
            as MATLAB's bicubic with random features.

    Raises:
        ModelError: ``start`` is not FDIWN's.
    """
    name: Literal["fdiwn", "fdiwn-m"] = "fdiwn" if variant == "fdiwn" else "fdiwn-m"
    net = Fdiwn(scale, name)
    initialise_as_bicubic(net)
    if start is not None:
        take_over(net, network_of(start))
    return net


def network_of(state: Mapping[str, Tensor]) -> Fdiwn:
    """The network that a state dictionary is of, whatever its scale and variant.

    Raises:
        ModelError: it is none of FDIWN's.
    """
    shapes = {name: value.shape for name, value in state.items()}
    phases = shapes.get("features_up.weight", (0,))[0]
    variant: Variant = "fdiwn" if any(n.startswith("groups.2.") for n in shapes) else "fdiwn-m"
    for scale in SCALES:
        if phases == 3 * scale * scale:
            net = Fdiwn(scale, variant)
            if {name: value.shape for name, value in net.state_dict().items()} == shapes:
                net.load_state_dict(state)
                return net
    raise ModelError(
        "these weights are neither fdiwn's nor fdiwn-m's, at any scale",
        remedy="Give a .safetensors file that `vsr train` wrote, or one that ships with vsr.",
    )


@torch.no_grad()
def initialise_as_bicubic(net: Fdiwn) -> None:
    """Start as MATLAB's bicubic: the input tail is its 5x5 kernel, the features add little.

    The tail's two 3x3 convolutions have no activation between them. Nine hidden channels per
    colour hold the nine neighbours, and the second convolution reaches one pixel further.
    """
    s = net.scale
    kernel = torch.tensor(resize_matrix(11, float(s))[5 * s : 6 * s, 3:8]).float()
    widen, up = net.input_widen, net.input_up
    used = 27
    widen.weight[:used] = 0
    _bias(widen).zero_()
    up.weight.zero_()
    first, second = (0, 1, 1, 1, 2), (0, 0, 1, 2, 2)
    taps = up.weight.view(3, s, s, -1, 3, 3)
    for colour in range(3):
        for i in range(9):
            widen.weight[colour * 9 + i, colour, i // 3, i % 3] = 1
        for dy in range(5):
            for dx in range(5):
                hidden = colour * 9 + first[dy] * 3 + first[dx]
                taps[colour, :, :, hidden, second[dy], second[dx]] += torch.outer(
                    kernel[:, dy], kernel[:, dx]
                )
    mean = torch.zeros(3) if s == 4 else torch.tensor(MEAN_RGB)
    _bias(up).copy_(-mean.repeat_interleave(s * s))
    # Codes are about 60 around the mean; the trunk is at ease with features near 1.
    net.head.weight /= 64
    _bias(net.head).zero_()
    net.features_up.weight *= 0.1
    _bias(net.features_up).zero_()


@torch.no_grad()
def take_over(net: Fdiwn, other: Fdiwn) -> None:
    """Start ``net`` from ``other``: all of it at the same scale, else the trunk and the tail.

    FDIWN-M takes FDIWN's first two groups; FDIWN takes FDIWN-M's second group twice, which is the
    same function. At another scale, wider inner layers keep their function: the extra channels'
    outgoing weights are zero. The features' tail is linear, so a narrower one is its best low-rank
    approximation, and a phase of the new scale starts as the nearest phase of the old. What the
    picture itself passes stays as it is in ``net``.
    """
    theirs = other.state_dict()
    last = len(other.groups) - 1
    same = net.scale == other.scale
    for name, ours in net.state_dict().items():
        if not same and not name.startswith(("groups.", "head.", "subtract_mean.")):
            continue
        source = name
        if name.startswith("groups."):
            _, index, rest = name.split(".", 2)
            source = f"groups.{min(int(index), last)}.{rest}"
        if name.endswith("reduce.v"):
            ours.zero_()
        value = theirs[source]
        part = tuple(slice(min(n, m)) for n, m in zip(ours.shape, value.shape, strict=True))
        ours[part] = value[part]
    if not same:
        _take_over_tail(net, other)
        if net.scale == 4:
            _take_over_head(net, other)


def _take_over_head(net: Fdiwn, other: Fdiwn) -> None:
    """What ``other`` has learnt of the mean shift goes into the head alone.

    At x4 the picture itself passes the shift, too, and the tail it goes to knows the fresh one.
    """
    shift, head = other.subtract_mean, other.head
    mixed = shift.weight[:, :, 0, 0]
    offset = mixed @ torch.tensor(MEAN_RGB) + _bias(shift)
    net.subtract_mean.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
    _bias(net.subtract_mean).copy_(-torch.tensor(MEAN_RGB))
    net.head.weight.copy_(torch.einsum("ochw,ci->oihw", head.weight, mixed))
    _bias(net.head).copy_(_bias(head) + torch.einsum("ochw,c->o", head.weight, offset))


def _take_over_tail(net: Fdiwn, other: Fdiwn) -> None:
    s, t = net.scale, other.scale
    width, old_width = net.features_widen.weight.shape[0], other.features_widen.weight.shape[0]
    widen = other.features_widen.weight.flatten(1)
    up = other.features_up.weight.view(3, t, t, old_width, 3, 3)
    if width != old_width:
        after = up.movedim(3, -1).reshape(-1, old_width)
        u, values, v = torch.linalg.svd(after @ widen, full_matrices=False)
        rank = min(width, len(values))
        root = values[:rank].sqrt()
        widen = torch.zeros(width, v.shape[1])
        widen[:rank] = root[:, None] * v[:rank]
        after = torch.zeros(after.shape[0], width)
        after[:, :rank] = u[:, :rank] * root
        up = after.view(3, t, t, 3, 3, width).movedim(-1, 3)
    nearest = [min(t - 1, int((p + 0.5) * t / s)) for p in range(s)]
    net.features_widen.weight.copy_(widen.reshape(width, CHANNELS, 3, 3))
    net.features_up.weight.copy_(
        up[:, nearest][:, :, nearest].reshape(net.features_up.weight.shape)
    )


def parameter_groups(net: nn.Module) -> list[dict[str, Any]]:
    """Groups for an optimiser; ``share`` is their learning rate relative to the schedule's."""
    fast: list[nn.Parameter] = []
    slow: list[nn.Parameter] = []
    gains: list[nn.Parameter] = []
    for name, parameter in net.named_parameters():
        if name.startswith(_PICTURE_LAYERS):
            slow.append(parameter)
        elif name.endswith(".g") or (parameter.dim() == 1 and len(parameter) <= _GATE_ENTRIES):
            gains.append(parameter)
        else:
            fast.append(parameter)
    return [
        {"params": fast, "share": 1.0},
        {"params": slow, "share": PICTURE_RATE},
        {"params": gains, "share": GAIN_RATE},
    ]


def arrange(net: Fdiwn, device: torch.device, *, compiled: bool) -> None:
    """Arrange in place for speed; compiled, for one shape of batch.

    On a CPU the trunk is arranged. Compiled are its blocks, wherever it is torch's: they have the
    same code, so that all compile as one. The whole network would be 42,000 operations, forward
    and backward, whose tracing alone takes minutes.
    """
    if device.type != "cuda":
        net.trunk = TrainingTrunk(net, compiled=compiled)  # type: ignore[method-assign]
    elif compiled:
        compile_blocks(net)


def compile_blocks(net: Fdiwn, backend: str | Callable[..., Any] = "inductor") -> None:
    """Compile the blocks of the form it is trained in, in place, for one shape of batch."""
    for block in net.modules():
        if isinstance(block, Wdib):
            block.compile(dynamic=False, backend=backend)


def compiling_helps(device: torch.device, dtype: torch.dtype, patch: int) -> bool:
    """Whether a step is faster compiled: not where the trunk is C++, which is most of it."""
    return device.type == "cuda" or native_problem(device.type, dtype, patch) is not None


def how_it_runs(net: Fdiwn, device: torch.device, dtype: torch.dtype, patch: int) -> str:
    """What computes the trunk on a CPU; empty where it is as usual."""
    trunk: object = net.trunk
    if not isinstance(trunk, TrainingTrunk):
        return ""
    problem = trunk.native_problem(device.type, dtype, patch)
    if problem is not None:
        return f"trunk in torch, not C++: {problem}"
    code = library(dtype)
    assert code is not None  # noqa: S101 - else there would have been a problem
    return f"trunk in C++ with {code.name}, {str(dtype).removeprefix('torch.')}"


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None  # noqa: S101 - for the type checker: these layers have one
    return layer.bias

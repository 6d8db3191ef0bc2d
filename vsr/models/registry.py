"""The table of models, and how one is loaded.

Adding a network is one file and one row. Its class is imported when the row is used and has two
static parts besides being a module: ``state_shapes(name, scale)``, every weight with its shape,
and ``from_state(name, scale, state)``, which builds it ready to run. If its row names more than
float32, it also has ``store_trunk_as(dtype)``. If it looks at the whole frame, it takes a
:data:`~vsr.models.whole_frame.statistics.Statistics` as a second argument and asks it for all it
wants to know of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from vsr.errors import ModelError
from vsr.models.sets import locate
from vsr.models.weights import missing, read_weights, sha256
from vsr.models.whole_frame.statistics import Statistics
from vsr.plan.weights import CLEAN
from vsr.types import is_set_name

__all__ = [
    "MODELS",
    "LoadedModel",
    "ModelSpec",
    "fitting_model",
    "load_model",
    "model_spec",
    "network_class",
    "weights_path",
]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a network is and can do; importing this table imports none of them.

    Attributes:
        name: what ``--model`` says.
        network: ``module:Class``, imported when used.
        summary: one line for people.
        scales: enlargements it can be built for.
        dtypes: storage types it can run in (``float32``, ``float16``, ``bfloat16``), best first.
        has_weights: it needs a weights file, shipped or given; else it is a formula.
        min_size: smallest width and height of a frame, in samples.
        channels: colour channels in and out, RGB codes of 0..255.
        whole_frame: its result depends on statistics of the whole frame, so that cutting a frame
            into tiles changes it.
    """

    name: str
    network: str
    summary: str
    scales: tuple[int, ...]
    dtypes: tuple[str, ...]
    has_weights: bool
    min_size: int = 1
    channels: int = 3
    whole_frame: bool = False


_FDIWN = "vsr.models.fdiwn_inference:FdiwnInference"
_ALL_DTYPES = ("float32", "bfloat16", "float16")

#: Every model, by name; the first is the default.
MODELS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        ModelSpec(
            name="fdiwn",
            network=_FDIWN,
            summary="FDIWN (AAAI 2022), 0.63 to 0.66 million parameters",
            scales=(2, 3, 4),
            dtypes=_ALL_DTYPES,
            has_weights=True,
            whole_frame=True,
        ),
        ModelSpec(
            name="fdiwn-m",
            network=_FDIWN,
            summary="FDIWN-M, its small variant, 0.43 to 0.45 million parameters",
            scales=(2, 3, 4),
            dtypes=_ALL_DTYPES,
            has_weights=True,
            whole_frame=True,
        ),
        ModelSpec(
            name="bicubic",
            network="vsr.models.bicubic:Bicubic",
            summary="MATLAB's bicubic interpolation, no weights: the baseline",
            scales=(2, 3, 4),
            dtypes=("float32",),
            has_weights=False,
        ),
    )
}


class _Network(Protocol):
    """The static side of a network's class, see the head of this file."""

    @staticmethod
    def state_shapes(name: str, scale: int) -> dict[str, tuple[int, ...]]: ...

    @staticmethod
    def from_state(name: str, scale: int, state: Mapping[str, Tensor]) -> nn.Module: ...


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A network on its device, ready to run.

    Attributes:
        spec: its row of the table.
        scale: its enlargement.
        network: the module itself, in evaluation mode, without gradients.
        device, dtype: where it is, and what its trunk is stored as; frames are float32 either way.
        weights_name: name of the weights file without its folder; empty if the model has none.
        weights_sha256: SHA-256 of that file; empty if the model has none.
    """

    spec: ModelSpec
    scale: int
    network: nn.Module
    device: torch.device
    dtype: torch.dtype
    weights_name: str = ""
    weights_sha256: str = ""

    @property
    def name(self) -> str:
        """The model's name in the table."""
        return self.spec.name

    def __call__(self, x: Tensor, statistics: Statistics | None = None) -> Tensor:
        """Enlarge a batch of frames; each gives what it gives alone.

        Args:
            x: ``(N, 3, H, W)`` RGB, float32, codes of 0..255, on :attr:`device`.
            statistics: what the features of a network that looks at the whole frame are weighted
                by, in place of their own.

        Returns:
            ``(N, 3, scale * H, scale * W)`` RGB, float32, not clamped.
        """
        with torch.inference_mode():
            given = () if statistics is None else (statistics,)
            out: Tensor = self.network(x, *given)
            return out


def model_spec(name: str) -> ModelSpec:
    """The row called ``name``.

    Raises:
        ModelError: there is none.
    """
    if name in MODELS:
        return MODELS[name]
    close = get_close_matches(name.lower(), MODELS, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    raise ModelError(
        f"there is no model called {name!r}", remedy=f"{hint}Models are: {', '.join(MODELS)}"
    )


def network_class(name: str) -> type[nn.Module]:
    """The class of the model called ``name``, imported now.

    Raises:
        ModelError: there is no such model.
    """
    return cast("type[nn.Module]", _network(model_spec(name)))


def load_model(
    name: str,
    scale: int,
    weights: str | Path | None = None,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> LoadedModel:
    """Build a network for a scale, with its weights, on a device.

    Args:
        name: row of :data:`MODELS`.
        scale: enlargement.
        weights: name of a set (``clean``, ``video``, ``authors``, or what was imported), or a file,
            ours (``.safetensors``) or the authors' (``.pt``); a :class:`~pathlib.Path` is always a
            file. ``None`` takes the set ``clean``.
        device: where it runs.
        dtype: what the trunk is stored as.

    Raises:
        ModelError: no such model; not at this scale or in this dtype; no such weights, or not of
            this model at this scale.
    """
    spec = model_spec(name)
    if scale not in spec.scales:
        raise ModelError(
            f"{name} has no scale {scale}",
            remedy=f"Its scales are {', '.join(str(s) for s in spec.scales)}",
        )
    if str(dtype).removeprefix("torch.") not in spec.dtypes:
        raise ModelError(
            f"{name} does not run in {str(dtype).removeprefix('torch.')}",
            remedy=f"It runs in {', '.join(spec.dtypes)}",
        )
    path = weights_path(name, scale, weights)
    state = read_weights(path) if path else {}
    if path:
        _check(state, spec, scale, path)
    network = _network(spec).from_state(name, scale, state)
    network.to(torch.device(device)).eval().requires_grad_(requires_grad=False)
    if dtype != torch.float32:
        network.store_trunk_as(dtype)  # type: ignore[operator]
    return LoadedModel(
        spec=spec,
        scale=scale,
        network=network,
        device=torch.device(device),
        dtype=dtype,
        weights_name=path.name if path else "",
        weights_sha256=sha256(path) if path else "",
    )


def _network(spec: ModelSpec) -> _Network:
    module, _, name = spec.network.partition(":")
    return cast(_Network, getattr(import_module(module), name))


def weights_path(name: str, scale: int, weights: str | Path | None = None) -> Path | None:
    """The file that ``weights`` means for a model at a scale; ``None`` if the model needs none.

    Args:
        name: row of :data:`MODELS`.
        scale: enlargement.
        weights: as for :func:`load_model`.

    Raises:
        ModelError: no such model, or set, or file; the file of a set is damaged; the model has no
            weights and some are asked for.
    """
    if not model_spec(name).has_weights:
        if weights is not None:
            raise ModelError(
                f"{name} has no weights", where=str(weights), remedy="Leave --weights out"
            )
        return None
    chosen = CLEAN if weights is None else weights
    if isinstance(chosen, str) and is_set_name(chosen):
        return Path(locate(chosen, name, scale).path)
    path = Path(chosen)
    if not path.is_file():
        raise missing(path)
    return path


def fitting_model(state: Mapping[str, Tensor]) -> tuple[str, int] | None:
    """Name and scale of the model whose weights have these names and shapes; ``None``: of none."""
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    for spec in MODELS.values():
        for scale in spec.scales if spec.has_weights else ():
            if shapes == _network(spec).state_shapes(spec.name, scale):
                return spec.name, scale
    return None


def _check(state: Mapping[str, Tensor], spec: ModelSpec, scale: int, path: Path) -> None:
    """Compare names and shapes with what the model needs; say what the file seems to be."""
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    needed = _network(spec).state_shapes(spec.name, scale)
    if shapes == needed:
        return
    fits = fitting_model(state)
    if fits is not None:
        raise ModelError(
            f"these look like {fits[0]} x{fits[1]} weights, the request is {spec.name} x{scale}",
            where=str(path),
            remedy="Give the matching file, or change the model or the scale",
        )
    findings = [
        ("missing", [key for key in needed if key not in shapes]),
        ("unexpected", [key for key in shapes if key not in needed]),
        (
            "of another shape",
            [
                f"{key} {shapes[key]} instead of {needed[key]}"
                for key in needed
                if key in shapes and shapes[key] != needed[key]
            ],
        ),
    ]
    described = "; ".join(
        f"{len(keys)} {kind} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
        for kind, keys in findings
        if keys
    )
    raise ModelError(
        f"these are not {spec.name} x{scale} weights: {described}",
        where=str(path),
        remedy="Give the file of this model and scale, ours or the authors'",
    )

"""Backends: what runs a network on a device. A protocol and a table.

A backend is made for one network, scale and device, and maps RGB to larger RGB; colour, alpha and
batching are the upscaler's, so that every backend is fed the same samples.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Literal, Protocol, cast

from vsr.errors import BackendError, UsageError

if TYPE_CHECKING:
    import torch

    from vsr.models.whole_frame.statistics import Statistics
    from vsr.types import ModelPlan

__all__ = [
    "AUTO_ORDER",
    "BACKENDS",
    "REPLAYING",
    "Backend",
    "BackendClass",
    "Dtype",
    "ReplayingBackend",
    "backend_class",
    "check_process",
    "open_backend",
]

Dtype = Literal["float32", "float16", "bfloat16"]


class Backend(Protocol):
    """A network on a device.

    Attributes:
        device: where input is wanted and output appears.
        scale: output is this many times as wide and high.
        weights_sha256: of the weights in use; empty for models without weights.
    """

    device: torch.device
    scale: int
    weights_sha256: str

    def __call__(self, rgb: torch.Tensor) -> torch.Tensor:
        """Upscale ``(N, 3, H, W)`` float32 RGB (nominally 0..255, not clamped) on :attr:`device`.

        Returns ``(N, 3, scale*H, scale*W)`` float32, not clamped.
        """
        ...


class ReplayingBackend(Backend, Protocol):
    """One that can be told what to weight features by; see :data:`REPLAYING`."""

    def __call__(self, rgb: torch.Tensor, statistics: Statistics | None = None) -> torch.Tensor:
        """The same; ``statistics`` answers in place of what the features are themselves."""
        ...


class BackendClass(Protocol):
    """What a row of the table names."""

    def __call__(self, model: ModelPlan, device: str, dtype: str) -> Backend:
        """Build the network and load its weights.

        Raises:
            ModelError: network or weights cannot be built or loaded.
            BackendError: the device is missing or refuses the dtype.
        """
        ...

    def problem(self, device: str) -> str | None:
        """Why this backend cannot run on ``device`` here; ``None`` if it can."""
        ...

    def description(self, device: str) -> str:
        """How it runs on ``device``, for people; where :meth:`problem` has nothing to say."""
        ...

    def dtypes(self, model: str, device: str) -> tuple[Dtype, ...]:
        """What it can store ``model``'s features as on such a device, the preferred one first.

        Empty if running this model, or on such a device, is not what it is for.
        """
        ...


#: name -> "module:Class"
BACKENDS: dict[str, str] = {
    "native": "vsr.engine.native.backend:NativeBackend",
    "cuda": "vsr.engine.cuda.backend:CudaBackend",
    "cuda-compile": "vsr.engine.cuda.backend:CompiledBackend",
    "torch": "vsr.engine.torch_backend:TorchBackend",
    "onnxruntime": "vsr.engine.onnx.backend:OnnxruntimeBackend",
    "openvino": "vsr.engine.onnx.backend:OpenvinoBackend",
}

#: Those whose networks ask for the statistics of their features, so that these can be another
#: frame's (mode ``lagged``) or the whole frame's in a tile. The others take them as they go.
REPLAYING = frozenset({"torch", "cuda"})

#: What ``auto`` tries, best first; the rest runs if it is asked for by name.
AUTO_ORDER: tuple[str, ...] = ("native", "cuda", "torch")


def backend_class(name: str) -> BackendClass:
    """The class of a row, imported now.

    Raises:
        UsageError: there is no such row.
    """
    try:
        module, _, attribute = BACKENDS[name].partition(":")
    except KeyError:
        known = ", ".join(BACKENDS)
        raise UsageError(
            f"there is no backend called {name!r}", remedy=f"Choose one of {known}."
        ) from None
    return cast("BackendClass", getattr(import_module(module), attribute))


def open_backend(name: str, model: ModelPlan, device: str, dtype: str) -> Backend:
    """Build backend ``name``; a missing one is an error, never a substitute.

    torch then uses no more threads than there are cores for (:func:`vsr.processor.heed_quota`).

    Raises:
        UsageError: there is no such backend.
        BackendError: it cannot run on ``device``, or not this model, or not in ``dtype``.
        ModelError: network or weights cannot be built or loaded.
    """
    kind = backend_class(name)
    problem = kind.problem(device)
    if problem is not None:
        raise BackendError(f"backend {name} cannot run on {device}: {problem}")
    if dtype not in (has := kind.dtypes(model.name, device)):
        raise BackendError(
            f"backend {name} does not run {model.name} in {dtype} on {device}",
            remedy=f"It does in {', '.join(has)}."
            if has
            else "--backend auto finds one that does.",
        )
    from vsr.processor import heed_quota

    heed_quota()
    check_process()
    with _torchs_own_defaults():
        return kind(model, device, dtype)


def check_process() -> None:
    """Make sure that torch's threads are this process's own.

    They stay behind in a fork, and torch would wait for them for ever.

    Raises:
        BackendError: this process was forked from one that has used a network.
    """
    global _user
    import torch

    here = os.getpid()
    _user = _user or here
    if _user != here and torch.get_num_threads() > 1:
        raise BackendError(
            "this process was forked from one that has used a network, and torch's threads stay "
            "behind in a fork",
            remedy="Begin it by multiprocessing.get_context('spawn'), or call "
            "torch.set_num_threads(1) in it first.",
        )


_user: int | None = None  # the process that was the first to use a network


@contextmanager
def _torchs_own_defaults() -> Iterator[None]:
    """New tensors are float32 and on the CPU, whatever a program has made torch's defaults."""
    import torch

    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.device("cpu"):
            yield
    finally:
        torch.set_default_dtype(dtype)

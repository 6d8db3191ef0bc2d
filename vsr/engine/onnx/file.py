"""The user's cache of ONNX files: written once for weights and versions, then read."""

from __future__ import annotations

import torch

from vsr import __version__
from vsr.models.cache import cache_folder, new_file
from vsr.models.onnx.export import OPSET, to_onnx
from vsr.models.onnx.runtimes import runtime_version
from vsr.models.registry import load_model, weights_path
from vsr.models.weights import sha256
from vsr.types import ModelPlan

__all__ = ["exported"]


def exported(model: ModelPlan, runtime: str) -> tuple[bytes, str]:
    """A network as an ONNX file that has been checked in a runtime, from the cache or made now.

    The file's name holds all that it depends on, and it gets that name when it is complete.

    Args:
        model: a model with weights.
        runtime: its package.

    Returns:
        The file's content, and SHA-256 of the weights.

    Raises:
        ModelError: as :func:`vsr.models.registry.load_model`, or the export is not exact.
        BackendError: the runtime refuses the file.
        OutputError: the cache cannot be written.
    """
    path = weights_path(model.name, model.scale, model.weights)
    hashed = sha256(path) if path else ""
    others = ("torch", "onnx", runtime)
    versions = "-".join(
        [f"vsr{__version__}", *(f"{name}{runtime_version(name)}" for name in others)]
    )
    folder = cache_folder().parent / "onnx"
    file = folder / f"{model.name}_x{model.scale}-{hashed}-opset{OPSET}-{versions}.onnx"
    if file.is_file():
        return file.read_bytes(), hashed
    loaded = load_model(model.name, model.scale, path, dtype=torch.float32)
    made = to_onnx(loaded, runtime=runtime)
    with new_file(folder) as (part, out):
        out.write(made.content)
    part.replace(file)
    return made.content, loaded.weights_sha256

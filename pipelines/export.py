"""A network as a file for other runtimes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from pipelines.report.files import new_files, save
from vsr.errors import UsageError
from vsr.models.onnx.export import OPSET, check_exportable, to_onnx
from vsr.models.registry import load_model

__all__ = ["NEWEST_OPSET", "OnnxFile", "export_onnx"]

#: Newest version of ONNX's operators whose nodes are as they are written here.
NEWEST_OPSET = 21
_DTYPES = ("float32", "float16")
#: Side of a frame, pixels.
_LONGEST = 999_999


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """An ONNX file that was written.

    Attributes:
        path: where it is.
        model, scale, dtype: what is in it.
        size: width and height of its frames, or ``None`` for any.
        opset: version of its operators.
        weights_sha256: of the weights it was made from.
        bytes: its size.
        difference: largest one from torch on small random frames, in codes of 0..255.
        checked_with: the runtime that was compared with torch.
    """

    path: str
    model: str
    scale: int
    dtype: str
    size: tuple[int, int] | None
    opset: int
    weights_sha256: str
    bytes: int
    difference: float
    checked_with: str


def export_onnx(
    destination: str,
    *,
    scale: int = 2,
    model: str = "fdiwn",
    weights: str | None = None,
    size: tuple[int, int] | None = None,
    opset: int = OPSET,
    dtype: str = "float32",
    overwrite: bool = False,
) -> OnnxFile:
    """Write a network as an ONNX file, which appears when it has been compared with torch.

    Args:
        destination: the file, ``.onnx``.
        scale, model, weights: as for :func:`vsr.models.registry.load_model`.
        size: width and height of the frames, for runtimes that need to know; by default any.
        opset: version of ONNX's operators.
        dtype: what the trunk is stored as, float32 or float16; frames are float32 either way.
        overwrite: replace a file that is already there.

    Raises:
        UsageError: another ending, size, opset or dtype than there are.
        DependencyError: a package is missing.
        ModelError: no such model, scale or weights; or the file does not compute what torch does.
        BackendError: the runtime refuses the file.
        OutputError: it cannot be written.
    """
    path = Path(destination)
    if path.suffix != ".onnx":
        raise UsageError(f"{path.name} does not end in .onnx", remedy="Name it so.")
    if not OPSET <= opset <= NEWEST_OPSET:
        raise UsageError(
            f"opset {opset} is not supported", remedy=f"Use {OPSET} to {NEWEST_OPSET}."
        )
    if dtype not in _DTYPES:
        raise UsageError(
            f"ONNX files are not written in {dtype}", remedy=f"Use {' or '.join(_DTYPES)}."
        )
    if size is not None and not (min(size) >= 1 and max(size) <= _LONGEST):
        raise UsageError(
            f"{size[0]}x{size[1]} is no size of a frame", remedy=f"Sides are 1 to {_LONGEST}."
        )
    check_exportable(model)
    loaded = load_model(model, scale, weights, dtype=getattr(torch, dtype))
    with new_files([path], overwrite=overwrite) as (part,):
        made = to_onnx(loaded, size=size, opset=opset)
        save(part, made.content)
    return OnnxFile(
        path=destination,
        model=model,
        scale=scale,
        dtype=dtype,
        size=size,
        opset=opset,
        weights_sha256=loaded.weights_sha256,
        bytes=len(made.content),
        difference=made.difference,
        checked_with=made.runtime,
    )

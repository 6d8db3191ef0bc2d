"""The runtimes that ONNX files are run with here, as functions from frames to larger frames."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from vsr.errors import BackendError, OutOfMemoryError

__all__ = ["RUNTIMES", "Run", "runtime_problem", "runtime_version"]

#: ``(N, 3, H, W)`` float32 RGB to the larger frames; the input is left alone.
Run = Callable[[Tensor], Tensor]

#: How the runtimes say that memory ran out; none has an exception of its own for that.
_NO_ROOM = ("bad_alloc", "failed to allocate", "out of memory", "could not create a memory")


def runtime_problem(name: str) -> str | None:
    """Why a runtime cannot be used here; ``None`` if it can."""
    if find_spec(name) is None:
        return f"the package {name} is not installed: pip install 'fdiwn-vsr[{name}]'"
    return None


def runtime_version(name: str) -> str:
    """The version of a package that can be imported, as it says itself.

    Not as it was installed: what is imported as ``onnxruntime`` may be ``onnxruntime-gpu``.
    """
    return str(import_module(name).__version__)


def _onnxruntime(content: bytes, threads: int) -> Run:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    kinds = vars(state).values()
    raised: tuple[type[Exception], ...] = (
        RuntimeError,
        MemoryError,
        *(k for k in kinds if isinstance(k, type) and issubclass(k, Exception)),
    )
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.log_severity_level = 3  # its warnings are about how it optimises
    try:
        session = onnxruntime.InferenceSession(
            content, settings, providers=["CPUExecutionProvider"]
        )
    except raised as error:
        raise _unusable("onnxruntime", error) from error

    def run(x: Tensor) -> Tensor:
        try:
            (result,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        except raised as error:
            raise _failed("onnxruntime", x, error) from error
        return torch.from_numpy(result)

    return run


def _openvino(content: bytes, threads: int) -> Run:
    import openvino

    settings: dict[str, Any] = {
        "INFERENCE_NUM_THREADS": threads,
        # By default it may take bfloat16 where the processor has it: 0.05 dB.
        "INFERENCE_PRECISION_HINT": "f32",
        # By default it may rescale and reorder in ways that cost the last digits.
        "EXECUTION_MODE_HINT": "ACCURACY",
    }
    try:
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(content), "CPU", settings)
    except RuntimeError as error:
        raise _unusable("openvino", error) from error

    def run(x: Tensor) -> Tensor:
        try:
            # The result is a view of memory that the next call overwrites.
            return torch.from_numpy(compiled(x.numpy())[0].copy())
        except (RuntimeError, MemoryError) as error:
            raise _failed("openvino", x, error) from error

    return run


#: Name of the package -> what loads a file's content, to run in so many threads.
RUNTIMES: dict[str, Callable[[bytes, int], Run]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
}


def _unusable(name: str, error: Exception) -> BackendError:
    return BackendError(f"{name} cannot load the network: {error}")


def _failed(name: str, x: Tensor, error: Exception) -> BackendError:
    size = "x".join(str(n) for n in x.shape)
    said = str(error)
    if isinstance(error, MemoryError) or any(words in said.lower() for words in _NO_ROOM):
        return OutOfMemoryError(
            f"out of memory for a batch of {size}", remedy="Use a smaller --batch."
        )
    return BackendError(f"{name} failed on a batch of {size}: {said}")

"""Record what a network computes as the nodes of an ONNX graph.

Neither of torch's exporters is used. On FDIWN's 4,600 operations the one by TorchScript takes
minutes, and is deprecated since torch 2.9, to be removed; the one by ``torch.export`` took over
four and needs the package ``onnxscript``. The network is straight code of two dozen kinds of
operation, none of which depends on the frame's size, so one small frame shows them all:
:class:`Recorder` watches it pass and writes each down, in seconds.

That the nodes compute the same is checked afterwards (:mod:`vsr.models.onnx.export`), not assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from vsr.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import NodeProto

__all__ = ["Recorder"]

#: From this version of the operators on, the axes of a reduction are an input.
_AXES_ARE_INPUT = 18


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is entered, every operation on values that depend on ``x`` becomes nodes.

    What does not depend on it (weights, and what is computed of them) becomes constants, equal
    ones once. An operation that overwrites its input gives that tensor a new name; a view that is
    written through is not followed to its base.

    Args:
        x: the input.
        name: the input's name in the graph.
        opset: version of the operators.

    Attributes:
        nodes: in the order of computation.
        constants: by name.
    """

    def __init__(self, x: Tensor, name: str, opset: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self.opset = opset
        self._names = {id(x): name}
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        # An id is a tensor's for as long as it lives.
        self._alive: list[Tensor] = [x]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Compute, and write down if it depends on the input."""
        kwargs = kwargs or {}
        # Before it is computed: constants among the arguments may be overwritten.
        depends = any(id(value) in self._names for value in _tensors(args))
        names: list[str] = []
        if depends:
            kind = func.overloadpacket.__name__.removesuffix("_")
            translate = _OPERATIONS.get(kind)
            if translate is None:
                raise ModelError(f"the operation {func} has no translation into ONNX")
            names = translate(self, *args, **kwargs)
        result = func(*args, **kwargs)
        if depends:
            for tensor, name in zip(_tensors([result]), names, strict=True):
                self._names[id(tensor)] = name
                self._alive.append(tensor)
        return result

    def name(self, value: Tensor) -> str:
        """The name of a value, or of a constant, which is added to the graph."""
        found = self._names.get(id(value))
        return self.constant(value.detach().numpy()) if found is None else found

    def constant(self, array: NDArray[Any]) -> str:
        """The name of a constant with this content."""
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = f"constant_{len(self._known)}"
            self.constants[self._known[key]] = np.ascontiguousarray(array)
        return self._known[key]

    def scalar(self, value: float, like: Tensor) -> str:
        """The name of a number of the type of ``like``."""
        return self.constant(torch.tensor(value, dtype=like.dtype).numpy())

    def node(self, kind: str, inputs: list[str], results: int = 1, **settings: Any) -> list[str]:
        """Add a node; the names of its results."""
        from onnx.helper import make_node

        outputs = [f"{kind.lower()}_{len(self.nodes)}_{index}" for index in range(results)]
        self.nodes.append(make_node(kind, inputs, outputs, name=outputs[0], **settings))
        return outputs

    def result(self, value: Tensor, name: str) -> None:
        """Name the value that the graph gives."""
        from onnx.helper import make_node

        self.nodes.append(make_node("Identity", [self.name(value)], [name], name=name))


def _tensors(values: Iterable[Any]) -> Iterable[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


Translate = Callable[..., list[str]]


def _unary(*kinds: str) -> Translate:
    def translate(graph: Recorder, x: Tensor) -> list[str]:
        names = [graph.name(x)]
        for kind in kinds:
            names = graph.node(kind, names)
        return names

    return translate


def _binary(kind: str) -> Translate:
    def translate(graph: Recorder, a: Tensor, b: Tensor | float, alpha: float = 1) -> list[str]:
        right = graph.name(b) if isinstance(b, Tensor) else graph.scalar(b, a)
        if alpha != 1:
            (right,) = graph.node("Mul", [right, graph.scalar(alpha, a)])
        return graph.node(kind, [graph.name(a), right])

    return translate


def _power(graph: Recorder, x: Tensor, exponent: float) -> list[str]:
    if exponent != 2:
        raise ModelError(f"a power of {exponent} has no translation into ONNX")
    return graph.node("Mul", [graph.name(x)] * 2)


def _addcmul(graph: Recorder, a: Tensor, b: Tensor, c: Tensor) -> list[str]:
    return graph.node("Add", [graph.name(a), *graph.node("Mul", [graph.name(b), graph.name(c)])])


def _convolution(
    graph: Recorder,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    _transposed: bool,
    _output_padding: list[int],
    groups: int,
) -> list[str]:
    inputs = [graph.name(x), graph.name(weight)]
    if bias is not None:
        inputs.append(graph.name(bias))
    return graph.node(
        "Conv",
        inputs,
        kernel_shape=list(weight.shape[2:]),
        strides=stride,
        pads=padding * 2,
        dilations=dilation,
        group=groups,
    )


def _addmm(graph: Recorder, bias: Tensor, x: Tensor, weight: Tensor) -> list[str]:
    return graph.node("Gemm", [graph.name(x), graph.name(weight), graph.name(bias)])


def _mean(graph: Recorder, x: Tensor, axes: list[int], keepdim: bool = False) -> list[str]:
    if graph.opset < _AXES_ARE_INPUT:
        return graph.node("ReduceMean", [graph.name(x)], axes=axes, keepdims=int(keepdim))
    inputs = [graph.name(x), graph.constant(np.array(axes, np.int64))]
    return graph.node("ReduceMean", inputs, keepdims=int(keepdim))


def _leaky_relu(graph: Recorder, x: Tensor, slope: float) -> list[str]:
    return graph.node("LeakyRelu", [graph.name(x)], alpha=slope)


def _clamp_min(graph: Recorder, x: Tensor, least: float) -> list[str]:
    return graph.node("Max", [graph.name(x), graph.scalar(least, x)])


def _split(graph: Recorder, x: Tensor, size: int, axis: int = 0) -> list[str]:
    sizes = [part.shape[axis] for part in torch.split(x, size, axis)]
    inputs = [graph.name(x), graph.constant(np.array(sizes, np.int64))]
    return graph.node("Split", inputs, len(sizes), axis=axis)


def _cat(graph: Recorder, parts: list[Tensor], axis: int = 0) -> list[str]:
    return graph.node("Concat", [graph.name(part) for part in parts], axis=axis)


def _index_select(graph: Recorder, x: Tensor, axis: int, index: Tensor) -> list[str]:
    return graph.node("Gather", [graph.name(x), graph.name(index)], axis=axis)


def _view(graph: Recorder, x: Tensor, shape: list[int]) -> list[str]:
    if shape != list(x.shape[:2]):
        raise ModelError(f"a view of {tuple(x.shape)} as {shape} has no translation into ONNX")
    return graph.node("Flatten", [graph.name(x)], axis=1)


def _unsqueeze(graph: Recorder, x: Tensor, axis: int) -> list[str]:
    return graph.node("Unsqueeze", [graph.name(x), graph.constant(np.array([axis], np.int64))])


def _pixel_shuffle(graph: Recorder, x: Tensor, factor: int) -> list[str]:
    return graph.node("DepthToSpace", [graph.name(x)], blocksize=factor, mode="CRD")


def _to_copy(graph: Recorder, x: Tensor, *, dtype: torch.dtype, **_: Any) -> list[str]:
    from onnx.helper import np_dtype_to_tensor_dtype

    wanted = torch.empty(0, dtype=dtype).numpy().dtype
    return graph.node("Cast", [graph.name(x)], to=np_dtype_to_tensor_dtype(wanted))


#: PyTorch's operations (without the underscore of those that overwrite their input) as ONNX's.
_OPERATIONS: dict[str, Translate] = {
    "_to_copy": _to_copy,
    "add": _binary("Add"),
    "addcmul": _addcmul,
    "addmm": _addmm,
    "cat": _cat,
    "clamp_min": _clamp_min,
    "convolution": _convolution,
    "index_select": _index_select,
    "leaky_relu": _leaky_relu,
    "maximum": _binary("Max"),
    "mean": _mean,
    "mul": _binary("Mul"),
    "pixel_shuffle": _pixel_shuffle,
    "pow": _power,
    "relu": _unary("Relu"),
    "rsqrt": _unary("Sqrt", "Reciprocal"),
    "sigmoid": _unary("Sigmoid"),
    "split": _split,
    "sqrt": _unary("Sqrt"),
    "sub": _binary("Sub"),
    "unsqueeze": _unsqueeze,
    "view": _view,
}

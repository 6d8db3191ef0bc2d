"""FDIWN's trunk in training, in C++. Its sources are in ``native/training/``.

One call runs a group forward and keeps a tape, one runs it backward; each image is worked on by one
core, in whose caches its features stay. The arithmetic is that of
:mod:`vsr.models.training.trunk`: in bfloat16 with float32 sums, gradients between units and
statistics, on a processor with AMX or AVX-512's products of bfloat16; in float32 on one with AVX2.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vsr.errors import OutOfMemoryError
from vsr.models.fdiwn import Fswg, ShuffleAttention, Wcrw, Wdib, Wirw
from vsr.models.trunk_native.loader import INSTRUCTION_SETS, Library, library, problem

__all__ = ["INSTRUCTION_SETS", "Group", "Library", "library", "parameters", "problem"]

#: Of the expanding convolutions: WIRW's, WCRW's, the fusion's.
Widths = tuple[int, int, int]


def _wide(unit: Wirw | Wcrw, *more: Tensor) -> list[Tensor]:
    w, a = unit.wide, unit.wide.attention
    expand, reduce, conv = ([c.v, c.g, c.bias] for c in (w.expand, w.reduce, w.conv))
    gate = _gate(a)
    return [*expand, *more, *reduce, *conv, *gate, unit.wide_scale]


def _gate(a: ShuffleAttention) -> list[Tensor]:
    return [
        a.mean_weight, a.mean_bias, a.norm_weight, a.norm_bias, a.affine_weight, a.affine_bias
    ]  # fmt: skip


def _biased(layer: nn.Conv2d | nn.Linear) -> list[Tensor]:
    assert layer.bias is not None  # noqa: S101 - for the type checker: these layers have one
    return [layer.weight, layer.bias]


def _block(block: Wdib) -> list[Tensor]:
    found: list[Tensor] = []
    for unit in (block.wirw1, block.wirw2, block.wirw3, block.wirw4):
        found += [*_wide(unit), unit.skip_scale]
    for wcrw, distil in ((block.wcrw1, block.distil2), (block.wcrw2, block.distil1)):
        found += [*_wide(wcrw), wcrw.skip_scale, *_biased(wcrw.shortcut), distil.weight]
    for coefficient in (
        block.coefficient_a1, block.coefficient_b1, block.coefficient_a2, block.coefficient_b2
    ):  # fmt: skip
        for mlp in (coefficient.from_mean, coefficient.from_deviation):
            found += [*_biased(mlp.squeeze), *_biased(mlp.excite)]
    fuse = block.fuse
    found += [block.scale_a, block.scale_b, *_wide(fuse, block.calibrate.weight)]
    return [*found, fuse.skip_scale, *_biased(fuse.shortcut), *_gate(block.attention)]


def parameters(group: Fswg) -> list[Tensor]:
    """A group's parameters in the order in which the library takes them."""
    blocks = [p for block in (group.wdib1, group.wdib2, group.wdib3) for p in _block(block)]
    merging = (group.skip.weight, group.merge1.weight, group.merge2.weight)
    rest = (*_wide(group.wirw), group.wirw.skip_scale, group.body_scale)
    return [*blocks, *merging, group.skip_scale, *rest]


class _Effective(torch.autograd.Function):
    """A group's effective weights in a row, from its parameters."""

    @staticmethod
    def forward(ctx: Any, code: ctypes.CDLL, widths: Widths, *values: Tensor) -> Tensor:
        ctx.code, ctx.widths = code, widths
        ctx.save_for_backward(*values)
        row = torch.empty(code.vsr_training_weights(*widths), dtype=torch.float32, device="cpu")
        code.vsr_training_prepare(*widths, _addresses(values), None, _address(row))
        return row

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        values = ctx.saved_tensors
        together = torch.zeros(
            sum(value.numel() for value in values), dtype=torch.float32, device="cpu"
        )
        parts = torch.split(together, [value.numel() for value in values])
        ctx.code.vsr_training_prepare(
            *ctx.widths, _addresses(values), _addresses(parts), _address(grad.contiguous())
        )
        shaped = (part.view_as(value) for part, value in zip(parts, values, strict=True))
        return None, None, *shaped


def _addresses(tensors: Sequence[Tensor]) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))


class Group:
    """A group, ready to run with its parameters as they are now.

    Args:
        found: the library.
        group: the training form's; its kernels are contiguous or of one pixel.
        natural: ``natural[c]`` is the stored channel that is channel ``c``.
    """

    def __init__(self, found: Library, group: Fswg, natural: Tensor) -> None:
        first = group.wdib1
        units = (first.wirw1.wide, first.wcrw1.wide, first.fuse.wide)
        wirw, wcrw, fuse = (unit.expand.v.shape[0] for unit in units)
        self.code, self.widths = found.code, (wirw, wcrw, fuse)
        self._natural = natural.to(torch.int32).contiguous()
        values = [value.contiguous() for value in parameters(group)]
        self.weights: Tensor = _Effective.apply(self.code, self.widths, *values)  # type: ignore[no-untyped-call]
        self.packed = torch.empty(
            self.code.vsr_training_packed(*self.widths), dtype=found.dtype, device="cpu"
        )
        self.code.vsr_training_pack(*self.widths, _address(self.weights), _address(self.packed))

    def __call__(self, x: Tensor, *, base: float) -> Tensor:
        """``base * x`` plus the group's result; ``(N, C, H, W)`` float32, channels last."""
        out: Tensor = _Run.apply(x, self.weights, self, base)  # type: ignore[no-untyped-call]
        return out

    def call(self, name: str, x: Tensor, base: float, *tensors: Tensor) -> None:
        """Run a function of the library on images of ``x``'s shape.

        Raises:
            OutOfMemoryError: there is no room for what its threads need.
        """
        n, _, h, w = x.shape
        shape = (ctypes.c_int * 7)(n, h, w, *self.widths, torch.get_num_threads())
        failed = getattr(self.code, f"vsr_training_{name}")(
            shape, _address(self._natural), ctypes.c_float(base), _address(self.weights),
            _address(self.packed), *map(_address, tensors),
        )  # fmt: skip
        if failed:
            raise OutOfMemoryError("out of memory", remedy="Use a smaller --batch or --patch.")

    def tape(self, x: Tensor) -> Tensor:
        """Memory for what the gradient needs; given back to :data:`_TAPES`."""
        n, _, h, w = x.shape
        size = n * self.code.vsr_training_tape(h, w)
        kept = _TAPES.get(size)
        return kept.pop() if kept else torch.empty(size, dtype=torch.uint8, device="cpu")


#: Tapes by their size, to be used again: fresh memory costs as much as the arithmetic.
_TAPES: dict[int, list[Tensor]] = {}


def _address(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor, group: Group, base: float) -> Tensor:  # noqa: ARG004 - for autograd
        x = x.detach().contiguous(memory_format=torch.channels_last)
        ctx.group, ctx.base, ctx.tape = group, base, group.tape(x)
        out = torch.empty_like(x)
        group.call("forward", x, base, ctx.tape, x, out)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        group, tape = ctx.group, ctx.tape
        g = grad.contiguous(memory_format=torch.channels_last)
        dx = torch.empty_like(g)
        parts = torch.zeros(
            (torch.get_num_threads(), group.weights.numel()), dtype=torch.float32, device="cpu"
        )
        group.call("backward", g, ctx.base, tape, g, dx, parts)
        _TAPES.setdefault(tape.numel(), []).append(tape)
        return dx, parts[0] if len(parts) == 1 else parts.sum(0), None, None

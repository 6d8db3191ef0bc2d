"""What a CUDA graph does with a step, on a CPU: its operations again, on the same memory.

Each operation that torch dispatches is kept with its arguments. A replay calls them once more and
writes into the tensors that they gave when they were recorded. So, as in a graph, every number
that Python had then is as it was, and what was put elsewhere since is not seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["CpuRecorder"]

Step = Callable[[Tensor, Tensor], Tensor]

#: What the CPU would wait for a device in, which no graph can hold: a number read, and a tensor of
#: numbers that Python has.
_WAITS = ("aten::_local_scalar_dense", "aten::lift_fresh", "aten::nonzero", "aten::is_nonzero")


class _Kept(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, list[Tensor]]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name
        if name in _WAITS:
            raise RuntimeError(f"operation not permitted when stream is capturing: {name}")
        result = func(*args, **kwargs)
        alias = any(r.alias_info is not None for r in func._schema.returns)
        writes = any(
            a.alias_info is not None and a.alias_info.is_write for a in func._schema.arguments
        )
        if writes or not alias:
            fresh = [] if writes else [t for t in tree_leaves(result) if isinstance(t, Tensor)]
            self.calls.append((func, args, kwargs, fresh))
        return result

    def replay(self) -> None:
        for func, args, kwargs, fresh in self.calls:
            result = [t for t in tree_leaves(func(*args, **kwargs)) if isinstance(t, Tensor)]
            for kept, now in zip(fresh, result, strict=False):
                kept.copy_(now)


class CpuRecorder:
    """See :class:`vsr.training.graph.StepRecorder`.

    Recording takes the step, which a GPU's does not: ``state`` is put back afterwards.

    Args:
        state: the tensors that a step changes.
        fails: what recording raises at the step's end, if anything.
    """

    def __init__(self, state: Callable[[], list[Tensor]], fails: str = "") -> None:
        self._state, self._fails = state, fails
        self.warmed = self.replayed = 0

    def warm_up(self, step: Step, lr: Tensor, hr: Tensor) -> Tensor:
        self.warmed += 1
        return step(lr, hr)

    def record(self, step: Step, lr: Tensor, hr: Tensor) -> tuple[Callable[[], None], Tensor]:
        state = self._state()
        before = [t.detach().clone() for t in state]
        kept = _Kept()
        try:
            with kept:
                loss = step(lr, hr)
                if self._fails:
                    raise RuntimeError(self._fails)
        finally:
            with torch.no_grad():
                for tensor, was in zip(state, before, strict=True):
                    tensor.copy_(was)

        def replay() -> None:
            self.replayed += 1
            with torch.no_grad():
                kept.replay()

        return replay, loss

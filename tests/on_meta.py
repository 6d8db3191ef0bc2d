"""torch's device ``meta`` as a stand-in for a GPU: it has shapes and no numbers.

What a GPU would wait for, or refuse, can be seen there: an operation that takes tensors of both
devices, a copy between them, a number that is read.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["META", "Watch"]

META = torch.device("meta")


class Watch(TorchDispatchMode):
    """Counts what a GPU would wait for or refuse.

    Attributes:
        found: operations by name.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        kinds = {tensor.device.type for tensor in given if tensor.dim() or tensor.is_meta}
        if len(kinds) > 1:
            self.found[f"{name} of both"] += 1
        target = kwargs.get("device")
        if kinds and target is not None and torch.device(target).type not in kinds:
            self.found[f"{name} to the other"] += 1
        if name in ("aten::_local_scalar_dense", "aten::nonzero") and "meta" in kinds:
            self.found[f"{name} reads"] += 1
        if name == "aten::batch_norm_update_stats":  # has no form without numbers
            empty = torch.empty(given[0].shape[1], device=given[0].device)
            return empty, empty.clone()
        return func(*args, **kwargs)

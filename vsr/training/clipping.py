"""Where to clip gradients, learnt from the run itself."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["UsualNorm"]

_DECAY = 0.95
#: Steps before anything counts as usual.
_LEARN = 21
#: One outlier may move what is usual by no more than this many times itself.
_OUTLIER = 4.0


class UsualNorm:
    """Moving average of the gradient's norm; a multiple of it is the limit.

    A fixed limit would depend on loss, scale and network: the loss is in codes, and its gradients
    differ by orders of magnitude between them. All values stay on the device, so that no step
    waits for one, and where they are, so that a step can be a CUDA graph.

    Args:
        times: the limit in usual norms; 0 never clips.
        device: where the gradients are.
    """

    def __init__(self, times: float, device: torch.device | None = None) -> None:
        self._times = times
        self._usual = torch.zeros((), device=device)
        self._count = torch.zeros((), device=device)

    def factor(self, norm: Tensor) -> Tensor:
        """What to multiply gradients of this norm by: 1, or less if they are clipped; scalar.

        Nothing is clipped while the run is learning what is usual.
        """
        if not self._times:
            return torch.ones_like(norm)
        clipped = (self._times * self._usual / norm).clamp(max=1)
        return torch.where(self._count < _LEARN, 1.0, clipped)

    def note(self, norm: Tensor) -> None:
        """Count a step's norm as it was before clipping; one that is not finite is ignored."""
        tamed = torch.minimum(norm, _OUTLIER * self._usual)
        moved = torch.where(self._count > 0, _DECAY * self._usual + (1 - _DECAY) * tamed, norm)
        finite = torch.isfinite(norm)
        self._usual.copy_(torch.where(finite, moved, self._usual))
        self._count.add_(finite)

    def state_dict(self) -> dict[str, Tensor]:
        """What a later process needs to go on."""
        return {"usual": self._usual, "count": self._count}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from there."""
        self._usual.copy_(state["usual"])
        self._count.copy_(state["count"])

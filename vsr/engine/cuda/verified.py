"""Fast work that is held against plain work once for each shape, and left alone if it errs.

A kernel compiled for a device that nobody has tried it on can fail to compile, or compute something
else. The first call for a shape is slow anyway; checking one of its frames costs little there.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["Verified"]

#: Mean difference in codes of 0..255. Storing the trunk in bfloat16 costs 0.3, in float16 0.03;
#: a mistake costs tens.
_MOST_APART = 0.5


class Verified:
    """Gives what ``fast`` gives where that agrees with ``plain``, else what ``plain`` gives.

    Args:
        fast, plain: map ``(N, 3, H, W)`` RGB to larger RGB, codes of 0..255, frame by frame.
        failures: what ``fast`` may raise besides running out of memory.
        notes: gets a sentence when ``fast`` is given up, which is for good.
        required: give nothing up: what ``fast`` raises is raised.
    """

    def __init__(
        self,
        fast: Callable[[Tensor], Tensor],
        plain: Callable[[Tensor], Tensor],
        *,
        failures: tuple[type[Exception], ...],
        notes: list[str],
        required: bool = False,
    ) -> None:
        self._fast, self._plain = fast, plain
        self._failures = failures
        self._notes = notes
        self._required = required
        self._agreed: set[torch.Size] = set()
        self._trusted = True

    def __call__(self, x: Tensor) -> Tensor:
        """Larger frames; waits for the device the first time for each shape.

        Raises:
            OutOfMemoryError: (torch's) there is no room for this batch.
            RuntimeError: the kernels are required, and err.
        """
        if self._trusted and x.shape in self._agreed:
            return self._fast(x)
        if not self._trusted:
            return self._plain(x)
        try:
            result = self._fast(x)
            problem = self._difference(x, result)
        except torch.OutOfMemoryError:
            raise
        except self._failures as error:
            if self._required:
                raise RuntimeError(f"a fused kernel failed: {error}") from error
            problem = f"failed: {str(error).partition(chr(10))[0]}"
        if not problem:
            self._agreed.add(x.shape)
            return result
        if self._required:
            raise RuntimeError(f"the fused kernels {problem}")
        self._trusted = False
        self._notes.append(
            f"The fused kernels {problem}. The run goes on with torch's own, which are slower."
        )
        return self._plain(x)

    def _difference(self, x: Tensor, result: Tensor) -> str:
        """What is wrong with the last frame's result; empty if nothing is."""
        apart = (result[-1:] - self._plain(x[-1:])).abs().mean().item()
        if apart <= _MOST_APART:  # not a number is not either
            return ""
        return f"are {apart:.3g} codes off on this device"

"""A training step as one CUDA graph.

Forward, backward and optimiser are tens of thousands of launches of some microseconds each, most
of them for a kernel that takes less: a GPU that is fed one by one waits for Python. A graph is
recorded once and replayed from then on. What it holds are kernels and addresses, so that a step may
only be recorded if all that differs between steps is in tensors, which are changed in place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["WARM_UP", "CudaStepRecorder", "StepGraph", "StepRecorder", "step_recorder"]

#: A step: from LR and HR to its loss, a scalar.
Step = Callable[[Tensor, Tensor], Tensor]

#: Steps before recording: libraries choose their algorithms, blocks are compiled, the optimiser
#: makes its state.
WARM_UP = 3


class StepRecorder(Protocol):
    """How a step is recorded; the one for CUDA is :class:`CudaStepRecorder`."""

    def warm_up(self, step: Step, lr: Tensor, hr: Tensor) -> Tensor:
        """``step(lr, hr)``, as it must be called before recording."""
        ...

    def record(self, step: Step, lr: Tensor, hr: Tensor) -> tuple[Callable[[], None], Tensor]:
        """Record ``step(lr, hr)`` without taking it.

        Returns:
            What takes the step, and where its loss is then.

        Raises:
            RuntimeError: it does something that a graph cannot hold, or there is no room for it
                (torch's OutOfMemoryError).
        """
        ...


class StepGraph:
    """Takes steps, after the first few by replaying the recording of one.

    Where none can be made, they go on one kernel at a time, and a note says so.

    Args:
        step: takes a step. It reads and changes nothing between steps but tensors.
        recorder: records it.
        notes: gets a sentence if it cannot be recorded.
        drop: called then, to take back what a step that was recorded half has left.
    """

    def __init__(
        self, step: Step, recorder: StepRecorder, notes: list[str], drop: Callable[[], None]
    ) -> None:
        self._step, self._recorder, self._notes, self._drop = step, recorder, notes, drop
        self._taken = 0
        self._lr = self._hr = self._loss = torch.empty(0)
        self._replay: Callable[[], None] | None = None

    def __call__(self, lr: Tensor, hr: Tensor) -> Tensor:
        """Take a step on a batch, always of one shape; its loss, the caller's own."""
        self._taken += 1
        if self._taken <= WARM_UP:
            return self._recorder.warm_up(self._step, lr, hr)
        if self._taken == WARM_UP + 1:
            self._record(lr, hr)
        if self._replay is None:
            return self._step(lr, hr)
        self._lr.copy_(lr)
        self._hr.copy_(hr)
        self._replay()
        # The next replay writes to the same place.
        return self._loss.clone()

    def _record(self, lr: Tensor, hr: Tensor) -> None:
        self._lr, self._hr = lr.clone(), hr.clone()
        try:
            self._replay, self._loss = self._recorder.record(self._step, self._lr, self._hr)
        except RuntimeError as error:
            self._drop()
            why = str(error).partition("\n")[0]
            note = (
                f"A step could not be recorded as a CUDA graph ({why}); its kernels were launched "
                "one by one, which is slower."
            )
            if note not in self._notes:
                self._notes.append(note)


class CudaStepRecorder:
    """Records on a stream of its own, as graphs must be; waits for the device."""

    def warm_up(self, step: Step, lr: Tensor, hr: Tensor) -> Tensor:
        """See :class:`StepRecorder`."""
        current = torch.cuda.current_stream(lr.device)
        side = torch.cuda.Stream(lr.device)  # type: ignore[no-untyped-call]
        side.wait_stream(current)
        with torch.cuda.stream(side):
            loss = step(lr, hr)
        side.synchronize()
        return loss

    def record(self, step: Step, lr: Tensor, hr: Tensor) -> tuple[Callable[[], None], Tensor]:
        """See :class:`StepRecorder`."""
        # torch leaves the recording stream current if recording fails; the outer context does not.
        with torch.cuda.stream(torch.cuda.current_stream(lr.device)):
            graph = torch.cuda.CUDAGraph()
            side = torch.cuda.Stream(lr.device)  # type: ignore[no-untyped-call]
            # A thread may be making the next batch meanwhile: only what this one does counts.
            with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
                loss = step(lr, hr)
            return graph.replay, loss


def step_recorder(device: torch.device) -> StepRecorder | None:
    """What records steps on a device; ``None``: they are not worth recording, or cannot be."""
    return CudaStepRecorder() if device.type == "cuda" else None

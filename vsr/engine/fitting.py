"""What to do when the device has no room for a batch: work on less at a time, and go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from vsr.errors import OutOfMemoryError

__all__ = ["Fitting", "out_of_memory"]

T = TypeVar("T")


class Fitting:
    """Works through batches in parts that fit the device's memory.

    A part that does not fit is halved and done again, until it is a single frame; what has turned
    out to fit is remembered, so that this happens a few times in a run at most. A single frame
    that does not fit is an error here: cutting frames into tiles would be the next thing to try,
    where the model allows that (:attr:`vsr.models.registry.ModelSpec.whole_frame`).

    Attributes:
        most: frames at a time, ``None`` while nothing was too much.
        notes: one sentence for the first time that something was too much.

    Args:
        notes: a list that others write to as well; a new one by default.
    """

    def __init__(self, notes: list[str] | None = None) -> None:
        self.most: int | None = None
        self.notes = [] if notes is None else notes

    def __call__(self, count: int, work: Callable[[int, int], T]) -> Iterator[T]:
        """Give ``work(first, end)`` for consecutive parts of ``count`` frames, in order.

        Raises:
            OutOfMemoryError: there is no room for a single frame.
        """
        first = 0
        while first < count:
            size = min(count - first, self.most or count)
            try:
                result = work(first, first + size)
            except OutOfMemoryError as error:
                if size == 1:
                    raise
                self._halve(size, error)
            else:
                first += size
                yield result

    def _halve(self, size: int, error: OutOfMemoryError) -> None:
        first, self.most = self.most is None, size // 2
        # The allocator holds on to what it has; a smaller part needs it in other pieces.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if first:
            self.notes.append(
                f"{error.what[0].upper()}{error.what[1:]}; the run goes on with {self.most} frames "
                "at a time, or fewer if it must."
            )


@contextmanager
def out_of_memory(device: torch.device, what: str) -> Iterator[None]:
    """Let torch's ways of saying that memory ran out come out as ours.

    Args:
        device: where the block works.
        what: on what, as in "out of memory for ...".

    Raises:
        OutOfMemoryError: ``from`` torch's own.
    """
    where = "" if device.type == "cpu" else f" on {device}"
    message = f"out of memory{where} for {what}"
    remedy = "Use a smaller --batch, a smaller scale, or --device cpu."
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemoryError(message, remedy=remedy) from error
    except RuntimeError as error:
        # The CPU allocator has no exception of its own.
        if "DefaultCPUAllocator" not in str(error):
            raise
        raise OutOfMemoryError(message, remedy="Use a smaller --batch.") from error

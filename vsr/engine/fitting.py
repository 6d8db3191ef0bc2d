"""What to do when the device has no room for a batch: work on less at a time, and go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from vsr.errors import BackendError, OutOfMemoryError

__all__ = ["SMALLEST", "Fitting", "out_of_memory"]

T = TypeVar("T")

#: Tiles of fewer pixels on their longest side would be overlap more than anything else.
SMALLEST = 64


class Fitting:
    """Works through batches in parts that fit the device's memory.

    A part that does not fit is halved and done again, until it is a single frame, and then a tile
    of one; what has turned out to fit is remembered, so that this happens a few times in a run at
    most.

    Args:
        tiled: what comes of tiles, for people, as in "tiles, which ...".
        notes: a list that others write to as well; a new one by default.

    Attributes:
        most: frames at a time, ``None`` while nothing was too much.
        side: longest side of tiles in pixels, ``None`` while no frame was too much.
        notes: a sentence for the first time that a batch was too much, and one for a frame.
    """

    def __init__(self, tiled: str, notes: list[str] | None = None) -> None:
        self.most: int | None = None
        self.side: int | None = None
        self.notes = [] if notes is None else notes
        self._tiled = tiled
        self._told: set[str] = set()

    def __call__(
        self, count: int, size: tuple[int, int], work: Callable[[int, int, int | None], T]
    ) -> Iterator[T]:
        """Give ``work(first, end, side)`` for consecutive parts of ``count`` frames, in order.

        Args:
            count: frames.
            size: their height and width.
            work: done for frames ``first`` to ``end``, in tiles if ``side`` is not ``None``.

        Raises:
            OutOfMemoryError: there is no room for a tile of :data:`SMALLEST` pixels.
        """
        first = 0
        while first < count:
            frames = min(count - first, self.most or count)
            try:
                result = work(first, first + frames, self.side)
            except OutOfMemoryError as error:
                if frames > 1:
                    self._halve(frames, error)
                else:
                    self._cut(max(size), error)
            else:
                first += frames
                yield result

    def _halve(self, frames: int, error: OutOfMemoryError) -> None:
        self.most = frames // 2
        few = "1 frame" if self.most == 1 else f"{self.most} frames"
        self._note("batch", error, f"{few} at a time, or fewer if it must")

    def _cut(self, longest: int, error: OutOfMemoryError) -> None:
        side = -(-min(longest, self.side or longest) // 2)
        if side < SMALLEST:
            raise error
        self.side = side
        self._note("frame", error, f"tiles of {side} pixels, or smaller if it must, {self._tiled}")

    def _note(self, kind: str, error: OutOfMemoryError, how: str) -> None:
        # The allocator holds on to what it has; a smaller part needs it in other pieces.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if kind not in self._told:
            self._told.add(kind)
            said = f"{error.what[0].upper()}{error.what[1:]}"
            self.notes.append(f"{said}; the run goes on with {how}.")


@contextmanager
def out_of_memory(
    device: torch.device,
    what: str,
    remedy: str = "Use a smaller --batch, a smaller scale, or --device cpu.",
) -> Iterator[None]:
    """Let torch's ways of saying that memory ran out, or a GPU failed, come out as ours.

    Args:
        device: where the block works.
        what: on what, as in "out of memory for ...".
        remedy: what to do about memory on a GPU.

    Raises:
        OutOfMemoryError: ``from`` torch's own.
        BackendError: likewise, of whatever else went wrong on a GPU.
    """
    where = "" if device.type == "cpu" else f" on {device}"
    message = f"out of memory{where} for {what}"
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemoryError(message, remedy=remedy) from error
    except MemoryError as error:  # NumPy's and Python's
        raise OutOfMemoryError(message, remedy="Use a smaller --batch.") from error
    except RuntimeError as error:
        # The CPU allocator has no exception of its own.
        if "DefaultCPUAllocator" in str(error):
            raise OutOfMemoryError(message, remedy="Use a smaller --batch.") from error
        if device.type != "cuda":
            raise
        # Neither has that of the memory that copies go through, which is the host's.
        if "out of memory" in str(error):
            message = f"out of memory{where} or for copies to and from it, for {what}"
            raise OutOfMemoryError(message, remedy=remedy) from error
        raise BackendError(f"{device} failed on {what}: {error}") from error

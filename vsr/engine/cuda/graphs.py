"""CUDA graphs: a network's thousands of launches as one, for each size of batch.

A launch costs the host some microseconds and FDIWN makes about 4,000 a frame, so that a GPU that
is fed one by one waits for the host most of the time. A graph is recorded once for a shape, with
input and output at fixed places, and replayed from then on.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["CudaRecorder", "Graphs", "Recorder", "Recording"]

Work = Callable[[Tensor], Tensor]

#: Calls before recording: libraries choose their algorithms, kernels are compiled, and the second
#: call finds everything in place.
_WARM_UP = 2
#: Shapes that are kept. A run has one frame size and a full batch; a few more serve what is left
#: of batches and whoever works on several files.
_MOST_SHAPES = 4
#: One recording at a time in a process.
_RECORDING = threading.Lock()


class Recording(Protocol):
    """What was recorded for one shape.

    Attributes:
        source: ``(N, C, H, W)``, read by a replay.
        result: what a replay writes.
    """

    source: Tensor
    result: Tensor

    def replay(self) -> None:
        """Compute ``result`` from ``source``, on the current stream."""
        ...


class Recorder(Protocol):
    """How work is recorded; the one for CUDA is :class:`CudaRecorder`."""

    def warm_up(self, work: Work, example: Tensor) -> Tensor:
        """Call ``work`` until everything is in place that its later calls need.

        Returns:
            A copy of ``example``, at a place that may be kept as a recording's source.

        Raises:
            Exception: whatever ``work`` raises.
        """
        ...

    def record(self, work: Work, source: Tensor) -> Recording:
        """Record ``work(source)``.

        Raises:
            OutOfMemoryError: (torch's) there is no room for it.
            RuntimeError: the work does something that a graph cannot hold.
        """
        ...


class Graphs:
    """Runs ``work`` by replaying its recording for the input's shape.

    Where a shape cannot be recorded, ``work`` itself is called from then on, and a note says so.
    A batch with fewer frames than a recording of that size goes through the larger one: recording
    takes seconds, computing some frames of it for nothing does not. Threads take turns: a recording
    has one place for what goes in and one for what comes out.

    Args:
        work: maps ``(N, C, H, W)`` to a tensor of ``N``, frame by frame: what a frame gives does
            not depend on the others.
        recorder: records it.
        notes: gets a sentence when a shape could not be recorded.
        most: recordings that are kept, the least recently used one goes first.
    """

    def __init__(
        self, work: Work, recorder: Recorder, notes: list[str], *, most: int = _MOST_SHAPES
    ) -> None:
        self._work = work
        self._recorder = recorder
        self._notes = notes
        self._most = most
        self._kept: OrderedDict[torch.Size, Recording | None] = OrderedDict()
        self._turn = threading.Lock()

    def __call__(self, x: Tensor) -> Tensor:
        """``work(x)``; the result is the caller's own.

        Raises:
            OutOfMemoryError: (torch's) there is no room for ``work`` itself.
        """
        with self._turn:
            recording = self._recording(x)
            if recording is None:
                return self._work(x)
            frames = len(x)
            recording.source[:frames].copy_(x)
            recording.replay()
            # The next replay writes to the same place.
            return recording.result[:frames].clone()

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes with a recording, the least recently used one first."""
        return tuple(tuple(shape) for shape, kept in self._kept.items() if kept is not None)

    def _recording(self, x: Tensor) -> Recording | None:
        shape = self._fitting(x.shape)
        if shape in self._kept:
            self._kept.move_to_end(shape)
            return self._kept[shape]
        while len(self._kept) >= self._most:
            self._kept.popitem(last=False)
        source = self._warm_up(x)
        try:
            recording = self._recorder.record(self._work, source)
        except RuntimeError as error:
            self._give_up(x.shape, error)
            return None
        self._kept[x.shape] = recording
        return recording

    def _warm_up(self, x: Tensor) -> Tensor:
        try:
            return self._recorder.warm_up(self._work, x)
        except torch.OutOfMemoryError:
            if not self._kept:
                raise
        # Recordings of other shapes hold memory of their own. Outside the handler, because the
        # exception's frames hold some too.
        self._kept.clear()
        torch.cuda.empty_cache()
        return self._recorder.warm_up(self._work, x)

    def _fitting(self, shape: torch.Size) -> torch.Size:
        """The smallest recorded shape that holds this one; itself if there is none."""
        holding = [
            kept
            for kept, recording in self._kept.items()
            if recording is not None and kept[1:] == shape[1:] and kept[0] >= shape[0]
        ]
        return min(holding, key=lambda kept: kept[0], default=shape)

    def _give_up(self, shape: torch.Size, error: RuntimeError) -> None:
        # A recording holds memory of its own, which the work now needs.
        self._kept.clear()
        self._kept[shape] = None
        size = "x".join(str(n) for n in shape)
        why = str(error).partition("\n")[0]
        self._notes.append(
            f"No CUDA graph could be recorded for a batch of {size} ({why}); its kernels are "
            "launched one by one, which is slower."
        )


class _CudaRecording:
    """See :class:`Recording`."""

    def __init__(self, graph: torch.cuda.CUDAGraph, source: Tensor, result: Tensor) -> None:
        self._graph = graph
        self.source = source
        self.result = result

    def replay(self) -> None:
        self._graph.replay()


class CudaRecorder:
    """Records on a stream of its own, as graphs must be; waits for the device."""

    def warm_up(self, work: Work, example: Tensor) -> Tensor:
        """See :class:`Recorder`."""
        current = torch.cuda.current_stream(example.device)
        side = torch.cuda.Stream(example.device)  # type: ignore[no-untyped-call]
        side.wait_stream(current)
        with torch.cuda.stream(side):
            source = example.clone()
            for _ in range(_WARM_UP):
                work(source)
        side.synchronize()
        return source

    def record(self, work: Work, source: Tensor) -> Recording:
        """See :class:`Recorder`."""
        # torch waits for the whole device before it records, and that breaks another's recording.
        with _RECORDING:
            try:
                return self._record(work, source)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError:
                # Whoever else waited for the device just then has hardly planned to do it again.
                return self._record(work, source)

    @staticmethod
    def _record(work: Work, source: Tensor) -> Recording:
        # torch leaves the recording stream current if recording fails; the outer context does not.
        with torch.cuda.stream(torch.cuda.current_stream(source.device)):
            graph = torch.cuda.CUDAGraph()
            side = torch.cuda.Stream(source.device)  # type: ignore[no-untyped-call]
            # Other threads may use the device meanwhile: only what this one does is a mistake.
            with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
                result = work(source)
            return _CudaRecording(graph, source, result)

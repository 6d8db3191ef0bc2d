"""Several worker processes on one job."""

from __future__ import annotations

import signal
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing import connection, get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.segments.devices import WorkerSpec
from pipelines.segments.serve import Message, serve
from vsr.errors import BackendError, OutOfMemoryError, VsrError
from vsr.types import Plan, Segment

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

__all__ = ["Pool"]

#: A segment that fails so often ends the job.
_MOST_FAILURES = 3
#: Seconds that a process is given to end by itself.
_PATIENCE = 5.0


@dataclass(slots=True)
class _Worker:
    """One process and what it has in hand: the segments, oldest first."""

    spec: WorkerSpec
    process: SpawnProcess
    pipe: Connection
    hand: list[Segment] = field(default_factory=list)
    asking: bool = False
    frames: int = 0  # of the segments in hand
    busy: tuple[float, ...] = (0.0, 0.0, 0.0)
    error: BaseException | None = None


class Pool:
    """Gives segments to processes and starts those anew that die.

    Each worker has the segment at hand and, while that one is at its end, the next. A segment that
    failed before is given to a worker that has no other, so that it is known who fails.

    Args:
        plan: the plan.
        folder: where finished files go.
        specs: one for each worker.
        advanced: called with frames gained (or lost again with a worker) and the seconds of work
            of each stage, over all workers so far.
        finished: called with the index of each finished segment.
        warned: called with what a person should know.
    """

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        specs: Sequence[WorkerSpec],
        *,
        advanced: Callable[[int, tuple[float, ...]], None],
        finished: Callable[[int], None],
        warned: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._specs = specs
        self._advanced, self._finished, self._warned = advanced, finished, warned
        self._workers: list[_Worker] = []
        self._failures: Counter[int] = Counter()
        self._deaths: Counter[WorkerSpec] = Counter()  # of workers that had nothing in hand
        self._gone = [0.0, 0.0, 0.0]  # seconds of work of workers that are no more
        self._queue: deque[Segment] = deque()
        self._told: set[str] = set()
        self.peak_memory = 0

    def run(self, segments: Sequence[Segment]) -> None:
        """Have ``segments`` made; returns when all are finished.

        Raises:
            VsrError: a segment failed three times, or once in a way that more tries cannot mend
                (a full disk, a broken source). Finished segments stay.
        """
        self._queue.extend(segments)
        left = {segment.index for segment in segments}
        try:
            for spec in self._specs[: len(segments)]:
                self._start(spec)
            while self._workers:
                self._listen(left)
                self._answer(left)
        finally:
            self._stop()

    def _start(self, spec: WorkerSpec) -> None:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        plan = replace(self._plan, device=spec.device)
        process = context.Process(
            target=serve,
            args=(plan, str(self._folder), spec.threads, theirs),
            name=f"vsr-worker-{spec.device}",
            daemon=True,
        )
        process.start()
        theirs.close()
        self._workers.append(_Worker(spec, process, ours))

    def _listen(self, left: set[int]) -> None:
        """Take what the workers say."""
        for ready in connection.wait([worker.pipe for worker in self._workers]):
            worker = next(w for w in self._workers if w.pipe is ready)
            try:
                message: Message = worker.pipe.recv()
            except (EOFError, OSError):
                self._bury(worker, left)
            else:
                self._take(worker, message, left)

    def _take(self, worker: _Worker, message: Message, left: set[int]) -> None:
        word, told = message
        if word == "next":
            worker.asking = True
        elif word == "frames":
            frames, worker.busy = told
            worker.frames += frames
            self._advanced(frames, self._busy())
        elif word == "done":
            done = next(s for s in worker.hand if s.index == told)
            worker.hand.remove(done)
            worker.frames -= done.frames or 0
            left.discard(told)
            self._finished(told)
        elif word == "warning":
            if told not in self._told:
                self._told.add(told)
                self._warned(told)
        elif word == "failed":
            worker.error = told
        elif word == "end":
            self.peak_memory = max(self.peak_memory, told)

    def _answer(self, left: set[int]) -> None:
        """Give segments to those who ask, if there are any that they may have."""
        for worker in self._workers:
            if not worker.asking:
                continue
            if not left:
                self._reply(worker, None)
            elif self._queue and self._may_have(worker, self._queue[0]):
                segment = self._queue.popleft()
                worker.hand.append(segment)
                self._reply(worker, segment)

    def _reply(self, worker: _Worker, segment: Segment | None) -> None:
        worker.asking = False
        # One that is dead is found out by its silence.
        with suppress(OSError):
            worker.pipe.send(segment)

    def _may_have(self, worker: _Worker, segment: Segment) -> bool:
        if not worker.hand:
            return True
        suspects = any(self._failures[s.index] for s in (*worker.hand, segment))
        # One is being encoded, one decoded; what is more would be missing elsewhere.
        return not suspects and len(worker.hand) < 2

    def _bury(self, worker: _Worker, left: set[int]) -> None:
        """A worker is no more: its segments go back, and another one takes its place."""
        worker.process.join(_PATIENCE)
        worker.pipe.close()
        self._workers.remove(worker)
        self._gone = [a + b for a, b in zip(self._gone, worker.busy, strict=True)]
        if not left:
            return
        error = worker.error or self._death(worker)
        if isinstance(error, VsrError) and not _may_pass(error):
            raise error
        if worker.hand:
            self._failures[worker.hand[0].index] += 1
            failures = self._failures[worker.hand[0].index]
        else:
            self._deaths[worker.spec] += 1
            failures = self._deaths[worker.spec]
        if failures >= _MOST_FAILURES:
            raise error
        self._queue.extendleft(reversed(worker.hand))
        self._advanced(-worker.frames, self._busy())
        self._warned(f"{_sentence(error)} It is started anew.")
        self._start(worker.spec)

    def _death(self, worker: _Worker) -> BackendError:
        code = worker.process.exitcode
        how = f"ended with code {code}"
        if code is not None and code < 0:
            how = f"was ended by {_signal_name(-code)}"
        at = f" at segment {worker.hand[0].index}" if worker.hand else ""
        return BackendError(
            f"a worker on {worker.spec.device} {how}{at}",
            where=self._plan.source,
            remedy="If it was SIGKILL, memory ran out: use fewer workers or a smaller --batch.",
        )

    def _busy(self) -> tuple[float, ...]:
        sums = list(self._gone)
        for worker in self._workers:
            sums = [a + b for a, b in zip(sums, worker.busy, strict=True)]
        return tuple(sums)

    def _stop(self) -> None:
        """End all workers that are left: at once, for what they have in hand is lost anyway."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join(_PATIENCE)
            worker.pipe.close()
        self._workers.clear()


def _may_pass(error: VsrError) -> bool:
    """Whether another try may do better: a device fails now and then, a full disk stays full."""
    return isinstance(error, BackendError) and not isinstance(error, OutOfMemoryError)


def _sentence(error: BaseException) -> str:
    text: Any = error.what if isinstance(error, VsrError) else f"a worker failed: {error}"
    return f"{text[0].upper()}{text[1:]}."


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"

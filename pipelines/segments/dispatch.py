"""Who gets which segment, and what happens when one fails; the same wherever workers are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pipelines.segments.serve import Message
from vsr.errors import BackendError, OutOfMemoryError, VsrError
from vsr.types import Segment

__all__ = ["MOST_FAILURES", "Dispatcher", "Worker"]

#: A segment that fails so often ends the job.
MOST_FAILURES = 3


@dataclass(slots=True, kw_only=True, eq=False)
class Worker:
    """A worker as the dispatcher sees it.

    Attributes:
        place: where it works; one that comes after it there has the same.
        hand: the segments it has, oldest first.
        asking: it wants one more.
        frames: how many it has made of the segments in hand.
        busy: seconds of work of each stage.
        error: what it says it failed with.
    """

    place: Hashable
    hand: list[Segment] = field(default_factory=list)
    asking: bool = False
    frames: int = 0
    busy: tuple[float, ...] = (0.0, 0.0, 0.0)
    error: BaseException | None = None


W = TypeVar("W", bound=Worker)


class Dispatcher(ABC, Generic[W]):
    """Gives segments to workers, and those of a worker that dies to another one.

    Each worker has the segment at hand and, while that one is at its end, the next. A segment that
    failed before is given to a worker that has no other, so that it is known who fails.

    Args:
        advanced: called with frames gained (or lost again with a worker) and the seconds of work
            of each stage, over all workers so far.
        finished: called with the index of each finished segment.
        warned: called with what a person should know.

    Attributes:
        peak_memory: largest resident set of a worker in bytes, as far as they told.
        most: how many workers there were at a time.
    """

    def __init__(
        self,
        *,
        advanced: Callable[[int, tuple[float, ...]], None],
        finished: Callable[[int], None],
        warned: Callable[[str], None],
    ) -> None:
        self._advanced, self._finished, self._warned = advanced, finished, warned
        self._workers: list[W] = []
        self._failures: Counter[int] = Counter()
        self._deaths: Counter[Hashable] = Counter()  # of workers that had nothing in hand
        self._gone = (0.0, 0.0, 0.0)  # seconds of work of workers that are no more
        self._queue: deque[Segment] = deque()
        self._left: set[int] = set()
        self._told: set[str] = set()
        self.peak_memory = 0
        self.most = 0

    def run(self, segments: Sequence[Segment]) -> None:
        """Have ``segments`` made; returns when all are finished.

        Raises:
            VsrError: a segment failed three times, or once in a way that more tries cannot mend
                (a full disk, a broken source). Finished segments stay.
        """
        self._queue.extend(segments)
        self._left = {segment.index for segment in segments}
        try:
            self._begin(len(segments))
            while self._workers or self._hopeful():
                self.most = max(self.most, len(self._workers))
                self._listen()
                self._answer()
            if self._left:
                raise self._deserted()
        finally:
            self._stop()

    @abstractmethod
    def _begin(self, most: int) -> None:
        """Start workers, no more than ``most``."""

    @abstractmethod
    def _listen(self) -> None:
        """Wait until a worker says something; :meth:`_take` it, and :meth:`_bury` who is dead."""

    @abstractmethod
    def _send(self, worker: W, segment: Segment | None) -> None:
        """Answer a worker that asks; ``None``: there are no more."""

    @abstractmethod
    def _death(self, worker: W) -> BackendError:
        """How a worker died that did not say why."""

    @abstractmethod
    def _renew(self, worker: W) -> str:
        """Start another worker for a dead one, if that is possible; says what was done."""

    @abstractmethod
    def _stop(self) -> None:
        """End all workers that are left: at once, for what they have in hand is lost anyway."""

    def _hopeful(self) -> bool:
        """Whether there will be workers again, when there is none."""
        return False

    def _deserted(self) -> BackendError:
        """What is wrong when no worker is left, and work is."""
        return BackendError("no worker is left")

    def _take(self, worker: W, message: Message) -> None:
        """Understand what a worker says."""
        word, told = message
        if word == "next":
            worker.asking = True
        elif word == "frames":
            frames, worker.busy = told
            worker.frames += frames
            self._advanced(frames, self._busy())
        elif word == "done":
            self._done(worker, told)
        elif word == "again":
            self._again(worker, told)
        elif word == "warning":
            self._warn_once(told)
        elif word == "failed":
            worker.error = told
        elif word == "end":
            self.peak_memory = max(self.peak_memory, told)

    def _done(self, worker: W, index: int) -> None:
        """The file of a segment is where it belongs."""
        done = next(s for s in worker.hand if s.index == index)
        worker.hand.remove(done)
        worker.frames -= done.frames or 0
        self._left.discard(index)
        self._finished(index)

    def _again(self, worker: W, segment: Segment) -> None:
        """A segment is to be read another way: it waits for whoever asks next."""
        worker.hand = [s for s in worker.hand if s.index != segment.index]
        self._queue.appendleft(segment)

    def _warn_once(self, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            self._warned(message)

    def _answer(self) -> None:
        """Give segments to those who ask, if there are any that they may have."""
        for worker in self._workers:
            if not worker.asking:
                continue
            if not self._left:
                worker.asking = False
                self._send(worker, None)
            elif self._queue and self._may_have(worker, self._queue[0]):
                segment = self._queue.popleft()
                worker.hand.append(segment)
                worker.asking = False
                self._send(worker, segment)

    def _may_have(self, worker: W, segment: Segment) -> bool:
        if not worker.hand:
            return True
        suspects = any(self._failures[s.index] for s in (*worker.hand, segment))
        # One is being encoded, one decoded; what is more would be missing elsewhere.
        return not suspects and len(worker.hand) < 2

    def _bury(self, worker: W) -> None:
        """A worker is no more: its segments go back, and another one takes its place."""
        self._workers.remove(worker)
        self._gone = self._sum(self._gone, worker.busy)
        if not self._left:
            return
        error = worker.error or self._death(worker)
        if isinstance(error, VsrError) and not _may_pass(error):
            raise error
        if worker.hand:
            self._failures[worker.hand[0].index] += 1
            if self._failures[worker.hand[0].index] >= MOST_FAILURES:
                raise error
        else:
            self._deaths[worker.place] += 1
            if self._too_often(worker):
                raise error
        self._queue.extendleft(reversed(worker.hand))
        self._advanced(-worker.frames, self._busy())
        self._warned(f"{_sentence(error)} {self._renew(worker)}")

    def _too_often(self, worker: W) -> bool:
        """Whether a place where workers die that have nothing in hand ends the job."""
        return self._deaths[worker.place] >= MOST_FAILURES

    def _busy(self) -> tuple[float, ...]:
        sums = self._gone
        for worker in self._workers:
            sums = self._sum(sums, worker.busy)
        return sums

    @staticmethod
    def _sum(one: Sequence[float], other: Sequence[float]) -> tuple[float, float, float]:
        decode, infer, encode = (a + b for a, b in zip(one, other, strict=True))
        return decode, infer, encode


def _may_pass(error: VsrError) -> bool:
    """Whether another try may do better: a device fails now and then, a full disk stays full."""
    return isinstance(error, BackendError) and not isinstance(error, OutOfMemoryError)


def _sentence(error: BaseException) -> str:
    text: Any = error.what if isinstance(error, VsrError) else f"a worker failed: {error}"
    return f"{text[0].upper()}{text[1:]}."

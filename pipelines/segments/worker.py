"""What a worker does: segments in, finished files out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipelines.segments.source import Begin, End, read_segments
from vsr.engine.clock import StageClock
from vsr.engine.run import Clocks, upscaled
from vsr.engine.upscaler import Upscaler
from vsr.media.segments.segment_writer import SegmentWriter
from vsr.types import FrameBatch, Plan, Segment, SegmentTally

__all__ = ["Listening", "SegmentWorker", "make_segment", "segment_path"]


def segment_path(folder: Path, index: int) -> Path:
    """Where the finished segment ``index`` is."""
    return folder / f"{index:06d}.segment"


def make_segment(plan: Plan, segment: Segment, folder: Path) -> Path:
    """Decode, upscale and encode one segment; returns the finished file in ``folder``.

    Everything goes in as plain values and comes out as a file, so that any process on any machine
    that has the source and the folder can do this.

    Raises:
        VsrError: some kind of it; nothing is left under the final name.
    """
    SegmentWorker(plan, folder).run([segment])
    return segment_path(folder, segment.index)


@dataclass(frozen=True, slots=True)
class Listening:
    """Who is told what while a worker is at work. ``finished`` is called from another thread.

    Attributes:
        advanced: so many more frames went to the encoder; negative if they were in vain.
        finished: this segment's file is complete.
        again: this segment has to be made after all, read another way; whoever hears it gives it
            out once more. ``None``: the worker itself does so, after all others.
        warned: something a person should know, one sentence.
    """

    advanced: Callable[[int, Clocks], None] = lambda _frames, _clocks: None
    finished: Callable[[Segment], None] = lambda _segment: None
    again: Callable[[Segment], None] | None = None
    warned: Callable[[str], None] = lambda _message: None


class SegmentWorker:
    """Works on one segment after the other, with a network that is loaded once.

    While the last frames of a segment are being encoded, the first ones of the next are already
    on their way, so that cutting a job costs the network no time.

    Args:
        plan: the plan; :attr:`~vsr.types.Plan.device` is this worker's.
        folder: where finished files go.
        listening: who is told.
    """

    def __init__(self, plan: Plan, folder: Path, listening: Listening | None = None) -> None:
        self._plan = plan
        self._folder = folder
        self._tell = listening or Listening()
        self._clocks = Clocks()
        self._warned = 0

    def run(self, segments: Iterable[Segment]) -> None:
        """Make the files of ``segments``, which is asked for the next one early.

        Raises:
            VsrError: some kind of it. The segment at hand leaves nothing behind.
        """
        upscaler = Upscaler.of(self._plan)
        while again := self._pass(upscaler, segments):
            segments = again

    def _pass(self, upscaler: Upscaler, segments: Iterable[Segment]) -> list[Segment]:
        """One run through ``segments``; returns those that are to be made after them."""
        plan, deferred = self._plan, list[Segment]()
        again = self._tell.again or deferred.append
        taken = _Busy()
        frames = 0
        with ExitStack() as stack:
            finisher = stack.enter_context(_Finisher())
            items = stack.enter_context(
                upscaled(
                    read_segments(plan, segments),
                    upscaler,
                    plan.encode.format,
                    plan.encode.tags,
                    self._clocks,
                    batch=plan.batch,
                )
            )
            current = stack.enter_context(ExitStack())
            for item in items:
                if isinstance(item, Begin):
                    path = segment_path(self._folder, item.segment.index)
                    with self._clocks.encode.work():
                        writer = current.enter_context(SegmentWriter(plan, path))
                    frames = 0
                elif isinstance(item, FrameBatch):
                    with self._clocks.encode.work():
                        writer.write(item)
                    frames += len(item)
                    self._advance(len(item), upscaler)
                elif isinstance(item, End):
                    if _lost_some(plan, item):
                        current.close()
                        self._tell.advanced(-frames, self._clocks)
                        again(replace(item.segment, how="decode"))
                        continue
                    busy = taken.since(self._clocks)
                    with self._clocks.encode.work():
                        finisher.finish(current.pop_all(), self._finish(writer, item, busy))
            finisher.wait()
        return deferred

    def _advance(self, frames: int, upscaler: Upscaler) -> None:
        for note in upscaler.notes[self._warned :]:
            self._tell.warned(note)
        self._warned = len(upscaler.notes)
        self._tell.advanced(frames, self._clocks)

    def _finish(
        self, writer: SegmentWriter, item: End, busy: tuple[float, float, float]
    ) -> Callable[[], None]:
        """What is left to do for a segment whose frames have all gone to its encoder."""

        def finish() -> None:
            clock = StageClock("encode")
            with clock.work():
                writer.drain()
            decode, infer, encode = busy
            tally = SegmentTally(
                index=item.segment.index,
                read=item.read,
                last_duration=0,
                repeated=item.repeated,
                busy=(decode, infer, encode + clock.busy),
            )
            writer.commit(tally)
            self._tell.finished(item.segment)

        return finish


def _lost_some(plan: Plan, end: End) -> bool:
    """Whether a segment that was sought gave fewer frames than its packets announce.

    Then it is read once more from the beginning of the file: either the frames are there, and
    seeking missed them, or they cannot be had. The two fields of an interlaced picture may be two
    packets.
    """
    if end.segment.how != "seek" or plan.video.interlaced:
        return False
    return end.read.frames < (end.segment.frames or 0)


@dataclass(slots=True)
class _Busy:
    """Seconds of work of each stage since the last look."""

    before: tuple[float, float, float] = field(default=(0.0, 0.0, 0.0))

    def since(self, clocks: Clocks) -> tuple[float, float, float]:
        now = (clocks.decode.busy, clocks.infer.busy, clocks.encode.busy)
        before, self.before = self.before, now
        return now[0] - before[0], now[1] - before[1], now[2] - before[2]


class _Finisher:
    """Does the end of one segment in a thread of its own, while the next one begins."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="vsr-finish")
        self._future: Future[None] | None = None

    def __enter__(self) -> _Finisher:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True)

    def finish(self, owner: ExitStack, work: Callable[[], None]) -> None:
        """Run ``work``, then close ``owner``. Raises what the work before raised."""
        try:
            self.wait()
        except BaseException:
            owner.close()
            raise

        def run() -> None:
            with owner:
                work()

        self._future = self._pool.submit(run)

    def wait(self) -> None:
        """Wait for the work at hand; raises what it raised."""
        future, self._future = self._future, None
        if future is not None:
            future.result()

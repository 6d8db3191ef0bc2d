"""A job in segments, from the first look at its folder to its removal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.events import Listener, Progress, Warned
from pipelines.memory import peak_memory
from pipelines.reading import expected_frames
from pipelines.segments.cut import Cut, why_whole
from pipelines.segments.devices import WorkerSpec
from pipelines.segments.dispatch import Dispatcher
from pipelines.segments.join import join
from pipelines.segments.kept import take_up
from pipelines.segments.ledger import Ledger
from pipelines.segments.pool import Pool
from pipelines.segments.settings import (
    check_unchanged,
    source_identity,
    weights_hash,
)
from pipelines.segments.worker import Listening, SegmentWorker, segment_path
from vsr.engine.run import STAGES
from vsr.errors import InputError, OutputError, UsageError
from vsr.media.read.notes import odd_frames
from vsr.media.read.reader import ReadStats
from vsr.media.segments.packet_file import PacketFile
from vsr.media.write.atomic import check_destination
from vsr.media.write.writer import Writer, WriteResult
from vsr.types import Plan, ReadTally, Report, StageReport
from vsr.types.place import on_disk

if TYPE_CHECKING:
    from pipelines.distributed.cluster import Cluster

__all__ = ["run_segmented"]


def run_segmented(
    plan: Plan,
    tell: Listener,
    devices: Sequence[WorkerSpec] = (),
    *,
    cluster: Cluster | None = None,
    fresh: bool = False,
    before_commit: Callable[[Path], str | None] = lambda _: None,
) -> Report | None:
    """Do what ``plan`` says in segments, going on from where an earlier run was stopped.

    Args:
        plan: the plan.
        tell: called with progress and warnings.
        devices: one worker process for each; none: this process does the work.
        cluster: has workers on all its nodes do the work instead.
        fresh: begin anew, whatever is there.
        before_commit: as for :meth:`vsr.media.write.writer.Writer.finish`.

    Returns:
        The report; ``None`` if the job is not for segments and nothing has been done.

    Raises:
        UsageError: it is not for segments, and ``cluster`` should do it.
        OutputError: it is not for segments, and those of another job are kept for the same result.
        VsrError: some kind of it. Finished segments are kept, and ``tell`` says where.
    """
    begun = time.perf_counter()
    with Ledger(plan.destination) as ledger:
        if ledger.is_done():
            # That run was stopped after its result had got its name.
            ledger.remove()
        reason = why_whole(plan, shared=cluster is not None)
        if reason and not ledger.folder.exists():
            _one_does(tell, devices, reason)
            return None
        check_destination(plan.destination, overwrite=plan.overwrite, source=plan.source)
        if reason and cluster is not None:
            raise UsageError(
                f"nodes share a job by its segments, and this one has none: {reason}",
                where=plan.source,
                remedy="Leave out --ray.",
            )
        least = 1 if cluster is not None else 2
        # Before the file is looked through: what is made must be of the file that was cut.
        source = source_identity(plan.source) if on_disk(plan.source) else None
        cut = take_up(plan, source, ledger, tell, fresh=fresh, whole=bool(reason), least=least)
        if cut is None or source is None:
            _one_does(tell, devices, reason or "it is short")
            return None
        parts, damaged = ledger.finished(cut.segments)
        for message in damaged:
            tell(Warned(message))
        job = _Job(plan, source, cut, ledger, tell, parts, begun)
        with _kept(job):
            # What cannot be written that way should be known before hours of work.
            with Writer(plan, ledger.folder):
                pass
            job.work(devices, cluster)
            result = job.join(before_commit)
        ledger.remove()
    return job.report(result)


def _one_does(tell: Listener, devices: Sequence[WorkerSpec], reason: str) -> None:
    if len(devices) > 1:
        tell(Warned(f"One worker does it straight through, in place of {len(devices)}: {reason}."))


@dataclass
class _Job:
    """One run of a job that is kept in a ledger."""

    plan: Plan
    source: Mapping[str, Any]
    cut: Cut
    ledger: Ledger
    tell: Listener
    parts: dict[int, PacketFile]
    begun: float
    gained: int = 0
    workers: int = 1
    memory: int = 0
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.resumed = sum(part.tally.read.frames for part in self.parts.values())
        self.reused = set(self.parts)
        self._first: float | None = None
        total = self.cut.frames
        self._total = expected_frames(self.plan) if total is None else total

    @property
    def _sought(self) -> bool:
        return self.cut.segments[0].how == "seek"

    def work(self, devices: Sequence[WorkerSpec], cluster: Cluster | None = None) -> None:
        """Make the segments that are missing."""
        missing = [s for s in self.cut.segments if s.index not in self.parts]
        self._first = time.perf_counter()
        if self.reused:
            self.tell(Warned(self._resumed(len(missing))))
        if missing and (devices or cluster is not None):
            pool = self._pool(devices, cluster)
            pool.run(missing)
            self.workers, self.memory = pool.most, pool.peak_memory
        elif missing:
            listening = Listening(
                advanced=lambda frames, clocks: self._advance(
                    frames, tuple(clock.busy for clock in clocks)
                ),
                finished=lambda segment: self._finish(segment.index),
                warned=self._warn,
            )
            SegmentWorker(self.plan, self.ledger.folder, listening).run(missing)

    def _pool(self, devices: Sequence[WorkerSpec], cluster: Cluster | None) -> Dispatcher[Any]:
        folder = self.ledger.folder
        told: Any = {"advanced": self._advance, "finished": self._finish, "warned": self._warn}
        if cluster is not None:
            return cluster.pool(self.plan, folder, **told)
        return Pool(self.plan, folder, devices, **told)

    def join(self, before_commit: Callable[[Path], str | None]) -> WriteResult:
        """Write the result."""

        def joined(file: Path) -> str | None:
            # Sound and subtitles were read from the source only now.
            check_unchanged(self.plan.source, self.source)
            self.ledger.joined(file)
            return before_commit(file)

        check_unchanged(self.plan.source, self.source)
        parts = [self.parts[segment.index] for segment in self.cut.segments]
        if not any(part.times for part in parts):
            raise InputError("the requested part holds no frame", where=self.plan.source)
        end = self.cut.end
        if not self._sought:
            # Only the reader that counted to the end of the part has seen what is behind it.
            ends = [part.tally.read.end for part in parts]
            end = max((pts for pts in ends if pts is not None), default=None)
        return join(self.plan, parts, end, self.ledger.folder, before_commit=joined)

    def report(self, result: WriteResult) -> Report:
        """What happened, over all runs."""
        tallies = [self.parts[segment.index].tally for segment in self.cut.segments]
        read = _sum([tally.read for tally in tallies])
        for message in (*self._odd(read), *result.warnings):
            self._warn(message)
        seconds = time.perf_counter() - self.begun
        new = [tally for tally in tallies if tally.index not in self.reused]
        stages = tuple(
            StageReport(name, busy, max(0.0, seconds - busy))
            for name, busy in zip(
                STAGES,
                [sum(t.busy[n] for t in new) / self.workers for n in range(len(STAGES))],
                strict=True,
            )
        )
        return Report(
            destination=self.plan.destination,
            bytes=result.bytes,
            frames_in=read.frames,
            frames_out=result.frames,
            seconds=seconds,
            stages=stages,
            bound_by=max(stages, key=lambda stage: stage.busy).name,
            peak_memory=max(peak_memory(), self.memory),
            corrupt_packets=read.corrupt_packets,
            concealed_frames=read.concealed_frames,
            verified=result.verified,
            given_up=result.lacking(self.plan),
            warnings=tuple(self.warnings),
            resumed_frames=self.resumed,
            repeated_frames=sum(tally.repeated for tally in tallies),
            segments=len(self.cut.segments),
            workers=self.workers,
            weights=self.plan.model.weights or "",
            weights_sha256=weights_hash(self.plan),
        )

    def kept(self) -> str:
        """What is kept of a job that was stopped, and how to get rid of it; empty if nothing."""
        if not self.parts:
            return ""
        frames = sum(len(part.times) for part in self.parts.values())
        size = self.ledger.size() / 1e6
        return (
            f"{len(self.parts)} of {len(self.cut.segments)} segments ({frames} frames, "
            f"{size:.1f} MB) are kept in {self.ledger.folder}: the same command goes on from "
            "there. With --fresh it begins anew; or remove that folder."
        )

    def _resumed(self, missing: int) -> str:
        done = len(self.cut.segments) - missing
        return (
            f"Going on with a job that was stopped: {done} of {len(self.cut.segments)} segments "
            f"({self.resumed} frames) are finished."
        )

    def _warn(self, message: str) -> None:
        self.warnings.append(message)
        self.tell(Warned(message))

    def _finish(self, index: int) -> None:
        path = segment_path(self.ledger.folder, index)
        try:
            check_unchanged(self.plan.source, self.source)
        except InputError:
            path.unlink(missing_ok=True)
            raise
        self.parts[index] = PacketFile(path)

    def _advance(self, frames: int, busy: tuple[float, ...]) -> None:
        self.gained += frames
        done = self.resumed + self.gained
        rate = max(self.gained, 0) / max(time.perf_counter() - (self._first or 0), 1e-9)
        left = None
        if self._total is not None and rate > 0:
            left = max(0, self._total - done) / rate
        bound = STAGES[max(range(len(STAGES)), key=lambda n: busy[n])]
        self.tell(Progress(done, self._total, rate, left, bound))

    def _odd(self, read: ReadTally) -> Iterator[str]:
        """What was odd about the source, in sentences."""
        gaps, gap_frames = self.cut.gaps if self._sought else (read.gaps, read.gap_frames)
        stats = ReadStats(
            invented_pts=read.invented_pts,
            moved_pts=read.moved_pts,
            largest_move=read.largest_move,
            gaps=gaps,
            gap_frames=gap_frames,
            scaled=read.scaled,
            recolored=read.recolored,
            miscolored=read.miscolored,
            flagged=read.flagged,
            unflagged=read.unflagged,
        )
        yield from odd_frames(stats, self.plan.video)
        missing = (self.cut.frames or 0) - read.frames - read.corrupt_packets
        if self._sought and missing > 0 and not self.plan.video.interlaced:
            yield f"{missing} video packets gave no frame."
        yield from self.cut.notes


@contextmanager
def _kept(job: _Job) -> Iterator[None]:
    """Say what is kept when the block fails; if that is nothing, leave nothing."""
    try:
        yield
    except BaseException:
        # If the folder is gone, or its disk, the error at hand says so.
        with suppress(OSError, OutputError):
            job.ledger.tidy()
            kept = job.kept()
            if kept:
                job.tell(Warned(kept))
            else:
                job.ledger.remove()
        raise


def _sum(reads: Sequence[ReadTally]) -> ReadTally:
    total = {
        f.name: sum(getattr(read, f.name) for read in reads)
        for f in fields(ReadTally)
        if f.name not in ("end", "largest_move")
    }
    return ReadTally(**total, largest_move=max(read.largest_move for read in reads))

"""A job that is done straight through: read, upscaled and written in one go."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from pipelines.events import Listener, Progress, Warned
from pipelines.memory import peak_memory
from pipelines.reading import expected_frames, read_request
from pipelines.segments.settings import check_unchanged, source_identity
from vsr.engine.distinct import Item
from vsr.engine.run import Clocks, upscaled
from vsr.engine.upscaler import Upscaler
from vsr.media.pipes.source import let_go, stopping_with
from vsr.media.read.reader import open_reader
from vsr.media.write.writer import Writer
from vsr.processor import heed_quota
from vsr.types import FrameBatch, Plan, Report, SidePacket
from vsr.types.place import on_disk

__all__ = ["run_through", "threads"]


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Have the network take ``count`` threads of the CPU."""
    heed_quota()  # now, or it would undo this later
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run_through(
    plan: Plan, tell: Listener, before_commit: Callable[[Path], str], mark: str
) -> Report:
    """Read, upscale and write in one go; on any error or Ctrl-C nothing is left behind.

    Args:
        plan: the plan.
        tell: called with progress and warnings, from the calling thread.
        before_commit: as for :meth:`vsr.media.write.writer.Writer.finish`, but it always says what
            the result's name is.
        mark: for the name of the temporary file.

    Raises:
        VsrError: some kind of it.
    """
    begun = time.perf_counter()
    source = source_identity(plan.source) if on_disk(plan.source) else None

    def still_the_same(file: Path) -> str:
        if source is not None:
            check_unchanged(plan.source, source)
        return before_commit(file)

    clocks = Clocks()
    progress = _Progress(plan, clocks, tell)
    told = 0
    with Writer(plan, mark=mark) as writer, open_reader(plan.reader, read_request(plan)) as reader:
        if not plan.trim:
            let_go(plan.source)
        upscaler = Upscaler.of(plan)
        with (
            upscaled(
                reader, upscaler, plan.encode.format, plan.encode.tags, clocks, batch=plan.batch
            ) as items,
            stopping_with(plan.source),
        ):
            for item in items:
                with clocks.encode.work():
                    _write(writer, item)
                for note in upscaler.notes[told:]:
                    tell(Warned(note))
                    told += 1
                if isinstance(item, FrameBatch):
                    progress.advance(len(item))
        with clocks.encode.work():
            result = writer.finish(still_the_same)
        stats = reader.stats
    for message in (*stats.warnings, *result.warnings):
        tell(Warned(message))
    seconds = time.perf_counter() - begun
    return Report(
        destination=plan.destination,
        bytes=result.bytes,
        frames_in=stats.frames,
        frames_out=result.frames,
        seconds=seconds,
        stages=tuple(clock.report(seconds) for clock in clocks),
        bound_by=clocks.bound_by,
        peak_memory=peak_memory(),
        corrupt_packets=stats.corrupt_packets,
        concealed_frames=stats.concealed_frames,
        verified=result.verified,
        given_up=result.lacking(plan),
        weights=plan.model.weights or "",
        weights_sha256=upscaler.weights_sha256,
        warnings=(*upscaler.notes, *stats.warnings, *result.warnings),
        repeated_frames=items.repeated,
    )


def _write(writer: Writer, item: Item) -> None:
    if isinstance(item, FrameBatch):
        writer.write(item)
    elif isinstance(item, SidePacket):
        writer.mux(item)


class _Progress:
    """Counts frames and says so."""

    def __init__(self, plan: Plan, clocks: Clocks, tell: Listener) -> None:
        self._total = expected_frames(plan)
        self._clocks = clocks
        self._tell = tell
        self._frames = 0
        self._begun = time.perf_counter()

    def advance(self, frames: int) -> None:
        self._frames += frames
        rate = self._frames / max(time.perf_counter() - self._begun, 1e-9)
        left = None if self._total is None else max(0, self._total - self._frames) / rate
        self._tell(Progress(self._frames, self._total, rate, left, self._clocks.bound_by))

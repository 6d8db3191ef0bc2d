"""The job the project exists for: one file in, the same file out, larger."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from pipelines.events import Event, Progress, Warned
from pipelines.memory import peak_memory
from vsr.engine.device import choose_device
from vsr.engine.run import Clocks, upscaled
from vsr.engine.upscaler import Upscaler
from vsr.errors import UsageError
from vsr.media.codecs import CODECS, encoder_problem
from vsr.media.containers import CONTAINERS
from vsr.media.probe import probe
from vsr.media.read.reader import ReadRequest, open_reader
from vsr.media.read.timestamps import snap_trim
from vsr.media.write.writer import Writer
from vsr.models.registry import MODELS
from vsr.plan import Request, default_preset, make_plan, select_video
from vsr.preset import load_preset
from vsr.types import FrameBatch, Plan, Report, SidePacket

__all__ = ["plan_upscale", "read_request", "run_upscale", "upscale"]

Listener = Callable[[Event], None]


def upscale(
    source: str | Path,
    destination: str | Path | None = None,
    scale: int | None = None,
    *,
    on_event: Listener | None = None,
    **wishes: Any,
) -> Report:
    """Upscale ``source`` into ``destination``: plan, then run.

    Args:
        source: any file FFmpeg reads.
        destination: its ending chooses the container; by default beside the source.
        scale: 2, 3 or 4; the preset's (2) by default.
        on_event: called with progress and warnings, from the calling thread.
        **wishes: as for :func:`plan_upscale`.

    Raises:
        VsrError: some kind of it, with nothing left behind.
    """
    target = None if destination is None else str(destination)
    plan = plan_upscale(str(source), target, scale=scale, **wishes)
    return run_upscale(plan, on_event=on_event)


def plan_upscale(
    source: str,
    destination: str | None = None,
    *,
    preset: str | None = None,
    start: Fraction | None = None,
    end: Fraction | None = None,
    frames: int | None = None,
    **wishes: Any,
) -> Plan:
    """Decide everything, run nothing.

    Args:
        source: path of the source.
        destination: path of the result; ``<stem>_x<scale>`` beside the source by default.
        preset: name or path of a preset; ``x<scale>`` by default.
        start: beginning of the wanted part, in seconds from the first frame.
        end: end of the wanted part, likewise.
        frames: no more frames than this.
        **wishes: the other fields of :class:`vsr.plan.Request` by name; ``None`` is no wish.

    Raises:
        InputError: the source cannot be read.
        VsrError: whatever of the wishes cannot be had; see :mod:`vsr.errors`.
    """
    info = probe(source)
    where = {name: wishes.pop(name, None) for name in ("device", "backend", "reader")}
    given = {name: value for name, value in wishes.items() if value is not None}
    request = Request(source=source, destination=destination, **given)
    if end is not None and end <= (start or 0):
        raise UsageError(
            f"the part ends at {float(end):g} s, before it begins ({float(start or 0):g} s)",
            remedy="Times count from the first frame of the file.",
        )
    if (start, end, frames) != (None, None, None):
        video = select_video(info, request.video_stream)
        request = replace(request, trim=snap_trim(source, video.index, start, end, frames))
    wished = load_preset(preset or default_preset(request.scale))
    facts = choose_device(
        where["device"] or "auto",
        where["backend"] or "auto",
        model=request.model or wished.model or next(iter(MODELS)),
        dtype=request.dtype or wished.dtype,
    )
    if where["reader"]:
        facts = replace(facts, reader=where["reader"])
    return make_plan(
        info,
        request,
        wished,
        codecs=CODECS,
        containers=CONTAINERS,
        models={name: row.scales for name, row in MODELS.items()},
        usable=encoder_problem,
        device=facts,
    )


def read_request(plan: Plan) -> ReadRequest:
    """What the reader is asked for."""
    side = tuple(a.stream.index for a in plan.streams if a.action in ("copy", "convert"))
    return ReadRequest(
        path=plan.source,
        video=plan.video,
        batch=plan.batch,
        trim=plan.trim,
        deinterlace=plan.deinterlace,
        on_resize=plan.on_resize,
        side_streams=side,
        color=plan.color,
    )


def run_upscale(plan: Plan, *, on_event: Listener | None = None) -> Report:
    """Do what ``plan`` says.

    The result gets its name only when it is complete and verified; on any error or Ctrl-C nothing
    is left behind.

    Raises:
        VsrError: some kind of it.
    """
    begun = time.perf_counter()
    clocks = Clocks()
    tell = on_event or (lambda _: None)
    progress = _Progress(plan, clocks, tell)
    with Writer(plan) as writer, open_reader(plan.reader, read_request(plan)) as reader:
        upscaler = Upscaler(
            plan.model.scale,
            plan.model.name,
            plan.model.weights,
            device=plan.device,
            backend=plan.backend,
            dtype=plan.dtype,
        )
        with upscaled(reader, upscaler, plan.encode.format, plan.encode.tags, clocks) as items:
            for item in items:
                with clocks.encode.work():
                    _write(writer, item)
                if isinstance(item, FrameBatch):
                    progress.advance(len(item))
        with clocks.encode.work():
            result = writer.finish()
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
        given_up=plan.given_up,
        warnings=(*stats.warnings, *result.warnings),
    )


def _write(writer: Writer, item: FrameBatch | SidePacket) -> None:
    if isinstance(item, FrameBatch):
        writer.write(item)
    else:
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


def expected_frames(plan: Plan) -> int | None:
    """How many frames the run will give, as far as the container says."""
    video, trim = plan.video, plan.trim
    total = video.frames
    if trim.start is not None or trim.end is not None:
        rate = video.average_rate
        first = trim.start if trim.start is not None else (video.start or 0)
        last = trim.end
        if last is None and video.duration is not None:
            last = (video.start or 0) + video.duration
        total = None
        if rate is not None and last is not None:
            total = max(1, round((last - first) * video.time_base * rate))
    if trim.frames is not None:
        total = trim.frames if total is None else min(total, trim.frames)
    return total

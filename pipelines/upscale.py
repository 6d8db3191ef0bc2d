"""The job the project exists for: one file in, the same file out, larger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.events import Listener
from pipelines.reading import expected_frames, read_request, settle_reader
from pipelines.segments.devices import WorkerSpec, parse_devices
from pipelines.segments.job import run_segmented
from pipelines.segments.kept import straight_through
from pipelines.segments.whole import run_through, threads
from pipelines.weights import weights_facts
from pipelines.wishes import plan_wishes, run_wishes
from vsr.engine.device import choose_device
from vsr.errors import UsageError
from vsr.media.codecs import CODECS, encoder_problem
from vsr.media.containers import CONTAINERS
from vsr.media.pipes.interrupted import carried
from vsr.media.pipes.source import forget_pipe
from vsr.media.probe import probe
from vsr.media.read.reader import reader_class
from vsr.media.read.timestamps import snap_trim
from vsr.models.registry import MODELS, weights_path
from vsr.plan import DeviceFacts, Request, default_preset, make_plan, select_video
from vsr.preset import load_preset
from vsr.types import Plan, Report
from vsr.types.place import STANDARD

if TYPE_CHECKING:
    from pipelines.distributed.cluster import Cluster

__all__ = [
    "expected_frames",
    "plan_upscale",
    "prepare_upscale",
    "read_request",
    "run_upscale",
    "upscale",
]


def upscale(
    source: str | Path,
    destination: str | Path | None = None,
    scale: int | None = None,
    *,
    on_event: Listener | None = None,
    devices: str | None = None,
    ray: str | None = None,
    resume: bool = True,
    fresh: bool = False,
    **wishes: Any,
) -> Report:
    """Upscale ``source`` into ``destination``: plan, then run.

    Args:
        source: any file FFmpeg reads, a URL of a protocol that it knows, a named pipe, or ``-`` for
            standard input.
        destination: a file; its ending chooses the container; by default beside the source, for a
            URL in the current folder. ``-`` is standard output, which gets Matroska.
        scale: 2, 3 or 4; the preset's (2) by default.
        on_event: called with a :class:`pipelines.events.Progress` or
            :class:`~pipelines.events.Warned`, in the calling thread but for warnings of what is
            finished. What it raises ends the run, and comes out of it.
        devices: workers, such as ``cuda:0,cuda:1`` or ``cpu:2x1``; each is a process, so that
            a script that asks for them needs the usual ``if __name__ == "__main__":``.
        ray: ``auto`` or the address of a Ray cluster whose nodes do the work.
        resume, fresh: as for :func:`run_upscale`.
        **wishes: as for :func:`plan_upscale`.

    It may be called from any thread, by several at a time for different destinations.

    Returns:
        What was done: frames in and out, what was left behind, where the result is.

    Raises:
        UsageError: an option that there is not, or that does not take such a value.
        VsrError: whatever else goes wrong; see :mod:`vsr.errors`.
    """
    run_wishes(on_event=on_event)
    _, run = prepare_upscale(
        source,
        destination,
        scale=scale,
        devices=devices,
        ray=ray,
        resume=resume,
        fresh=fresh,
        **wishes,
    )
    return run(on_event=on_event)


def prepare_upscale(
    source: str | Path,
    destination: str | Path | None = None,
    *,
    devices: str | None = None,
    ray: str | None = None,
    resume: bool = True,
    fresh: bool = False,
    **wishes: Any,
) -> tuple[Plan, Callable[..., Report]]:
    """Decide everything, and how it will be run; run nothing.

    Args:
        source, destination, **wishes: as for :func:`plan_upscale`.
        devices: workers, such as ``cuda:0,cuda:1`` or ``cpu:2x1``.
        ray: ``auto`` or the address of a Ray cluster, which decides about the device.
        resume, fresh: as for :func:`run_upscale`.

    Returns:
        The plan, and :func:`run_upscale` with all but its ``on_event`` given.

    Raises:
        UsageError: ``devices`` or ``ray`` with what they exclude, or an option with a value that it
            does not take.
        DependencyError: ``ray`` is asked for and not installed.
        BackendError: there is no such cluster.
        VsrError: as :func:`plan_upscale` does.
    """
    run_wishes(devices=devices, ray=ray, resume=resume, fresh=fresh)
    specs = parse_devices(devices) if devices else ()
    if specs and ray:
        raise UsageError("--devices and --ray exclude each other", remedy="Give one of them.")
    if (specs or ray) and not resume:
        name = "--ray" if ray else "--devices"
        raise UsageError(f"{name} shares a job by its segments", remedy="Leave out --no-resume.")
    if specs and wishes.get("device"):
        raise UsageError("--device and --devices exclude each other", remedy="Give one of them.")
    if specs:
        wishes["device"] = specs[0].device
    cluster = None
    if ray:
        from pipelines.distributed.cluster import Cluster

        cluster = Cluster(ray)
        wishes["choose"] = cluster.choose_device
    plan = plan_upscale(source, destination, **wishes)
    run = partial(run_upscale, plan, devices=specs, cluster=cluster, resume=resume, fresh=fresh)
    return plan, run


def plan_upscale(
    source: str | Path,
    destination: str | Path | None = None,
    *,
    preset: str | Path | None = None,
    start: Fraction | float | None = None,
    end: Fraction | float | None = None,
    frames: int | None = None,
    choose: Callable[..., DeviceFacts] = choose_device,
    **wishes: Any,
) -> Plan:
    """Decide everything, run nothing.

    Args:
        source: path of the source.
        destination: path of the result; ``<stem>_x<scale>`` beside the source by default.
        preset: name or path of a preset; ``x<scale>`` by default.
        start: beginning of the wanted part, in seconds from the first frame, 0 or more; a ``float``
            is taken as it is written: 0.1 is a tenth.
        end: end of the wanted part, likewise, and behind ``start``.
        frames: no more frames than this, 1 or more.
        choose: settles what runs the network, as :func:`vsr.engine.device.choose_device` does.
        **wishes: the other fields of :class:`vsr.plan.Request`, and ``device``, ``backend`` and
            ``reader``, by name; ``None`` is no wish. ``weights`` may be a
            :class:`~pathlib.Path`, ``options`` a mapping, and ``matrix``, ``range`` and ``site``
            what the command line calls them.

    Raises:
        UsageError: there is no such wish, or it does not take such a value.
        InputError: the source cannot be read.
        ModelError: the weights are not there, or damaged.
        VsrError: whatever of the wishes cannot be had; see :mod:`vsr.errors`.
    """
    asked = plan_wishes(
        source=source,
        destination=destination,
        preset=preset,
        start=start,
        end=end,
        frames=frames,
        **wishes,
    )
    part = first, last, _ = [asked.pop(name, None) for name in ("start", "end", "frames")]
    named, device = asked.pop("preset", None), asked.pop("device", "auto")
    backend, reader = asked.pop("backend", "auto"), asked.pop("reader", "auto")
    request = Request(**asked)
    info = probe(request.source)
    if last is not None and last <= (first or 0):
        raise UsageError(
            f"the part ends at {float(last):g} s, before it begins ({float(first or 0):g} s)",
            remedy="Times count from the first frame of the file.",
        )
    if part != [None, None, None]:
        video = select_video(info, request.video_stream)
        request = replace(request, trim=snap_trim(request.source, video, *part))
    wished = load_preset(named or default_preset(request.scale))
    facts = choose(
        device,
        backend,
        model=request.model or wished.model or next(iter(MODELS)),
        dtype=request.dtype or wished.dtype,
        mode=request.mode or wished.mode or "exact",
    )
    if reader not in ("auto", facts.reader):
        reader_class(reader)  # an unknown name is worth no plan
        facts = replace(facts, reader=reader)
    plan = make_plan(
        info,
        request,
        wished,
        codecs=CODECS,
        containers=CONTAINERS,
        models={name: row.scales for name, row in MODELS.items()},
        weights=weights_facts(),
        usable=encoder_problem,
        device=facts,
    )
    # On a cluster, what the workers' machines can decode is not known here.
    if choose is choose_device:
        plan = settle_reader(plan, reader)
    # Missing or damaged weights are better known now than when the result has been opened.
    weights_path(plan.model.name, plan.model.scale, plan.model.weights)
    return plan


def run_upscale(
    plan: Plan,
    *,
    on_event: Listener | None = None,
    devices: Sequence[WorkerSpec] = (),
    cluster: Cluster | None = None,
    resume: bool = True,
    fresh: bool = False,
    before_commit: Callable[[Path], str | None] = lambda _: None,
    mark: str = "",
) -> Report:
    """Do what ``plan`` says.

    The result gets its name only when it is complete and verified. A job of more than some
    seconds of video is done in segments, which are kept in ``<destination>.vsr`` until the result
    is there: if the run fails or is stopped, at whatever moment, the same call goes on from the
    last finished one. Otherwise nothing is left behind.

    Args:
        plan: what :func:`plan_upscale` gave.
        on_event: called with progress and warnings, from the calling thread but for warnings of
            what is finished.
        devices: one worker process for each, as
            :func:`pipelines.segments.devices.parse_devices` reads them; by default this process
            does the work on the plan's device. What is done straight through is done by this
            process as well, with the first one's threads.
        cluster: the Ray cluster whose nodes do the work, in place of ``devices``.
        resume: keep finished segments; else the result is written straight through, and what is
            kept of an earlier run goes when it is there.
        fresh: begin anew, and remove whatever an earlier run has finished.
        before_commit: called with the temporary file when it is complete and verified, before it
            gets its name; may return another name in the same folder.
        mark: for the name of the temporary file of a result that is written straight through, as
            :class:`vsr.media.write.atomic.AtomicFile` takes it.

    Raises:
        UsageError: ``devices`` or ``cluster`` and no segments.
        NameTakenError: somebody took the result's name meanwhile.
        VsrError: some other kind of it.
    """
    tell = on_event or (lambda _: None)
    names = [plan.destination]

    def renamed(file: Path) -> str:
        names.append(before_commit(file) or plan.destination)
        return names[-1]

    piped = plan.destination == STANDARD
    if piped and (devices or cluster is not None):
        raise UsageError(
            "several workers share a job by its segments, and what goes into a pipe has none",
            remedy="Name a file with -o, or leave out --devices and --ray.",
        )
    if resume and not piped:
        report = run_segmented(
            plan, tell, devices, cluster=cluster, fresh=fresh, before_commit=renamed
        )
        if report is not None:
            return replace(report, destination=names[-1])
    elif not piped and (devices or cluster is not None):
        raise UsageError(
            "several workers share a job by its segments, which --no-resume turns off",
            remedy="Leave out --no-resume, or --devices and --ray.",
        )
    with ExitStack() as stack:
        stack.callback(forget_pipe, plan.source)
        stack.enter_context(carried())
        if not resume and not piped:
            stack.enter_context(straight_through(plan, tell, fresh=fresh))
        if devices and devices[0].threads:
            stack.enter_context(threads(devices[0].threads))
        report = run_through(plan, tell, renamed, mark)
    return replace(report, destination=names[-1])

"""``vsr upscale``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from vsr.cli.command import Command, json_option
from vsr.cli.events import json_events, text_events
from vsr.cli.options import run_options, upscale_options
from vsr.cli.output import echo, echo_json, note
from vsr.cli.report import report_text

if TYPE_CHECKING:
    from vsr.types import Plan

__all__ = ["upscale"]


@click.command(cls=Command)
@upscale_options
@json_option("One JSON object per line on stdout instead of bar and report.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@run_options
def upscale(
    source: str,
    destination: str | None,
    as_json: bool,
    quiet: bool,
    devices: str | None,
    fresh: bool,
    resume: bool,
    **wishes: Any,
) -> None:
    """Make the video SRC larger, and change nothing else about it.

    Sound, subtitles, chapters and all other streams go along; what cannot is named. The result gets
    its name when it is complete and has been read back. Progress goes to stderr, the report to
    stdout.

    A run that was stopped goes on with the same command: what is finished is kept in DST.vsr until
    the result is complete.
    """
    if as_json and quiet:
        raise click.UsageError("--json and --quiet exclude each other.")
    from pipelines.memory import keep_freed_memory
    from pipelines.segments.devices import parse_devices
    from pipelines.upscale import expected_frames, plan_upscale, run_upscale

    keep_freed_memory()
    specs = parse_devices(devices) if devices else ()
    if specs and not resume:
        raise click.UsageError("--devices shares a job by its segments: leave out --no-resume.")
    if specs and wishes.get("device"):
        raise click.UsageError("--device and --devices exclude each other.")
    if specs:
        wishes["device"] = specs[0].device
    plan = plan_upscale(source, destination, **wishes)
    run = partial(run_upscale, plan, devices=specs, resume=resume, fresh=fresh)
    if quiet:
        run()
    elif as_json:
        echo_json({"event": "plan", "plan": plan})
        report = run(on_event=json_events())
        echo_json({"event": "report", "report": report})
    else:
        _announce(plan)
        with text_events(expected_frames(plan)) as listen:
            report = run(on_event=listen)
        echo(report_text(plan, report))


def _announce(plan: Plan) -> None:
    """Say in time what somebody might want to stop the run for."""
    video, model = plan.video, plan.model
    echo(
        f"{plan.source} {video.width}x{video.height} -> {plan.destination} "
        f"{plan.width}x{plan.height}: {model.name} on {plan.device}, {plan.encode.name}",
        err=True,
    )
    for reason in plan.reasons:
        if reason.topic == "weights":
            echo(f"weights {reason.choice}: {reason.why}", err=True)
    for sentence in plan.given_up:
        note("given up", sentence, "yellow")
    for sentence in plan.info.warnings:
        note("warning", sentence, "yellow")

"""``vsr upscale``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from vsr.cli.command import Command, json_option
from vsr.cli.events import json_events, text_events
from vsr.cli.options import upscale_options
from vsr.cli.output import echo, echo_json, note
from vsr.cli.report import report_text

if TYPE_CHECKING:
    from vsr.types import Plan

__all__ = ["upscale"]


@click.command(cls=Command)
@upscale_options
@json_option("One JSON object per line on stdout instead of bar and report.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def upscale(
    source: str, destination: str | None, as_json: bool, quiet: bool, **wishes: Any
) -> None:
    """Make the video SRC larger, and change nothing else about it.

    Sound, subtitles, chapters and all other streams go along; what cannot is named. The result gets
    its name when it is complete and has been read back. Progress goes to stderr, the report to
    stdout.
    """
    if as_json and quiet:
        raise click.UsageError("--json and --quiet exclude each other.")
    from pipelines.memory import keep_freed_memory
    from pipelines.upscale import expected_frames, plan_upscale, run_upscale

    keep_freed_memory()
    plan = plan_upscale(source, destination, **wishes)
    if quiet:
        run_upscale(plan)
    elif as_json:
        echo_json({"event": "plan", "plan": plan})
        report = run_upscale(plan, on_event=json_events())
        echo_json({"event": "report", "report": report})
    else:
        _announce(plan)
        with text_events(expected_frames(plan)) as listen:
            report = run_upscale(plan, on_event=listen)
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

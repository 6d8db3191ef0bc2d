"""``vsr upscale``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vsr.cli.batch import json_batch, quiet_batch, text_batch
from vsr.cli.command import Command, json_option
from vsr.cli.events import json_events, text_events
from vsr.cli.options import batch_options, run_options
from vsr.cli.output import CLOSED, echo, echo_json
from vsr.cli.params import is_folder
from vsr.cli.report import announce, report_text
from vsr.types.place import STANDARD

__all__ = ["upscale"]


@click.command(cls=Command)
@batch_options
@json_option("One JSON object per line on stdout instead of bar and report.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@run_options
@click.pass_context
def upscale(
    ctx: click.Context,
    /,
    sources: tuple[str, ...],
    destination: str | None,
    as_json: bool,
    quiet: bool,
    **wishes: Any,
) -> None:
    """Make the video SRC larger, and change nothing else about it.

    Sound, subtitles, chapters and all other streams go along; what cannot is named. The result gets
    its name when it is complete and has been read back. Progress goes to stderr, the report to
    stdout.

    A run that was stopped goes on with the same command: what is finished is kept in DST.vsr until
    the result is complete.

    SRC may be - for stdin, and DST - for stdout: then a Matroska stream comes out there, and the
    report goes to stderr.

    Of several SRC, each gets its result in the folder DST; what goes wrong with one does not stop
    the others. A playlist (.m3u, .m3u8) or @LIST, a text file with a path a line, stands for the
    files it names; @- reads them from stdin.
    """
    if destination == STANDARD and "stdout" in CLOSED:
        raise click.UsageError("-o - is stdout, and that is closed.")
    if destination == STANDARD and as_json:
        raise click.UsageError("--json and -o - both want stdout.")
    if as_json and quiet:
        raise click.UsageError("--json and --quiet exclude each other.")
    from pipelines.playlist import expand, is_list

    if len(sources) > 1 or is_list(sources[0]) or is_folder(destination):
        folder = _folder(destination)
        run = json_batch if as_json else quiet_batch if quiet else text_batch
        ctx.exit(run(expand(sources), folder, _given(wishes)))
    _one(sources[0], destination, wishes, as_json=as_json, quiet=quiet)


def _one(
    source: str, destination: str | None, wishes: dict[str, Any], *, as_json: bool, quiet: bool
) -> None:
    from pipelines.memory import keep_freed_memory
    from pipelines.upscale import expected_frames, prepare_upscale

    keep_freed_memory()
    plan, run = prepare_upscale(source, destination, **wishes)
    if quiet:
        run()
    elif as_json:
        echo_json({"event": "plan", "plan": plan})
        report = run(on_event=json_events())
        echo_json({"event": "report", "report": report})
    else:
        announce(plan)
        with text_events(expected_frames(plan)) as listen:
            report = run(on_event=listen)
        echo(report_text(plan, report), err=plan.destination == STANDARD)


def _folder(destination: str | None) -> Path | None:
    """The folder that is to get several results."""
    if destination is None:
        return None
    if destination == STANDARD:
        raise click.UsageError("-o - is for one SRC: several go into a folder.")
    if "://" in destination:
        raise click.UsageError(f"several SRC go into a folder, and {destination!r} is a URL.")
    path = Path(destination)
    if path.exists() and not path.is_dir():
        raise click.UsageError(f"several SRC go into a folder, and {destination!r} is a file.")
    if not path.exists() and path.suffix and not is_folder(destination):
        raise click.UsageError(
            f"several SRC go into a folder; if {destination!r} is to be one, write it with a slash "
            "at its end."
        )
    return path


def _given(wishes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wishes.items() if value is not None}

"""``vsr bench``."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import click

from vsr.cli.command import Command, json_option
from vsr.cli.output import echo, note
from vsr.cli.params import LocalPath, models
from vsr.types.plain import json_ready, to_plain

__all__ = ["bench"]


def _size(
    _context: click.Context, _param: click.Parameter, value: str | None
) -> tuple[int, int] | None:
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]{1,6})x([0-9]{1,6})", value)
    if match is None:
        raise click.BadParameter(f"{value!r} is no size. Write 640x360.")
    return int(match[1]), int(match[2])


@click.command(cls=Command)
@click.argument("clip", metavar="[FILE]", required=False, type=click.Path())
@click.option("--size", callback=_size, metavar="WxH", help="Of a made clip.  [default: 640x360]")
@click.option(
    *("-s", "--scale"),
    type=click.Choice(["2", "3", "4"]),
    default="2",
    help="How many times larger.",
)
@click.option("--model", shell_complete=models, default="fdiwn", metavar="NAME", help="Network.")
@click.option("--device", default="auto", metavar="NAME", help="auto, cpu, cuda or cuda:N.")
@click.option("--frames", type=click.IntRange(min=1), metavar="N", help="Frames end to end.")
@click.option("--quick", is_flag=True, help="320x180, fewer repetitions: a first impression.")
@click.option(
    *("-o", "--output"), type=LocalPath(), metavar="FILE", help="Write the JSON to FILE, too."
)
@click.option(*("-y", "--overwrite"), is_flag=True, help="Replace FILE if it is there.")
@json_option("Print JSON instead of Markdown.")
def bench(
    clip: str | None,
    size: tuple[int, int] | None,
    scale: str,
    model: str,
    device: str,
    frames: int | None,
    quick: bool,
    output: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Measure this machine: networks, stages, and a video from end to end.

    Compares every backend that can run here with the network as it is trained (ratio 1.00), and
    with what the hardware reaches. Let the machine do nothing else meanwhile.
    """
    if clip is not None and size is not None:
        raise click.UsageError("--size is that of a made clip: leave it out, or FILE.")
    from pipelines.bench.run import bench_text, run_bench
    from pipelines.report.files import new_files, save

    results = [Path(output)] if output else []
    sources = [clip] if clip else []
    with new_files(results, overwrite=overwrite, sources=sources) as files:
        result = run_bench(
            " ".join(["vsr", *map(shlex.quote, sys.argv[1:])]),
            clip,
            size=size or ((320, 180) if quick else (640, 360)),
            scale=int(scale),
            model=model,
            device=device,
            frames=frames or (4 if quick else 8),
            rounds=2 if quick else 3,
            tell=lambda text: note("measuring", text, "cyan"),
        )
        text = json.dumps(json_ready(to_plain(result)), indent=1)
        for file in files:
            save(file, text + "\n")
    echo(text if as_json else bench_text(result))

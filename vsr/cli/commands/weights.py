"""``vsr weights`` and its commands: verify, import, export, fetch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from vsr.cli.command import SETTINGS, Command, debug_option, json_option
from vsr.cli.output import echo, echo_json, note, size_text, table
from vsr.cli.params import LocalPath
from vsr.errors import EXIT_CODES, ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vsr.types import WeightsFile

__all__ = ["weights"]


@click.group(invoke_without_command=True, context_settings=SETTINGS, params=[debug_option()])
@json_option("Print them as a JSON list.")
@click.pass_context
def weights(ctx: click.Context, as_json: bool) -> None:
    """List the weights there are: what ships, and what you fetched or imported.

    `vsr upscale --weights NAME` uses a set by its name.
    """
    if ctx.invoked_subcommand is not None:
        return
    from vsr.models.cache import cache_folder
    from vsr.models.sets import all_weights
    from vsr.plan.weights import AUTHORS, SETS

    files = all_weights()
    if as_json:
        echo_json(files, indent=2)
        return
    shipped = [file for file in files if file.origin == "shipped"]
    own = [file for file in files if file.origin == "installed"]
    for heading, group in (("shipped", shipped), (f"installed, in {cache_folder()}", own)):
        if group:
            echo(heading)
            echo("\n".join(table([_row(file) for file in group])) + "\n")
    there = {file.set for file in files}
    lines = [(name, line) for name, line in SETS.items() if name in there]
    lines += [(name, "imported by you") for name in sorted(there - SETS.keys())]
    echo("sets, for --weights")
    echo("\n".join(table(lines)) + "\n")
    if AUTHORS not in there:
        echo("`vsr weights fetch authors` downloads the checkpoints of FDIWN's authors.")


def _row(file: WeightsFile) -> tuple[str, ...]:
    from pathlib import Path

    path = Path(file.path)
    size = size_text(path.stat().st_size) if path.is_file() else "missing"
    return file.set, file.model, f"x{file.scale}", size, f"SHA-256 {file.sha256[:16] or 'unknown'}"


@weights.command(cls=Command, short_help="Compare all files with their hashes.")
@json_option("Print the findings as a JSON list.")
@click.pass_context
def verify(ctx: click.Context, as_json: bool) -> None:
    """Compare every weights file, shipped or installed, with the hash it must have.

    The exit code is 7 if one is missing or damaged.
    """
    from pipelines.weights import verify_weights

    checked = verify_weights()
    if as_json:
        echo_json(checked, indent=2)
    else:
        rows = [
            (*_row(each.file)[:3], "ok" if each.problem is None else "damaged or missing")
            for each in checked
        ]
        echo("\n".join(table(rows)))
        for each in checked:
            if each.problem is not None:
                note("error", f"{each.file.path}: {each.problem}", "red")
    if any(each.problem for each in checked):
        ctx.exit(EXIT_CODES[ModelError])


@weights.command("import", cls=Command, short_help="Bring a file into your cache.")
@click.argument("file", type=click.Path())
@click.option("--name", required=True, metavar="NAME", help="The set it goes into.")
@click.option("-y", "--overwrite", is_flag=True, help="Replace what the set has for that scale.")
@json_option("Print what was installed as one JSON object.")
def import_(file: str, name: str, overwrite: bool, as_json: bool) -> None:
    """Bring the weights in FILE into your cache, where --weights NAME finds them.

    FILE is a checkpoint in the authors' format (.pt) or of ours (.safetensors). Model and scale are
    recognised by its tensors; nothing in it is executed.
    """
    from pipelines.weights import import_weights

    _tell([import_weights(file, name, overwrite=overwrite)], as_json=as_json)


@weights.command(cls=Command, short_help="Write a file as float16 .safetensors.")
@click.argument("file", type=click.Path())
@click.argument("destination", metavar="DST", type=LocalPath())
@click.option(
    "--dtype",
    type=click.Choice(["float16", "float32"]),
    default="float16",
    show_default=True,
    help="What weights are stored as; float16 costs less than 0.005 dB.",
)
@click.option("-y", "--overwrite", is_flag=True, help="Replace DST if it is already there.")
@json_option("Print what was written as one JSON object.")
def export(file: str, destination: str, dtype: str, overwrite: bool, as_json: bool) -> None:
    """Write the weights in FILE to DST (.safetensors) in float16, to ship or to hand on."""
    from pipelines.weights import export_weights

    done = export_weights(file, destination, half=dtype == "float16", overwrite=overwrite)
    if as_json:
        echo_json(done, indent=2)
    else:
        echo(f"{done.path}: {done.model} x{done.scale}, {dtype}, SHA-256 {done.sha256}")


@weights.command(cls=Command, short_help="Download the authors' checkpoints.")
@click.argument("name", metavar="authors", type=click.Choice(["authors"]))
@click.option("--from", "base", metavar="URL", help="Another server with the same files.")
@json_option("Print what is installed as a JSON list.")
def fetch(name: str, base: str | None, as_json: bool) -> None:
    """Download the checkpoints of FDIWN's authors into your cache, for --weights authors.

    Three files, 8.8 MB in all, from github.com/IVIPLab/FDIWN. Each must have the hash that this
    version knows. The authors state no licence.
    """
    from pipelines.weights import fetch_authors

    wishes: dict[str, Any] = {} if base is None else {"base": base}
    done = []
    for file, downloaded in fetch_authors(**wishes):
        how = "downloaded" if downloaded else "already there"
        echo(f"{name} {file.model} x{file.scale}: {how}", err=True)
        done.append(file)
    _tell(done, as_json=as_json, many=True)


def _tell(files: Sequence[WeightsFile], *, as_json: bool, many: bool = False) -> None:
    if as_json:
        echo_json(files if many else files[0], indent=2)
        return
    for file in files:
        echo(f"{file.path}")
    scales = ", ".join(f"{file.model} x{file.scale}" for file in files)
    echo(f"`--weights {files[0].set}` uses {'them' if many else 'it'} ({scales}).")

"""``vsr compare``."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from vsr.cli.command import Command, Option, json_option
from vsr.cli.output import clock_text, echo, echo_json, entries, size_text
from vsr.cli.params import LocalPath, seconds

if TYPE_CHECKING:
    from pipelines.compare import Comparison, FileFacts

__all__ = ["compare"]

_RESULT, _FRAMES, _PICTURES = "Result", "Frames", "Pictures"


def _times(
    context: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> tuple[Fraction, ...]:
    found = (seconds(context, param, value) for value in values)
    return tuple(time for time in found if time is not None)


def _crop(
    _context: click.Context, _param: click.Parameter, value: str | None
) -> tuple[int, int, int, int] | None:
    if value is None:
        return None
    match = re.fullmatch(r"(\d+),(\d+),(\d+),(\d+)", value.replace(" ", ""))
    if match is None:
        raise click.BadParameter(f"{value!r} is no X,Y,W,H, such as 640,300,320,240.")
    x, y, width, height = map(int, match.groups())
    return x, y, width, height


@click.command(cls=Command)
@click.argument("files", metavar="FILE FILE ...", type=click.Path(), nargs=-1, required=True)
@click.option(
    *("-o", "--output", "page"),
    cls=Option,
    section=_RESULT,
    type=LocalPath(),
    metavar="PAGE",
    help="The page.  [default: FILE_compare.html beside the first FILE, unless --still is given]",
)
@click.option(
    "--still",
    cls=Option,
    section=_RESULT,
    type=LocalPath(),
    metavar="PNG",
    help="A picture with a row for each frame and a column for each FILE.",
)
@click.option(
    *("-y", "--overwrite"),
    cls=Option,
    section=_RESULT,
    is_flag=True,
    help="Replace results that are already there.",
)
@click.option(
    "--frames",
    cls=Option,
    section=_FRAMES,
    type=click.IntRange(1, 24),
    metavar="N",
    help="N frames, evenly spaced.  [default: 8; 1 for a strip alone]",
)
@click.option(
    "--at",
    cls=Option,
    section=_FRAMES,
    callback=_times,
    multiple=True,
    metavar="TIME",
    help="The frame at this time: seconds or HH:MM:SS.mmm from the first. May be repeated.",
)
@click.option(
    "--enlarge",
    cls=Option,
    section=_PICTURES,
    type=click.Choice(["bicubic", "nearest"]),
    default="bicubic",
    help="How smaller pictures get the largest one's size.  [default: bicubic]",
)
@click.option(
    "--crop",
    cls=Option,
    section=_PICTURES,
    callback=_crop,
    metavar="X,Y,W,H",
    help="Only this part, in pixels of the largest picture.",
)
@click.option(
    "--zoom",
    cls=Option,
    section=_PICTURES,
    type=click.IntRange(1, 16),
    default=1,
    metavar="N",
    help="The strip shows each pixel N times as wide and high.",
)
@click.option(
    *("--no-labels", "labels"),
    cls=Option,
    section=_PICTURES,
    is_flag=True,
    flag_value=False,
    default=True,
    help="No names and times in the strip.",
)
@json_option("Print what was compared and written as one JSON object.")
def compare(files: tuple[str, ...], as_json: bool, **wishes: Any) -> None:
    """Show files that have the same frames side by side, at whatever sizes: a source and what was
    made from it.

    The result is one HTML file that a browser opens from the disk, a PNG file, or both. Frames are
    paired by time; a frame without a partner is an error.
    """
    source = click.get_current_context().get_parameter_source
    for name, option in (("zoom", "--zoom"), ("labels", "--no-labels")):
        if wishes["still"] is None and source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{option} belongs to the strip, which --still names.")
    from pipelines.compare import compare as run

    done = run(files, **wishes)
    if as_json:
        echo_json(done, indent=2)
    else:
        echo("\n".join(_text(done)))


def _text(done: Comparison) -> list[str]:
    lines = entries([(file.name, _facts(file)) for file in done.files], label=_widest(done))
    lines += entries([("frames", ", ".join(map(str, done.frames)))], label=_widest(done))
    for label, path in (("page", done.page), ("strip", done.still)):
        if path is not None:
            lines += entries([(label, path)], label=_widest(done))
    return lines + entries([("note", note) for note in done.notes], label=_widest(done))


def _widest(done: Comparison) -> int:
    return min(40, max(len("frames"), *(len(file.name) for file in done.files)))


def _facts(file: FileFacts) -> str:
    rate = "" if file.bit_rate is None else f", {file.bit_rate / 1000:.0f} kbit/s"
    return (
        f"{file.width}x{file.height}, {file.codec}, {file.frames} frames, "
        f"{clock_text(file.duration)}, {size_text(file.size)}{rate}"
    )

"""``vsr extract``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vsr.cli.command import Command, Option, json_option
from vsr.cli.events import text_events
from vsr.cli.output import clock_text, echo, echo_json, entries, size_text, time_text
from vsr.cli.params import LocalPath, index_range, seconds

if TYPE_CHECKING:
    from pipelines.extract import ExtractReport
    from pipelines.extract.check import CheckReport
    from vsr.media.read.scenes import Scene

__all__ = ["extract"]

_RESULT, _PART, _OTHER = "Result", "Which frames", "Instead of extracting"


F = TypeVar("F", bound=Callable[..., Any])


def _option(section: str, *names: str, **settings: Any) -> Callable[[F], F]:
    return click.option(*names, cls=Option, section=section, **settings)


@click.command(cls=Command)
@click.argument("source", metavar="SRC", type=click.Path())
@_option(
    _RESULT,
    *("-o", "--output", "destination"),
    type=LocalPath(),
    metavar="DST",
    help="FFV1 in .mkv or .mp4; or PNG files: FOLDER/ or frames_%06d.png, numbered by their index "
    "in SRC.  [default: SRC_clip.mkv beside SRC]",
)
@_option(_RESULT, *("-y", "--overwrite"), is_flag=True, help="Replace what is already there.")
@_option(
    _PART,
    "--start",
    callback=seconds,
    metavar="TIME",
    help="Begin here: seconds or HH:MM:SS.mmm from the first frame.",
)
@_option(_PART, "--end", callback=seconds, metavar="TIME", help="End before this time.")
@_option(_PART, "--frames", type=click.IntRange(min=1), metavar="N", help="Exactly N frames.")
@_option(
    _PART,
    *("--range", "indices"),
    callback=index_range,
    metavar="FIRST:STOP",
    help="Frames by index, from 0, without STOP itself: 1490:1538 are 48.",
)
@_option(
    _PART,
    "--scene",
    type=click.IntRange(min=1),
    metavar="N",
    help="The Nth scene between two cuts, from 1, as --list-scenes counts.",
)
@_option(
    _PART,
    "--video-stream",
    type=click.IntRange(min=0),
    metavar="N",
    help="Take stream N, as `vsr info` counts.  [default: the one marked as default]",
)
@_option(
    _OTHER,
    "--check",
    is_flag=True,
    help="SRC is a manifest, or a clip or folder that has one: read it and its source again and "
    "compare every frame.",
)
@_option(
    _OTHER,
    *("--source", "origin"),
    type=click.Path(),
    metavar="FILE",
    help="With --check: where the source is now.",
)
@_option(_OTHER, "--list-scenes", is_flag=True, help="Print the cuts of SRC.")
@json_option("Print the report, what was checked, or the scenes as one JSON object.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def extract(
    source: str,
    destination: str | None,
    check: bool,
    origin: str | None,
    list_scenes: bool,
    as_json: bool,
    quiet: bool,
    **wishes: Any,
) -> None:
    """Write exactly some frames of SRC, losslessly, with a manifest that proves it.

    The manifest (JSON, beside the result) has the source's SHA-256, and of every frame its index,
    timestamp and SHA-256: that of the same frame in a decode of the whole file. The result gets its
    name when it has been read back. Pictures only: sound and all other streams stay behind.
    """
    _one_thing(destination, check, origin, list_scenes, as_json, quiet, wishes)
    if check:
        from pipelines.extract.check import check_extract

        _show(check_extract(source, source=origin), as_json, quiet, _check_text)
    elif list_scenes:
        _list(source, wishes["video_stream"], as_json)
    else:
        _extract(source, destination, as_json, quiet, wishes)


def _one_thing(
    destination: str | None,
    check: bool,
    origin: str | None,
    listing: bool,
    as_json: bool,
    quiet: bool,
    wishes: dict[str, Any],
) -> None:
    if as_json and quiet:
        raise click.UsageError("--json and --quiet exclude each other.")
    if listing and quiet:
        raise click.UsageError("--list-scenes prints the scenes: --quiet leaves nothing of it.")
    if check and listing:
        raise click.UsageError("--check and --list-scenes exclude each other.")
    if origin is not None and not check:
        raise click.UsageError("--source goes with --check.")
    given = {name for name, value in wishes.items() if value not in (None, False, (None, None))}
    if listing:
        given.discard("video_stream")
    if (check or listing) and (given or destination is not None):
        word = "--check" if check else "--list-scenes"
        raise click.UsageError(f"{word} writes nothing and takes no part of SRC.")


def _extract(
    source: str, destination: str | None, as_json: bool, quiet: bool, wishes: dict[str, Any]
) -> None:
    from pipelines.extract import extract as run

    first, stop = wishes.pop("indices")
    wishes |= {"first": first, "stop": stop}
    if as_json or quiet:
        report = run(source, destination, **wishes)
    else:
        with text_events(wishes["frames"]) as listen:
            report = run(source, destination, on_event=listen, **wishes)
    _show(report, as_json, quiet, _report_text)


def _list(source: str, video_stream: int | None, as_json: bool) -> None:
    from pipelines.extract import list_scenes

    found = list_scenes(source, video_stream=video_stream)
    if as_json:
        echo_json({"scenes": list(found)}, indent=2)
        return
    echo(f"{'scene':>6}  {'first':>8}  {'frames':>7}  time")
    for scene in found:
        echo(_scene_line(scene))


def _scene_line(scene: Scene) -> str:
    length = scene.stop - scene.first
    return f"{scene.number:>6}  {scene.first:>8}  {length:>7}  {clock_text(scene.time)}"


def _show(report: Any, as_json: bool, quiet: bool, text: Any) -> None:
    if as_json:
        echo_json({"event": "report", "report": report}, indent=2)
    elif not quiet:
        echo("\n".join(text(report)))


def _report_text(report: ExtractReport) -> list[str]:
    first, last = report.frames[0], report.frames[-1]
    what = "FFV1" if report.kind == "video" else "PNG files"
    times = [_pts_text(frame.pts, report.time_base) for frame in (first, last)]
    how = "read off the packets" if report.found_by == "packets" else "counted by decoding"
    proof = "read back, every hash the same" if report.kind == "video" else "written"
    lines = [f"{report.destination}: {what}, {size_text(report.bytes)}"]
    lines += entries(
        [
            ("frames", f"{len(report.frames)}, {proof}"),
            ("indices", f"{first.index} to {last.index}, {how}"),
            ("pts", f"{times[0]} to {times[1]}, in ticks of {report.time_base} s"),
            ("sound", "none: pictures only"),
            ("manifest", report.manifest),
            ("time", time_text(report.seconds)),
        ],
        label=9,
        indent="  ",
    )
    damage = [
        f"{count} {what} of the source"
        for count, what in (
            (report.corrupt_packets, "packets that do not decode"),
            (report.concealed_frames, "damaged frames"),
        )
        if count
    ]
    return lines + _listed("given up", report.given_up) + _listed("damaged", damage)


def _pts_text(pts: int, time_base: Fraction) -> str:
    return f"{pts} ({clock_text(pts * time_base)})"


def _listed(heading: str, sentences: Iterable[str]) -> list[str]:
    rows = [("-", sentence) for sentence in sentences]
    return [f"  {heading}", *entries(rows, label=1, indent="    ")] if rows else []


def _check_text(report: CheckReport) -> list[str]:
    lines = [f"{report.clip}: all {report.frames} frames are as the manifest says"]
    if report.source is not None:
        lines.append(f"{report.source}: so are the source's")
    return lines + _listed("notes", report.notes)

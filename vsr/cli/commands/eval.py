"""``vsr eval``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from vsr.cli.command import Command, Option, json_option
from vsr.cli.eval_text import evaluation_text, suite_text
from vsr.cli.events import text_events
from vsr.cli.output import echo, echo_json, note
from vsr.cli.params import LocalPath, models, seconds, weights
from vsr.types.place import source_name

__all__ = ["eval_"]

F = TypeVar("F", bound=Callable[..., Any])

_WHAT, _HOW, _RESULT, _MACHINE = "What", "How", "Result", "Machine"


def _option(section: str, *names: str, **settings: Any) -> Callable[[F], F]:
    return click.option(*names, cls=Option, section=section, **settings)


def _names(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Any:
    return None if value is None else tuple(filter(None, map(str.strip, value.split(","))))


@click.command("eval", cls=Command)
@click.argument("clip", metavar="[CLIP]", required=False, type=click.Path())
@_option(_WHAT, "--reference", type=click.Path(), metavar="FILE", help="Ground truth of two files.")
@_option(_WHAT, "--distorted", type=click.Path(), metavar="FILE", help="What is judged against it.")
@_option(
    _WHAT, "--images", type=click.Path(), metavar="FOLDER", help="Benchmark images, such as Set5."
)
@_option(_WHAT, "--suite", type=click.Choice(["paper"]), help="The paper's table again.")
@_option(
    _WHAT, "--data", type=click.Path(), metavar="FOLDER", help="Where Set5, Set14 and so on are."
)
@_option(
    _WHAT,
    "--authors",
    metavar="NAME",
    help="The authors' weights for the suite: a folder with x2, x3, x4 in the files' names, or a "
    "set (`vsr weights`).",
)
@_option(
    _HOW,
    *("-s", "--scale"),
    type=click.Choice(["2", "3", "4"]),
    multiple=True,
    help="How many times larger; the suite has several.  [default: 2; suite: all]",
)
@_option(_HOW, "--model", shell_complete=models, default="fdiwn", metavar="NAME", help="Network.")
@_option(
    _HOW,
    "--weights",
    shell_complete=weights,
    metavar="NAME|FILE",
    help="A set of weights or a file; not chosen by SRC as in upscale.  [default: clean]",
)
@_option(
    _HOW,
    "--degrade",
    metavar="HOW",
    help="What makes CLIP small: bicubic, or video:crf=28,codec=x265 (encoded, too).  "
    "[default: bicubic]",
)
@_option(
    _HOW,
    "--metrics",
    callback=_names,
    metavar="A,B",
    help="psnr_y, ssim_y, psnr_rgb, ssim_rgb, ms_ssim, flicker, lpips, vmaf.  [default: all]",
)
@_option(
    _HOW,
    "--protocol",
    type=click.Choice(["video", "matlab"]),
    help="Which Y: the clip's own, or that of papers.  [default: video; images: matlab]",
)
@_option(
    _HOW,
    "--shave",
    type=click.IntRange(min=0),
    metavar="N",
    help="Pixels left out at each edge.  [default: video 0, matlab the scale; two files 0]",
)
@_option(
    _HOW,
    "--align",
    type=click.Choice(["pts", "start"]),
    default="pts",
    help="Pair two files' frames by timestamp, or by time since each one's first.",
)
@_option(_HOW, "--start", callback=seconds, metavar="TIME", help="Begin here, as in upscale.")
@_option(_HOW, "--end", callback=seconds, metavar="TIME", help="End before this time.")
@_option(_HOW, "--frames", type=click.IntRange(min=1), metavar="N", help="N frames at most.")
@_option(
    _RESULT,
    *("-o", "--output"),
    type=LocalPath(),
    metavar="FILE",
    help="Scores as FILE.json and FILE.csv.  [default: NAME_eval here, or beside the report]",
)
@_option(
    _RESULT, "--report", type=LocalPath(), metavar="HTML", help="A page with curves and pictures."
)
@_option(
    _RESULT,
    "--stills",
    type=click.IntRange(min=0, max=24),
    default=8,
    metavar="N",
    show_default=True,
    help="Frames shown in the report.",
)
@_option(_RESULT, *("-y", "--overwrite"), is_flag=True, help="Replace files that are there.")
@_option(_MACHINE, "--device", default="auto", metavar="NAME", help="auto, cpu, cuda or cuda:N.")
@_option(_MACHINE, "--backend", default="auto", metavar="NAME", help="What runs the network.")
@_option(
    _MACHINE,
    "--dtype",
    type=click.Choice(["auto", "float32", "float16", "bfloat16"]),
    default="auto",
    help="Storage type of the network.",
)
@json_option("Print the scores as one JSON object instead of a table.")
def eval_(
    clip: str | None,
    scale: tuple[str, ...],
    degrade: str | None,
    output: str | None,
    report: str | None,
    stills: int,
    overwrite: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Measure quality: how near results are to the ground truth.

    CLIP is made small, enlarged again and compared with itself; or --reference with --distorted;
    or a folder of --images by the protocol of papers; or the whole --suite of the paper. Scores
    go to stdout, and frame by frame into a JSON and a CSV file.
    """
    what = {name: given.pop(name) for name in _KINDS}
    kind = _kind(clip, what, degrade, scale, report)
    _nothing_idle(kind, report)
    from pipelines.evaluate import EvalOptions, result_files
    from pipelines.evaluate.suite import Suite

    options = EvalOptions(stills=stills if report else 0, **given)
    place = output or report or _default_name(kind, clip, what, scale)
    sources = [path for path in (clip, what["reference"], what["distorted"]) if path]
    with (
        result_files(place, report=report, overwrite=overwrite, sources=sources) as files,
        text_events(None) as listen,
    ):
        result = _run(kind, clip, what, scale, degrade, options, listen)
        files.write(result)
    if as_json:
        echo_json(result if isinstance(result, Suite) else result.evaluation, indent=1)
        return
    echo(suite_text(result) if isinstance(result, Suite) else evaluation_text(result.evaluation))
    for path in files.paths:
        note("written", str(path), "green")


_KINDS = ("reference", "distorted", "images", "suite", "data", "authors")


def _kind(
    clip: str | None,
    what: dict[str, str | None],
    degrade: str | None,
    scale: tuple[str, ...],
    report: str | None,
) -> str:
    """Which of the four kinds is meant, and nothing of another kind with it."""
    files = what["reference"] is not None or what["distorted"] is not None
    asked = {
        "CLIP": clip is not None,
        "--reference and --distorted": files,
        "--images": what["images"] is not None,
        "--suite": what["suite"] is not None,
    }
    names = [name for name, given in asked.items() if given]
    if len(names) != 1:
        raise click.UsageError(
            f"{' and '.join(names)} exclude each other."
            if names
            else "Name a CLIP, --reference with --distorted, --images or --suite."
        )
    (kind,) = names
    if files and None in (what["reference"], what["distorted"]):
        raise click.UsageError("--reference and --distorted belong together.")
    suite = kind == "--suite"
    for name in ("data", "authors"):
        if what[name] is not None and not suite:
            raise click.UsageError(f"--{name} belongs to --suite.")
    if suite and what["data"] is None:
        raise click.UsageError("--suite needs --data, the folder that has Set5 and so on in it.")
    if report is not None and not report.lower().endswith((".html", ".htm")):
        raise click.UsageError("--report is a page: its name ends with .html.")
    if suite and report:
        raise click.UsageError("--report shows one evaluation, not a suite: use --images.")
    if degrade is not None and kind != "CLIP":
        raise click.UsageError("--degrade belongs to a CLIP.")
    if files and scale:
        raise click.UsageError("--scale means nothing for two files.")
    if len(scale) > 1 and not suite:
        raise click.UsageError("One --scale at a time; only --suite takes several.")
    return kind


def _nothing_idle(kind: str, report: str | None) -> None:
    """Raise if an option was given that changes nothing of what is measured or shown."""
    source = click.get_current_context().get_parameter_source
    if report is None and source("stills") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--stills are shown in the page that --report names.")
    for name, why in _MEANINGLESS[kind].items():
        if source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name} means nothing for {_CALLED[kind]}: {why}.")


_CALLED = {
    "CLIP": "a CLIP",
    "--reference and --distorted": "two files",
    "--images": "--images",
    "--suite": "--suite",
}
_NO_NETWORK = "no network runs"
_NO_TIMES = "images have no times"
#: Options that would change nothing, by kind, and why.
_MEANINGLESS = {
    "CLIP": {"align": "it is compared with itself"},
    "--reference and --distorted": dict.fromkeys(
        ("model", "weights", "backend", "dtype"), _NO_NETWORK
    ),
    "--images": dict.fromkeys(("start", "end", "frames", "align"), _NO_TIMES),
    "--suite": {
        "metrics": "the paper has PSNR and SSIM on Y",
        **dict.fromkeys(("start", "end", "frames", "align"), _NO_TIMES),
    },
}


def _default_name(
    kind: str, clip: str | None, what: dict[str, str | None], scale: tuple[str, ...]
) -> str:
    if kind == "--suite":
        return "paper_eval"
    subject = clip or what["distorted"] or what["images"] or ""
    stem = Path(source_name(subject)).resolve()
    name = stem.name if stem.is_dir() else stem.stem
    times = "" if kind.startswith("--reference") else f"_x{scale[0] if scale else 2}"
    return f"{name}{times}_eval"


def _run(
    kind: str,
    clip: str | None,
    what: dict[str, str | None],
    scale: tuple[str, ...],
    degrade: str | None,
    options: Any,
    listen: Any,
) -> Any:
    from pipelines.evaluate import evaluate_clip, evaluate_files, evaluate_images, evaluate_suite
    from vsr.media.degrade import parse_degradation

    factor = int(scale[0]) if scale else 2
    if kind == "CLIP":
        worse = parse_degradation(degrade or "bicubic")
        return evaluate_clip(str(clip), factor, options, degradation=worse, on_event=listen)
    if kind == "--images":
        return evaluate_images(str(what["images"]), factor, options, on_event=listen)
    if kind == "--suite":
        scales = sorted({int(s) for s in scale}) or (2, 3, 4)
        return evaluate_suite(
            str(what["data"]), what["authors"], options, scales=scales, on_event=listen
        )
    return evaluate_files(str(what["reference"]), str(what["distorted"]), options, on_event=listen)

"""The options of ``vsr upscale``, which ``vsr plan`` shares: one table, in the help's order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, get_args

import click

from vsr.cli.command import Option
from vsr.cli.params import codecs, key_values, models, presets, seconds, weights
from vsr.plan import MATRIX_NAMES
from vsr.types import ChromaSite, ColorRange, Mode

__all__ = ["batch_options", "run_options", "upscale_options", "wish_options"]

F = TypeVar("F", bound=Callable[..., Any])

_SITES = {site.value: site for site in ChromaSite if site is not ChromaSite.UNSPECIFIED}
_RANGES = {"limited": ColorRange.LIMITED, "full": ColorRange.FULL}


def _from(table: dict[str, Any]) -> dict[str, Any]:
    """Settings of an option that takes a key of ``table`` and gives its value."""

    def convert(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Any:
        return None if value is None else table[value]

    return {"type": click.Choice(list(table)), "callback": convert}


def _option(section: str, *names: str, **settings: Any) -> Callable[[F], F]:
    return click.option(*names, cls=Option, section=section, **settings)


def _unless(_ctx: click.Context, _param: click.Parameter, value: bool) -> bool | None:
    """What ``--no-...`` means for the wish it turns off: off, or no wish."""
    return False if value else None


def _if(_ctx: click.Context, _param: click.Parameter, value: bool) -> bool | None:
    """A flag that is not given is no wish, so that a preset may still have it."""
    return value or None


def _no_more(_ctx: click.Context, _param: click.Parameter, more: tuple[str, ...]) -> None:
    if more:
        raise click.UsageError(f"one SRC at a time: what is {more[0]!r}? The result goes after -o.")


_RESULT, _PART, _ENCODING = "Result", "Part of the video", "Encoding"
_SOURCE, _MACHINE = "Reading the source", "Machine"

_OPTIONS = (
    click.argument("source", metavar="SRC", type=click.Path()),
    click.argument("more", metavar="", nargs=-1, expose_value=False, callback=_no_more),
    _option(
        _RESULT,
        *("-o", "--output", "destination"),
        type=click.Path(),
        metavar="DST",
        help="The result: .mp4, .mov, .mkv or .webm.  [default: SRC_x2.EXT beside SRC]",
    ),
    _option(
        _RESULT,
        *("-s", "--scale"),
        **_from({"2": 2, "3": 3, "4": 4}),
        help="How many times as wide and high.  [default: the preset's, else 2]",
    ),
    _option(
        _RESULT,
        *("-p", "--preset"),
        shell_complete=presets,
        metavar="NAME",
        help="A preset or its path; `vsr presets` lists them.",
    ),
    _option(
        _RESULT,
        "--model",
        shell_complete=models,
        metavar="NAME",
        help="Network: fdiwn, fdiwn-m, bicubic.",
    ),
    _option(
        _RESULT,
        "--weights",
        shell_complete=weights,
        metavar="NAME|FILE",
        help="A set of weights that `vsr weights` lists, or a file: .safetensors, or the authors' "
        ".pt.  [default: by SRC]",
    ),
    _option(
        _RESULT,
        "--mode",
        type=click.Choice(get_args(Mode)),
        help="What the network weights a frame by: the whole of it, its quarters as in the paper, "
        "or the frame before.  [default: exact]",
    ),
    _option(
        _RESULT, *("-y", "--overwrite"), is_flag=True, help="Replace DST if it is already there."
    ),
    _option(
        _RESULT,
        "--strict",
        is_flag=True,
        callback=_if,
        help="Fail if anything of SRC cannot go along.",
    ),
    _option(
        _RESULT,
        *("--no-verify", "verify"),
        is_flag=True,
        callback=_unless,
        help="Do not read the result back before it gets its name.",
    ),
    _option(
        _PART,
        "--start",
        callback=seconds,
        metavar="TIME",
        help="Begin here: seconds or HH:MM:SS.mmm from the first frame.",
    ),
    _option(_PART, "--end", callback=seconds, metavar="TIME", help="End before this time."),
    _option(_PART, "--frames", type=click.IntRange(min=1), metavar="N", help="N frames at most."),
    _option(
        _PART,
        "--video-stream",
        type=click.IntRange(min=0),
        metavar="N",
        help="Take stream N, as `vsr info` counts.  [default: the one marked as default]",
    ),
    _option(
        _ENCODING,
        "--codec",
        shell_complete=codecs,
        metavar="NAME",
        help="h264, hevc, av1, vp9, prores, ffv1; with an NVIDIA GPU h264_nvenc, hevc_nvenc, "
        "av1_nvenc; nvenc for whichever suits, or the CPU's if none can.",
    ),
    _option(
        _ENCODING,
        "--quality",
        type=click.IntRange(min=0),
        metavar="N",
        help="CRF or CQ of the encoder: lower is better and larger.",
    ),
    _option(
        _ENCODING, "--speed", metavar="WORD", help="Preset of the encoder: slow, medium, 6, p5."
    ),
    _option(
        _ENCODING,
        "--pix-fmt",
        metavar="NAME",
        help="Pixel format by FFmpeg's name.  [default: as SRC]",
    ),
    _option(
        _ENCODING,
        *("-x", "--encoder-option", "options"),
        callback=key_values,
        multiple=True,
        metavar="KEY=VALUE",
        help="An option of the encoder, such as tune=film. May be repeated. qp and b take the "
        "place of a quality.",
    ),
    _option(
        _SOURCE,
        "--deinterlace",
        type=click.Choice(["auto", "on", "off"]),
        help="bwdif, one frame per frame.  [default: auto, where SRC is interlaced]",
    ),
    _option(
        _SOURCE,
        "--on-resize",
        type=click.Choice(["error", "scale"]),
        help="If the picture size changes in the middle.  [default: error]",
    ),
    _option(
        _SOURCE,
        *("--color-matrix", "matrix"),
        **_from(dict(MATRIX_NAMES)),
        help="Take this for SRC's matrix, whatever its tags say.",
    ),
    _option(_SOURCE, *("--color-range", "range"), **_from(_RANGES), help="Likewise its range."),
    _option(_SOURCE, *("--chroma-site", "site"), **_from(_SITES), help="Likewise its chroma site."),
    _option(_MACHINE, "--device", metavar="NAME", help="auto, cpu, cuda or cuda:N."),
    _option(_MACHINE, "--backend", metavar="NAME", help="What runs the network; see `vsr doctor`."),
    _option(_MACHINE, "--reader", metavar="NAME", help="What decodes SRC; see `vsr doctor`."),
    _option(
        _MACHINE,
        "--dtype",
        type=click.Choice(["float32", "float16", "bfloat16"]),
        help="Storage type of the network.",
    ),
    _option(
        _MACHINE,
        "--batch",
        type=click.IntRange(1, 64),
        metavar="N",
        help="Frames per call of the network.",
    ),
)


def upscale_options(function: F) -> F:
    """Give a command ``SRC`` and all that :func:`pipelines.upscale.plan_upscale` can be asked for.

    The parameters have the names that function has for them.
    """
    for add in reversed(_OPTIONS):
        function = add(function)
    return function


_RUN_OPTIONS = (
    _option(
        _MACHINE,
        "--devices",
        metavar="LIST",
        help="Several workers: cuda:0,cuda:1, or cpu:2x1 for two with one thread each.",
    ),
    _option(
        _MACHINE,
        "--ray",
        metavar="ADDRESS",
        help="Workers on a Ray cluster: auto, or HOST:PORT of its head.",
    ),
    _option(
        _RESULT,
        "--fresh",
        is_flag=True,
        help="Begin anew, whatever is kept of a run that was stopped.",
    ),
    _option(
        _RESULT,
        *("--no-resume", "resume"),
        is_flag=True,
        flag_value=False,
        default=True,
        help="Keep nothing for a later run: write straight through.",
    ),
)


def run_options(function: F) -> F:
    """Give a command the options that say how a plan is run, not what it is."""
    for add in reversed(_RUN_OPTIONS):
        function = add(function)
    return function


def batch_options(function: F) -> F:
    """As :func:`upscale_options`, but with any number of sources, called ``sources``."""
    function = upscale_options(function)
    many = click.Argument(["sources"], metavar="SRC...", nargs=-1, required=True, type=click.Path())
    _params(function)[:] = [many, *_without(function, ("source", "more"))]
    return function


def wish_options(function: F) -> F:
    """The options that make sense for any number of files that nobody has seen yet.

    Those are all of :func:`upscale_options` but source, destination, and the part of the video.
    """
    own = len(getattr(function, "__click_params__", ()))
    function = upscale_options(function)
    params = _params(function)
    once = ("source", "more", "destination", "overwrite", "start", "end", "frames", "video_stream")
    params[own:] = [param for param in params[own:] if param.name not in once]
    return function


def _params(function: F) -> list[click.Parameter]:
    """What click's decorators have gathered, the last one first."""
    params: list[click.Parameter] = function.__click_params__  # type: ignore[attr-defined]
    return params


def _without(function: F, names: tuple[str, ...]) -> list[click.Parameter]:
    return [param for param in _params(function) if param.name not in names]

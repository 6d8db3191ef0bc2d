"""``vsr export``."""

from __future__ import annotations

import re

import click

from vsr.cli.command import Command, json_option
from vsr.cli.output import echo, echo_json, size_text
from vsr.cli.params import LocalPath, models, weights

__all__ = ["export"]

_SIZE = re.compile(r"([1-9][0-9]{0,5})x([1-9][0-9]{0,5})")


def _frame_size(
    _context: click.Context, _param: click.Parameter, value: str | None
) -> tuple[int, int] | None:
    if value is None:
        return None
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise click.BadParameter(f"{value!r} is no size. Write 640x360.")
    return int(match[1]), int(match[2])


@click.command(cls=Command)
@click.option(
    "--onnx", "destination", required=True, type=LocalPath(), metavar="DST", help="The file."
)
@click.option(
    *("-s", "--scale"),
    type=click.Choice(["2", "3", "4"]),
    default="2",
    show_default=True,
    help="How many times as wide and high.",
)
@click.option(
    "--model", default="fdiwn", show_default=True, shell_complete=models, metavar="NAME",
    help="Network: fdiwn, fdiwn-m.",
)  # fmt: skip
@click.option(
    "--weights",
    "weights_",
    shell_complete=weights,
    metavar="NAME|FILE",
    help="A set of weights that `vsr weights` lists, or a file.  [default: clean]",
)
@click.option(
    "--size",
    callback=_frame_size,
    metavar="WxH",
    help="Fix the frames' size, one frame at a time.  [default: any]",
)
@click.option(
    "--opset",
    type=int,
    default=17,
    show_default=True,
    metavar="N",
    help="Version of ONNX's operators, 17 to 21.",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16"]),
    default="float32",
    show_default=True,
    help="What the trunk is stored as; frames are float32 either way.",
)
@click.option(*("-y", "--overwrite"), is_flag=True, help="Replace DST if it is already there.")
@json_option("Print what was written as one JSON object.")
def export(
    destination: str,
    scale: str,
    model: str,
    weights_: str | None,
    size: tuple[int, int] | None,
    opset: int,
    dtype: str,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write a network as an ONNX file, for other runtimes.

    It takes RGB as (N, 3, H, W) float32 in 0..255 and returns it in that form, enlarged and not
    clamped. Before DST appears, a runtime's results are compared with torch's.
    """
    from pipelines.export import export_onnx

    done = export_onnx(
        destination,
        scale=int(scale),
        model=model,
        weights=weights_,
        size=size,
        opset=opset,
        dtype=dtype,
        overwrite=overwrite,
    )
    if as_json:
        echo_json(done, indent=2)
        return
    shape = "any size" if size is None else f"{size[0]}x{size[1]}"
    echo(f"{done.path}: {model} x{scale}, {dtype}, {shape}, opset {opset}, {size_text(done.bytes)}")
    echo(
        f"at most {done.difference:.2g} of 255 from torch in {done.checked_with}; "
        f"weights SHA-256 {done.weights_sha256[:16]}"
    )

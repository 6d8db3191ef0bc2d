"""``vsr train``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vsr.cli.command import Command, Option, json_option
from vsr.cli.output import echo, echo_json
from vsr.cli.params import FloatRange, LocalPath, duration, models

if TYPE_CHECKING:
    from vsr.training.settings import TrainSettings

__all__ = ["train"]

F = TypeVar("F", bound=Callable[..., Any])
_RUN, _LENGTH, _DATA = "Run", "How long", "Data"
_LEARNING, _MACHINE = "Learning", "Machine"
#: Peak learning rates where none is given: ours, and the authors'.
_RATES = {"cosine": 8e-4, "paper": 2e-4}


def _option(section: str, *names: str, **settings: Any) -> Callable[[F], F]:
    return click.option(*names, cls=Option, section=section, **settings)


@click.command(cls=Command)
@_option(
    _RUN, "--model", default="fdiwn", shell_complete=models, metavar="NAME",
    help="fdiwn or fdiwn-m.  [default: fdiwn]",
)  # fmt: skip
@_option(
    _RUN, *("-s", "--scale"), type=click.Choice(["2", "3", "4"]), default="2",
    help="Enlargement.  [default: 2]",
)  # fmt: skip
@_option(
    _RUN, *("-o", "--out"), required=True, type=LocalPath(), metavar="RUN",
    help="Folder of the run. If a run was stopped there, the same command goes on with it.",
)  # fmt: skip
@_option(
    _RUN, "--start-from", type=click.Path(), metavar="FILE",
    help="Weights to start from, of this or another scale or variant.",
)  # fmt: skip
@_option(
    _RUN, "--seed", type=click.IntRange(0, 2**63 - 1), default=1, metavar="N", help="[default: 1]"
)
@_option(
    _LENGTH, "--steps", type=click.IntRange(min=1), metavar="N",
    help="Optimiser steps.  [default: 100,000; the paper's schedule: 1,000,000]",
)  # fmt: skip
@_option(
    _LENGTH, "--time-budget", callback=duration, metavar="TIME",
    help="As many steps as fit into 25m, 1h30m, 90s, preparing included.",
)  # fmt: skip
@_option(
    _LENGTH, "--validate-every", type=click.IntRange(min=1), default=500, metavar="N",
    help="Steps between validations.  [default: 500]",
)  # fmt: skip
@_option(
    _LENGTH, "--save-every", type=click.IntRange(min=1), default=100, metavar="N",
    help="Steps between checkpoints.  [default: 100]",
)  # fmt: skip
@_option(
    _DATA, "--data", required=True, type=click.Path(), metavar="FOLDER",
    help="Images, in subfolders too: png, jpg, webp, bmp, tif. Runs in it are left out.",
)  # fmt: skip
@_option(
    _DATA, "--validation", type=click.Path(), metavar="FOLDER",
    help="Images to validate on, whole.  [default: every thirteenth of --data is held out]",
)  # fmt: skip
@_option(
    _DATA, "--degrade", type=click.Choice(["bicubic", "video"]), default="bicubic",
    help="video: LR goes through blur, noise and x264 or x265.  [default: bicubic]",
)  # fmt: skip
@_option(
    _DATA, "--drawings", type=click.IntRange(min=0), default=0, metavar="N",
    help="Train on N drawings as well: hard edges, stripes, letters.  [default: 0]",
)  # fmt: skip
@_option(
    _DATA, "--sizes", type=click.IntRange(min=1), default=1, metavar="N",
    help="Take every image in N sizes, each half the one before.  [default: 1]",
)  # fmt: skip
@_option(
    _DATA, "--contrast", is_flag=True,
    help="Take every image with more contrast besides: steeper edges.",
)  # fmt: skip
@_option(
    _DATA, "--store", type=LocalPath(), metavar="FOLDER",
    help="Where prepared images are kept, to share them between runs.  [default: RUN/store]",
)  # fmt: skip
@_option(
    _DATA, "--batch", type=click.IntRange(min=1), default=16, metavar="N",
    help="Crops in a step.  [default: 16]",
)  # fmt: skip
@_option(
    _DATA, "--patch", type=click.IntRange(min=8), default=48, metavar="N",
    help="Side of a crop in LR pixels.  [default: 48]",
)  # fmt: skip
@_option(
    _DATA, "--detail", type=click.IntRange(min=1), default=3, metavar="N",
    help="Of N places the most detailed is likeliest to be cropped; 1: all alike.  [default: 3]",
)  # fmt: skip
@_option(
    _LEARNING, "--rate", type=FloatRange(0, 1, min_open=True, max_open=True), metavar="X",
    help="Peak learning rate.  [default: 8e-4; the paper's schedule: 2e-4]",
)  # fmt: skip
@_option(
    _LEARNING, "--schedule", type=click.Choice(["cosine", "paper"]), default="cosine",
    help="cosine to nearly zero, or halved after each fifth.  [default: cosine]",
)  # fmt: skip
@_option(
    _LEARNING, "--warmup", type=FloatRange(0, 1, max_open=True), default=0.02, metavar="X",
    help="Share of the steps in which the rate rises.  [default: 0.02]",
)  # fmt: skip
@_option(_LEARNING, "--loss", type=click.Choice(["l1", "charbonnier", "psnr"]), default="l1",
         help="psnr: of each crop, luma before colour; to finish with.  [default: l1]")  # fmt: skip
@_option(
    _LEARNING, "--teacher", type=click.Path(), metavar="FILE",
    help="Weights of this scale, whose results for each picture in eight positions are learnt.",
)  # fmt: skip
@_option(
    _LEARNING, "--teacher-share", type=FloatRange(0, 1, min_open=True), metavar="X",
    help="Share of the teacher's results in what is learnt; the rest: originals.  [default: 0.75]",
)  # fmt: skip
@_option(_LEARNING, "--optimiser", type=click.Choice(["adam", "adamw", "muon"]), default="muon",
         help="muon: for convolutions, with Adam for the rest.  [default: muon]")  # fmt: skip
@_option(
    _LEARNING, "--weight-decay", type=FloatRange(0), default=0.0, metavar="X",
    help="AdamW's; an error with the others.  [default: 0]",
)  # fmt: skip
@_option(
    _LEARNING, "--average", type=FloatRange(0, 1, max_open=True), default=0.998, metavar="X",
    help="Decay of the moving average of the weights.  [default: 0.998]",
)  # fmt: skip
@_option(
    _LEARNING, "--clip", type=FloatRange(0), default=2.0, metavar="X",
    help="Clip gradients at X times their usual norm; 0: never.  [default: 2]",
)  # fmt: skip
@_option(_MACHINE, "--device", default="auto", metavar="NAME", help="auto, cpu, cuda or cuda:N.")
@_option(
    _MACHINE, "--precision", type=click.Choice(["auto", "float32", "bfloat16"]), default="auto",
    help="auto: bfloat16 where the device is faster at it.",
)  # fmt: skip
@_option(
    _MACHINE, "--compile", "compiled", type=click.Choice(["auto", "on", "off"]), default="auto",
    help="auto: on a GPU, and on a CPU that has no C++ of its own for the trunk, for runs of 500 "
    "steps or 10 minutes and more, where there is a C++ compiler.",
)  # fmt: skip
@_option(
    _MACHINE, "--cuda-graphs/--no-cuda-graphs", default=True,
    help="On a GPU, launch a step's kernels as one.  [default: yes]",
)  # fmt: skip
@json_option("One JSON object per line on stdout instead of bar and report.")
def train(
    out: str,
    store: str | None,
    device: str,
    precision: str,
    compiled: str,
    cuda_graphs: bool,
    as_json: bool,
    **wishes: Any,
) -> None:
    """Train a network on the images of a folder.

    RUN gets the best weights by validation (fdiwn_x2.safetensors, which --weights takes), log.csv,
    curves.png, and a checkpoint from which the same command goes on after a kill, exactly.
    """
    if wishes["steps"] and wishes["time_budget"]:
        raise click.UsageError("--steps and --time-budget exclude each other.")
    if wishes["teacher_share"] and not wishes["teacher"]:
        raise click.UsageError("--teacher-share is for --teacher FILE, which is missing.")
    from pipelines.memory import keep_freed_memory
    from pipelines.train import settle
    from pipelines.train import train as run
    from vsr.cli.training import json_listener, report_text, text_listener

    keep_freed_memory()
    wishes["rate"] = wishes["rate"] or _RATES[wishes["schedule"]]
    wishes["teacher_share"] = wishes["teacher_share"] or 0.75
    wishes["scale"], wishes["steps"] = int(wishes["scale"]), wishes["steps"] or 0
    settings: TrainSettings = settle(device, precision, compiled, **wishes)
    command = shlex.join(["vsr", *sys.argv[1:]])
    rest: dict[str, Any] = {
        "device": device, "store": store, "cuda_graphs": cuda_graphs, "command": command,
    }  # fmt: skip
    if as_json:
        report = run(settings, out, on_event=json_listener(), **rest)
        echo_json({"event": "report", "report": report})
    else:
        with text_listener() as listen:
            report = run(settings, out, on_event=listen, **rest)
        echo(report_text(report))

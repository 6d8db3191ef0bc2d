"""``vsr plan``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vsr.cli.command import Command, json_option
from vsr.cli.options import upscale_options
from vsr.cli.output import echo, echo_json, entries, rate_text, size_text, time_text
from vsr.cli.params import is_folder

if TYPE_CHECKING:
    from pipelines.predict import Prediction

__all__ = ["plan"]


@click.command(cls=Command)
@upscale_options
@json_option("Print plan and prediction as one JSON object.")
def plan(source: str, destination: str | None, as_json: bool, **wishes: Any) -> None:
    """Show what `vsr upscale` would do with the same SRC and options, and write nothing.

    That is: what becomes of each stream, how the colours are read, the encoder's settings, each
    with its reason; and time, size and memory, predicted from a few frames.
    """
    from pipelines.memory import keep_freed_memory
    from pipelines.predict import predict
    from pipelines.queue.names import name_in
    from pipelines.segments.cut import segment_length, why_whole
    from pipelines.upscale import plan_upscale
    from vsr.plan import describe

    keep_freed_memory()
    if destination is not None and is_folder(destination):
        given = {name: value for name, value in wishes.items() if value is not None}
        destination = str(name_in(Path(destination), source, given))
    planned = plan_upscale(source, destination, **wishes)
    if not as_json:
        echo(describe(planned) + "\n")
    prediction = predict(planned)
    if as_json:
        segments = {"frames": segment_length(planned), "why_whole": why_whole(planned)}
        echo_json({"plan": planned, "prediction": prediction, "segments": segments}, indent=2)
    else:
        stopped = _if_stopped(segment_length(planned), why_whole(planned))
        echo("\n".join(["prediction", *_prediction(prediction), *stopped]))


def _if_stopped(length: int, why_whole: str) -> list[str]:
    """What becomes of a run that is stopped, unless ``--no-resume`` is given."""
    text = f"begins anew, {why_whole}" if why_whole else f"goes on, in parts of {length:,} frames"
    return entries([("if stopped", text)], label=13)


def _prediction(prediction: Prediction) -> list[str]:
    unknown = "not known, because the source does not say how many frames it has"
    time = unknown if prediction.seconds is None else f"about {time_text(prediction.seconds)}"
    size = unknown if prediction.bytes is None else f"about {size_text(prediction.bytes)}"
    return entries(
        [
            ("time", f"{time}; {rate_text(prediction.fps)}"),
            ("size", size),
            ("memory", f"about {size_text(prediction.memory)}"),
            ("measured", prediction.how),
        ],
        label=13,
    )

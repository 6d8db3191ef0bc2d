"""Two files: a reference, and what somebody made of it."""

from __future__ import annotations

from pipelines.evaluate.clip_source import ClipSource
from pipelines.evaluate.machine import machine_settings
from pipelines.evaluate.options import EvalOptions, Outcome, check_options, name_of
from pipelines.evaluate.pairing import paired
from pipelines.evaluate.score import Entrant, Listener, Scorer
from vsr.engine.protocol import PROTOCOLS
from vsr.errors import InputError
from vsr.plan.color import matrix_label
from vsr.types import Evaluation

__all__ = ["evaluate_files"]


def evaluate_files(
    reference: str,
    distorted: str,
    options: EvalOptions | None = None,
    *,
    on_event: Listener | None = None,
) -> Outcome:
    """Measure ``distorted`` against ``reference``, frame by frame, paired by time.

    Args:
        reference: the ground truth.
        distorted: what is judged, of the same size.
        options: see there.
        on_event: called with progress.

    Raises:
        InputError: a file cannot be read, sizes differ, or a frame has no partner.
        VsrError: measures or device cannot be had.
    """
    options = options or EvalOptions()
    check_options(options)
    truth, result = ClipSource(reference, options), ClipSource(distorted, options)
    if truth.size != result.size:
        raise _sizes(truth, result)
    name = options.protocol or "video"
    protocol = PROTOCOLS[name]
    scorer = Scorer(
        [Entrant("distorted", name_of(distorted))],
        options,
        name,
        scale=1,
        temporal=True,
        bits=truth.format.bits,
        full_range=truth.full_range,
        timed=False,
        total=truth.total,
        tell=on_event,
    )
    with scorer:
        pairs = paired(
            truth.frames(noting=True),
            result.frames(noting=True),
            (reference, distorted),
            options.align,
        )
        for wanted, found in scorer.clock("decode").pulling(pairs):
            scorer.add(protocol.form(wanted), [protocol.form(found)])
        metrics, candidates, stills = scorer.finish()
    evaluation = Evaluation(
        kind="files",
        title=f"{name_of(distorted)} against {name_of(reference)}",
        time_base=truth.time_base,
        metrics=metrics,
        candidates=candidates,
        settings=(
            *truth.settings("reference"),
            *result.settings("distorted"),
            ("protocol", protocol.summary),
            ("shave", f"{scorer.shave} pixels"),
            ("paired by", _ALIGN[options.align]),
            *machine_settings(options),
        ),
        notes=(*truth.notes, *result.notes, *_conversions(truth, result), *scorer.notes),
    )
    return Outcome(evaluation, stills)


_ALIGN = {"pts": "timestamps", "start": "time since each file's first frame"}


def _sizes(truth: ClipSource, result: ClipSource) -> InputError:
    (width, height), (w, h) = truth.size, result.size
    remedy = "Both must show the same picture at the same size."
    for small, large, path in (((w, h), truth.size, result.path), (truth.size, (w, h), truth.path)):
        factor = large[0] // small[0] if small[0] else 0
        if factor in (2, 3, 4) and large == (small[0] * factor, small[1] * factor):
            remedy = f"{path} is exactly {factor} times smaller: has it been upscaled yet?"
    return InputError(
        f"it measures {w}x{h}, and the reference {truth.path} {width}x{height}",
        where=result.path,
        remedy=remedy,
    )


def _conversions(truth: ClipSource, result: ClipSource) -> list[str]:
    """What of the two is not the same, and what was done about it."""
    notes = []
    if truth.format.bits != result.format.bits:
        notes.append(
            f"{truth.path} has {truth.format.bits} bits, {result.path} {result.format.bits}; both "
            "were scaled to 8 and not rounded."
        )
    if (truth.color.matrix, truth.color.range) != (result.color.matrix, result.color.range):
        said = [
            f"{matrix_label(c.color.matrix)} {c.color.range.name.lower()}" for c in (truth, result)
        ]
        notes.append(
            f"{truth.path} is {said[0]}, {result.path} {said[1]}; the latter was converted, so "
            "that the same light is compared."
        )
    return notes

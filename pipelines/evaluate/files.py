"""Two files: a reference, and what somebody made of it."""

from __future__ import annotations

from pipelines.evaluate.clip_source import ClipSource
from pipelines.evaluate.machine import machine_settings
from pipelines.evaluate.options import EvalOptions, Outcome, check_options, name_of, part_text
from pipelines.evaluate.pairing import check_times, paired
from pipelines.evaluate.score import Entrant, Listener, Scorer
from vsr.engine.protocol import PROTOCOLS
from vsr.errors import InputError
from vsr.media.color.matrix import same_matrix
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
        distorted: what is judged, of the same size once both are turned as they are displayed.
        options: see there.
        on_event: called with progress.

    Raises:
        InputError: a file cannot be read, sizes differ, or a frame has no partner.
        VsrError: measures or device cannot be had.
    """
    options = options or EvalOptions()
    check_options(options)
    truth = ClipSource(reference, options)
    result = ClipSource(distorted, options, truth)
    if truth.shown_size != result.shown_size:
        raise _sizes(truth, result)
    name = options.protocol or "video"
    protocol = PROTOCOLS[name]
    names = (reference, distorted)
    starts = (truth.begins, result.begins) if options.align == "start" else None
    times = truth.times(), result.times()
    # Before hours of measuring; what a decoder makes of the packets is looked at all the same.
    if times[0] is not None and times[1] is not None:
        check_times(times[0], times[1], names, options.align, starts)
    scorer = Scorer(
        [Entrant("distorted", name_of(distorted))],
        options,
        name,
        scale=0,
        size=truth.shown_size,
        temporal=True,
        bits=truth.format.bits,
        full_range=truth.full_range,
        timed=False,
        total=truth.total if times[0] is None else len(times[0]),
        turns=(truth.display_matrix, result.display_matrix),
        tell=on_event,
    )
    with scorer:
        pairs = paired(
            truth.frames(noting=True), result.frames(noting=True), names, options.align, starts
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
            ("part", part_text(options)),
            ("protocol", protocol.summary),
            ("shave", f"{scorer.shave} pixels"),
            ("paired by", _ALIGN[options.align]),
            *machine_settings(options, network=False),
        ),
        notes=(
            *truth.notes,
            *result.notes,
            *_conversions(truth, result, name),
            *_geometry(truth, result),
            *_shift(truth, result, options),
            *_unshaved(options, name),
            *scorer.notes,
        ),
    )
    return Outcome(evaluation, stills)


_ALIGN = {"pts": "timestamps", "start": "time since each file's first frame"}


def _sizes(truth: ClipSource, result: ClipSource) -> InputError:
    (width, height), (w, h) = truth.shown_size, result.shown_size
    remedy = "Both must show the same picture at the same size."
    for small, large, path in (
        ((w, h), (width, height), result.path),
        ((width, height), (w, h), truth.path),
    ):
        factor = large[0] // small[0] if small[0] else 0
        if factor in (2, 3, 4) and large == (small[0] * factor, small[1] * factor):
            remedy = f"{path} is exactly {factor} times smaller: has it been upscaled yet?"
    return InputError(
        f"it measures {w}x{h}, and the reference {truth.path} {width}x{height}",
        where=result.path,
        remedy=remedy,
    )


def _conversions(truth: ClipSource, result: ClipSource, protocol: str) -> list[str]:
    """What of the two is not the same, and what was done about it."""
    notes = []
    exact = protocol == "video"
    if truth.format.bits != result.format.bits:
        done = "scaled to 8 and not rounded" if exact else "brought to RGB of 8 bits, rounded"
        notes.append(
            f"{truth.path} has {truth.format.bits} bits, {result.path} {result.format.bits}; both "
            f"were {done}."
        )
    one, other = truth.color, result.color
    if one.range is not other.range or not same_matrix(one.matrix, other.matrix):
        said = [f"{matrix_label(c.matrix)} {c.range.name.lower()}" for c in (one, other)]
        done = "the latter was converted" if exact else "each was brought to RGB by its own"
        notes.append(
            f"{truth.path} is {said[0]}, {result.path} {said[1]}; {done}, so that the same light "
            "is compared."
        )
    return notes


def _geometry(truth: ClipSource, result: ClipSource) -> list[str]:
    """What of their pictures' shape is not the same."""
    notes = []
    if truth.display_matrix != result.display_matrix:
        turned = [clip.path for clip in (truth, result) if clip.display_matrix is not None]
        notes.append(
            f"{' and '.join(turned)} {'is' if len(turned) == 1 else 'are'} turned or mirrored on "
            "display; pictures were compared upright."
        )
    if truth.shown_sar != result.shown_sar:
        said = [
            f"{clip.shown_sar.numerator}:{clip.shown_sar.denominator}" for clip in (truth, result)
        ]
        notes.append(
            f"Pixels of {truth.path} are {said[0]}, of {result.path} {said[1]}; they were compared "
            "as if they were the same."
        )
    return notes


def _shift(truth: ClipSource, result: ClipSource, options: EvalOptions) -> list[str]:
    """How far files lie apart that were laid over each other."""
    if options.align == "pts":
        return []
    late = result.begins - truth.begins
    if abs(late) <= max(truth.time_base, result.time_base) / 2:
        return []
    return [
        f"{result.path} begins {abs(float(late)):.3f} s {'later' if late > 0 else 'earlier'} than "
        f"{truth.path}; their first frames were taken for the same."
    ]


def _unshaved(options: EvalOptions, protocol: str) -> list[str]:
    if protocol == "video" or options.shave is not None:
        return []
    return [
        "Papers leave out as many pixels at each edge as the scale, which two files do not tell; "
        "none were left out. --shave does it."
    ]

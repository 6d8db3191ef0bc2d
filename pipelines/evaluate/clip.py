"""A good clip is made small and worse, enlarged again, and compared with itself."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from pipelines.evaluate.clip_source import ClipSource
from pipelines.evaluate.machine import contenders_for, machine_settings
from pipelines.evaluate.options import EvalOptions, Outcome, check_options, name_of, part_text
from pipelines.evaluate.score import Entrant, Listener, Scorer
from vsr.engine.contender import Contender
from vsr.engine.protocol import PROTOCOLS, EvaluationProtocol, cropped
from vsr.errors import DecodeError, InputError
from vsr.media.color import batch_to_rgb, from_rgb
from vsr.media.degrade import Degradation, check_codec, encode_decode
from vsr.types import Evaluation, FrameBatch

__all__ = ["evaluate_clip"]


def evaluate_clip(
    source: str,
    scale: int,
    options: EvalOptions | None = None,
    *,
    degradation: Degradation | None = None,
    on_event: Listener | None = None,
) -> Outcome:
    """Enlarge a clip from a small version of itself and measure how much comes back.

    Args:
        source: a clip without visible compression: it is the ground truth.
        scale: 2, 3 or 4.
        options: see there.
        degradation: what makes the small version; bicubic alone by default.
        on_event: called with progress.

    Raises:
        InputError: the clip cannot be read or is too small.
        VsrError: network, device or measures cannot be had; see :mod:`vsr.errors`.
    """
    options = options or EvalOptions()
    check_options(options)
    clip = ClipSource(source, options)
    width, height = clip.size
    if min(width, height) < scale:
        raise InputError(f"{width}x{height} cannot be made {scale} times smaller", where=source)
    worse = degradation or Degradation()
    if worse.codec is not None:
        check_codec(worse.codec, worse.crf, worse.preset, clip.format)
    name = options.protocol or "video"
    protocol = PROTOCOLS[name]
    contenders = contenders_for(scale, options, exact=name == "matlab")
    scorer = Scorer(
        [Entrant(c.name, c.label) for c in contenders],
        options,
        name,
        scale=scale,
        size=(width // scale * scale, height // scale * scale),
        temporal=True,
        bits=clip.format.bits,
        full_range=clip.full_range,
        timed=True,
        total=clip.total,
        tell=on_event,
    )
    with scorer:
        pairs = _pairs(clip, protocol, scale, worse)
        for truth, small in scorer.clock("decode").pulling(pairs):
            results, seconds = enlarge(contenders, small, truth, scorer)
            scorer.add(truth, results, source=small, seconds=seconds)
        metrics, candidates, stills = scorer.finish()
    evaluation = Evaluation(
        kind="clip",
        title=f"{name_of(source)}: x{scale} of its {worse} version",
        time_base=clip.time_base,
        metrics=metrics,
        candidates=candidates,
        settings=(
            *clip.settings("clip"),
            ("part", part_text(options)),
            ("scale", str(scale)),
            ("degradation", str(worse)),
            ("protocol", protocol.summary),
            ("shave", f"{scorer.shave} pixels"),
            *machine_settings(options, contenders),
        ),
        notes=(*clip.notes, *scorer.notes),
    )
    return Outcome(evaluation, stills)


def enlarge(
    contenders: Sequence[Contender], small: FrameBatch, truth: FrameBatch, scorer: Scorer
) -> tuple[list[FrameBatch], list[float]]:
    """Each contender's result for one frame, and the seconds it took."""
    results, seconds = [], []
    for contender in contenders:
        with scorer.clock("infer").work():
            begun = time.perf_counter()
            results.append(contender.enlarge(small, truth.format, truth.color))
            seconds.append(time.perf_counter() - begun)
    return results, seconds


def _pairs(
    clip: ClipSource, protocol: EvaluationProtocol, scale: int, worse: Degradation
) -> Iterator[tuple[FrameBatch, FrameBatch]]:
    """Ground truth and its small version, frame by frame."""

    def truths(*, noting: bool) -> Iterator[FrameBatch]:
        for batch in clip.frames(noting=noting):
            yield protocol.form(cropped(batch, scale))

    if worse.codec is None:
        for truth in truths(noting=True):
            yield truth, protocol.shrink(truth, scale)
        return
    # The encoder gives a frame when it has seen some dozens more; reading the clip twice costs
    # less than keeping the large frames meanwhile.
    small = (_coded(protocol.shrink(truth, scale), clip) for truth in truths(noting=False))
    coded = encode_decode(small, worse.codec, crf=worse.crf, preset=worse.preset, rate=clip.rate)
    for truth in truths(noting=True):
        found = next(coded, None)
        if found is None or found.pts != truth.pts:
            raise DecodeError(
                f"the frame at pts {truth.pts[0]} did not come back from {worse.codec}",
                where=clip.path,
            )
        yield truth, protocol.form(found)


def _coded(small: FrameBatch, clip: ClipSource) -> FrameBatch:
    """In the clip's own format again, which is what an encoder is given."""
    if small.format == clip.format:
        return small
    from dataclasses import replace

    rgb, _ = batch_to_rgb(small)
    planes = from_rgb(rgb, None, clip.format, clip.color)
    return replace(small, planes=planes, format=clip.format, color=clip.color)

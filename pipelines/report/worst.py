"""The frames to look at first."""

from __future__ import annotations

import math

from vsr.types.evaluation import Evaluation, FrameScore, MetricInfo

__all__ = ["primary_metric", "worst_frames"]


def primary_metric(evaluation: Evaluation) -> MetricInfo | None:
    """The measure that tells good frames from bad: the first that any of them has.

    Not all need have it: the first frame has no flicker.
    """
    there = {name for frame in _frames(evaluation) for name in frame.values}
    measures = (
        metric
        for metric in evaluation.metrics
        if metric.per_frame and metric.higher_is_better is not None and metric.name in there
    )
    return next(measures, None)


def worst_frames(evaluation: Evaluation, count: int = 5) -> tuple[int, ...]:
    """Where the first candidate does worst by :func:`primary_metric`.

    One bad moment of a clip is many bad frames. Of frames that lie closer to each other than a
    twentieth of the clip only the worst is given.

    Returns:
        At most ``count`` positions in ``candidates[0].frames``, the worst first; perfect frames
        (an infinite PSNR) and those without a value are none of them.
    """
    metric = primary_metric(evaluation)
    if metric is None:
        return ()
    frames = _frames(evaluation)
    sign = 1 if metric.higher_is_better else -1
    ranked = sorted(
        (sign * value, position)
        for position, frame in enumerate(frames)
        if math.isfinite(value := frame.values.get(metric.name, math.nan))
    )
    apart = 1 if evaluation.kind == "images" else max(1, len(frames) // 20)
    found: list[int] = []
    for _, position in ranked:
        if len(found) == count:
            break
        if all(abs(position - other) >= apart for other in found):
            found.append(position)
    return tuple(found)


def _frames(evaluation: Evaluation) -> tuple[FrameScore, ...]:
    return evaluation.candidates[0].frames if evaluation.candidates else ()

"""The tables of the page as HTML, all text escaped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from html import escape

from vsr.types.evaluation import Candidate, Evaluation, FrameScore, MetricInfo
from vsr.types.text import clock_text, figure_text

__all__ = ["frame_table", "frame_title", "notes_list", "settings_list", "summary_table"]

#: Rows of the table of all frames; a browser gets slow with more.
MOST_ROWS = 2000


def summary_table(evaluation: Evaluation) -> str:
    """Each candidate's figures over the whole clip, the best of each column marked.

    Under the figures of all but the first candidate stands how far they are from the first's.
    """
    metrics = [m for m in evaluation.metrics if any(m.name in c.summary for c in _all(evaluation))]
    head = "".join(_metric_head(metric) for metric in metrics)
    rows = "".join(
        f'<tr data-candidate="{escape(candidate.name)}">'
        + _candidate_head(candidate, at if candidate.frames else None)
        + "".join(_summary_cell(evaluation, candidate, metric) for metric in metrics)
        + "</tr>"
        for at, candidate in enumerate(_all(evaluation))
    )
    what = "file" if evaluation.kind == "compare" else "candidate"
    look = "figures equals" if evaluation.kind == "compare" else "figures"
    return (
        f'<table id="summary" class="{look}"><thead><tr><th scope="col">'
        f'<span class="hidden">{what}</span></th>{head}</tr></thead><tbody>{rows}</tbody></table>'
    )


def _all(evaluation: Evaluation) -> Sequence[Candidate]:
    return evaluation.candidates


def _metric_head(metric: MetricInfo) -> str:
    unit = f' <span class="unit">in {escape(metric.unit)}</span>' if metric.unit else ""
    better = {True: "higher is better", False: "lower is better", None: ""}
    says = better[metric.higher_is_better]
    arrow = {True: "↑", False: "↓", None: ""}[metric.higher_is_better]
    mark = f' <abbr class="way" title="{says}" aria-label="{says}">{arrow}</abbr>' if arrow else ""
    return f'<th scope="col">{escape(metric.label)}{unit}{mark}</th>'


def _candidate_head(candidate: Candidate, series: int | None) -> str:
    """The label, with the colour of its curves if it has any."""
    swatch = ""
    if series is not None:
        swatch = f'<span class="swatch series-{series % 6}" aria-hidden="true"></span>'
    return f'<th scope="row">{swatch}{escape(candidate.label)}</th>'


def _summary_cell(evaluation: Evaluation, candidate: Candidate, metric: MetricInfo) -> str:
    value = candidate.summary.get(metric.name)
    if value is None:
        return '<td class="none">–</td>'
    text = escape(figure_text(value, metric.decimals))
    if value == _best(evaluation, metric):
        text = f'<strong title="best">{text}</strong>'
    first = evaluation.candidates[0].summary.get(metric.name)
    apart = ""
    if metric.higher_is_better is not None and candidate is not evaluation.candidates[0]:
        apart = _difference(value, first, metric.decimals)
    return f'<td data-metric="{escape(metric.name)}">{text}{apart}</td>'


def _best(evaluation: Evaluation, metric: MetricInfo) -> float | None:
    values = [
        candidate.summary[metric.name]
        for candidate in evaluation.candidates
        if not math.isnan(candidate.summary.get(metric.name, math.nan))
    ]
    if metric.higher_is_better is None or len(values) < 2:
        return None
    return max(values) if metric.higher_is_better else min(values)


def _difference(value: float, first: float | None, decimals: int) -> str:
    if first is None or not (math.isfinite(value) and math.isfinite(first)):
        return '<span class="apart">&nbsp;</span>'
    text = figure_text(value - first, decimals)
    signed = text if text.startswith("−") else f"+{text}"
    return f'<span class="apart">{escape(signed)}</span>'


def frame_title(frame: FrameScore, time_base: Fraction | None, first_pts: int | None) -> str:
    """How a frame is called: the image's name, or the time since the first frame."""
    if frame.label or frame.pts is None or time_base is None:
        return frame.label
    return clock_text((frame.pts - (first_pts or 0)) * time_base)


def frame_table(evaluation: Evaluation) -> str:
    """Every frame's scores; empty if there are none."""
    frames = evaluation.candidates[0].frames
    scored = [candidate for candidate in evaluation.candidates if candidate.frames]
    metrics = [
        m for m in evaluation.metrics if m.per_frame and any(m.name in f.values for f in frames)
    ]
    if not frames or not metrics:
        return ""
    groups = "".join(
        f'<th scope="colgroup" colspan="{len(scored)}">{escape(metric.label)}'
        + (f' <span class="unit">in {escape(metric.unit)}</span>' if metric.unit else "")
        + "</th>"
        for metric in metrics
    )
    names = "".join(f'<th scope="col">{escape(c.label)}</th>' for _ in metrics for c in scored)
    what = "image" if evaluation.kind == "images" else "time"
    rows = "".join(_frame_rows(evaluation, scored, metrics))
    left = len(frames) - MOST_ROWS
    more = f"<p>{left} further frames are in the CSV file only.</p>" if left > 0 else ""
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="All frames">'
        '<table id="all" class="figures"><thead>'
        f'<tr><th scope="col" rowspan="2">#</th><th scope="col" rowspan="2">{what}</th>{groups}'
        f"</tr><tr>{names}</tr></thead><tbody>{rows}</tbody></table></div>{more}"
    )


def _frame_rows(
    evaluation: Evaluation, scored: Sequence[Candidate], metrics: Sequence[MetricInfo]
) -> Iterator[str]:
    frames = evaluation.candidates[0].frames
    for position, frame in enumerate(frames[:MOST_ROWS]):
        title = escape(frame_title(frame, evaluation.time_base, frames[0].pts))
        cells = "".join(
            f"<td>{_figure(candidate.frames[position].values.get(metric.name), metric)}</td>"
            for metric in metrics
            for candidate in scored
        )
        yield f'<tr><th scope="row">{frame.index}</th><td>{title}</td>{cells}</tr>'


def _figure(value: float | None, metric: MetricInfo) -> str:
    return "–" if value is None else escape(figure_text(value, metric.decimals))


def settings_list(settings: Iterable[tuple[str, str]]) -> str:
    """What was run, as a list of names and values."""
    return "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in settings)


def notes_list(notes: Iterable[str]) -> str:
    """Sentences, one for each item; empty if there are none."""
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<ul id="notes" class="notes">{items}</ul>' if items else ""

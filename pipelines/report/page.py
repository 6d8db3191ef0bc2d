"""The page: one HTML file that holds everything it shows and asks the network for nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from pipelines.report.check import check_evaluation, check_stills, png_size
from pipelines.report.files import utf8
from pipelines.report.pictures import fit_stills
from pipelines.report.tables import (
    frame_table,
    frame_title,
    notes_list,
    settings_list,
    summary_table,
)
from pipelines.report.worst import primary_metric, worst_frames
from vsr import __version__
from vsr.types.evaluation import Evaluation, MetricInfo
from vsr.types.stills import Still
from vsr.types.text import clock_text, figure_text, size_text

__all__ = ["render_page"]

_KINDS = {
    "clip": "Evaluation of a clip",
    "files": "Evaluation of files",
    "images": "Evaluation of images",
    "compare": "Comparison",
}
_SCRIPTS = ("viewer.js", "curves.js")
#: Where the page's own size goes, which is known when all else is there.
_SIZE = "\x00size\x00"


def render_page(evaluation: Evaluation, stills: Sequence[Still]) -> str:
    """A whole HTML document.

    Figures are in it as text. The pictures are PNG files inside the document; how many frames and
    how large a part of them is bounded, and said on the page. A content security policy allows
    the document's own style and scripts and nothing else, so that no name of a file or candidate
    can do anything but be shown.

    Args:
        evaluation: what was measured.
        stills: frames to look at, each with one picture per candidate and, as the case may be,
            source and ground truth; any order, may be empty. Their times are shown from the first
            scored frame on, or from 0 if no frame has scores.

    Raises:
        UsageError: candidates were not scored on the same frames, or pictures do not fit together.
    """
    check_evaluation(evaluation)
    check_stills(stills)
    worst = worst_frames(evaluation)
    frames = evaluation.candidates[0].frames
    shown = fit_stills(stills, [frames[position].index for position in worst])
    style = _part("page.css")
    scripts = [_part(name) for name in _SCRIPTS]
    metric = primary_metric(evaluation)
    page = Template(_part("page.html")).substitute(
        policy=_policy(style, scripts),
        style=style,
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
        kind=_KINDS[evaluation.kind],
        title=escape(evaluation.title),
        facts=escape(" · ".join([*_facts(evaluation), _SIZE])),
        summary=summary_table(evaluation),
        summary_note=_summary_note(evaluation),
        notes=notes_list([*evaluation.notes, *shown.notes]),
        no_pictures="" if shown.stills else "hidden",
        no_curves="" if metric else "hidden",
        worst=_worst_text(evaluation, metric),
        all_frames=frame_table(evaluation),
        no_frames="" if metric else "hidden",
        settings=settings_list(evaluation.settings),
        no_settings="" if evaluation.settings else "hidden",
        version=escape(__version__),
        data=_data(_page_data(evaluation, shown.stills, worst), "data"),
        stills="\n".join(_still(still, at) for at, still in enumerate(shown.stills)),
    )
    return page.replace(_SIZE, f"{size_text(len(utf8(page)))} in one file", 1)


def _part(name: str) -> str:
    return files("pipelines.report").joinpath(name).read_text(encoding="utf-8").strip("\n")


def _policy(style: str, scripts: Iterable[str]) -> str:
    allowed = " ".join(_source(script) for script in scripts)
    return (
        f"default-src 'none'; img-src data:; style-src {_source(style)}; script-src {allowed}; "
        "base-uri 'none'; form-action 'none'"
    )


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(utf8(text)).digest()).decode()}'"


def _facts(evaluation: Evaluation) -> list[str]:
    frames = evaluation.candidates[0].frames
    if not frames:
        return []
    unit = "image" if evaluation.kind == "images" else "frame"
    facts = [f"{len(frames):,} {unit}{'s' * (len(frames) != 1)}"]
    first, last = frames[0].pts, frames[-1].pts
    if evaluation.time_base is not None and first is not None and last is not None and last > first:
        facts.append(f"{clock_text((last - first) * evaluation.time_base)} from first to last")
    return facts


def _summary_note(evaluation: Evaluation) -> str:
    if len(evaluation.candidates) < 2 or evaluation.kind == "compare":
        return ""
    first = escape(evaluation.candidates[0].label)
    return f'<p class="small">Best of each column in bold; below, the difference from {first}.</p>'


def _worst_text(evaluation: Evaluation, metric: MetricInfo | None) -> str:
    """What the marked frames are."""
    if metric is None:
        return ""
    unit = "Images" if evaluation.kind == "images" else "Frames"
    return escape(f"{unit} where {evaluation.candidates[0].label} has its worst {metric.label}:")


def _page_data(
    evaluation: Evaluation, stills: Sequence[Still], worst: Sequence[int]
) -> dict[str, Any]:
    """What the scripts work with."""
    frames = evaluation.candidates[0].frames
    base = evaluation.time_base
    first = frames[0].pts if frames else None
    metrics = [
        metric
        for metric in evaluation.metrics
        if metric.per_frame and any(metric.name in frame.values for frame in frames)
    ]
    primary = primary_metric(evaluation)
    return {
        "kind": evaluation.kind,
        "frames": [[frame.index, frame_title(frame, base, first)] for frame in frames],
        "metrics": [
            {
                "name": metric.name,
                "label": metric.label,
                "unit": metric.unit,
                "decimals": metric.decimals,
                "better": metric.higher_is_better,
            }
            for metric in metrics
        ],
        "candidates": [
            {
                "name": candidate.name,
                "label": candidate.label,
                "series": at % 6,
                "values": {
                    metric.name: [_number(f.values.get(metric.name)) for f in candidate.frames]
                    for metric in metrics
                },
            }
            for at, candidate in enumerate(evaluation.candidates)
            if candidate.frames
        ],
        "worst": [
            {
                "frame": position,
                "text": _figure(frames[position].values[primary.name], primary),
            }
            for position in worst
            if primary is not None
        ],
        "stills": [
            {
                "index": still.index,
                "title": still.label or _time(evaluation, still, first),
                "pictures": [
                    {"name": p.name, "label": p.label, "size": png_size(p)} for p in still.pictures
                ],
            }
            for still in stills
        ],
    }


def _figure(value: float, metric: MetricInfo) -> str:
    return f"{figure_text(value, metric.decimals)} {metric.unit}".strip()


def _time(evaluation: Evaluation, still: Still, first: int | None) -> str:
    if still.pts is None or evaluation.time_base is None:
        return ""
    return clock_text((still.pts - (first or 0)) * evaluation.time_base)


def _number(value: float | None) -> float | str | None:
    """JSON has no infinity."""
    if value is None or math.isnan(value):
        return None
    return value if math.isfinite(value) else "Infinity" if value > 0 else "-Infinity"


def _still(still: Still, at: int) -> str:
    pictures = [base64.b64encode(picture.png).decode() for picture in still.pictures]
    return _data(pictures, f"still-{at}")


def _data(value: Any, name: str) -> str:
    # Nothing in it may end the element or begin a comment: HTML's script data states (13.2.5.4).
    text = json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{text}</script>'

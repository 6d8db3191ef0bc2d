"""Scores as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from vsr.cli.output import entries, table
from vsr.types.text import figure_text

if TYPE_CHECKING:
    from pipelines.evaluate import Suite, SuiteRow
    from vsr.types import Evaluation, MetricInfo

__all__ = ["evaluation_text", "suite_text"]

_PER = {"images": "image"}


def evaluation_text(evaluation: Evaluation) -> str:
    """A row for each measure, a column for each candidate, then how it was measured."""
    frames = len(evaluation.candidates[0].frames)
    thing = _PER.get(evaluation.kind, "frame")
    lines = [f"{evaluation.title}, {frames} {thing}{'' if frames == 1 else 's'}", ""]
    rows = [["", *(candidate.label for candidate in evaluation.candidates)]]
    for metric in evaluation.metrics:
        values = [c.summary.get(metric.name) for c in evaluation.candidates]
        rows.append([_label(metric, thing), *(_figure(value, metric) for value in values)])
    lines += _aligned(rows)
    settings = dict(evaluation.settings)
    lines.append("")
    lines += entries([(name, settings[name]) for name in ("protocol", "shave") if name in settings])
    lines += entries([("note", sentence) for sentence in evaluation.notes])
    return "\n".join(lines)


def _label(metric: MetricInfo, thing: str) -> str:
    name = metric.label
    if metric.higher_is_better is None:
        name = f"{name} per {thing}"
    elif metric.unit == "dB" and metric.per_frame:
        name = f"{name}, mean of {thing}s"
    return name if metric.higher_is_better is not False else f"{name}, lower is better"


def _figure(value: float | None, metric: MetricInfo) -> str:
    if value is None:
        return "-"
    return f"{figure_text(value, metric.decimals)} {metric.unit}".strip()


def suite_text(suite: Suite) -> str:
    """The paper's table: PSNR and SSIM side by side, then time, then what the network costs."""
    methods = list(dict.fromkeys(row.method for row in suite.rows))
    by_place: dict[tuple[str, int], dict[str, SuiteRow]] = {}
    for row in suite.rows:
        by_place.setdefault((row.dataset, row.scale), {})[row.method] = row
    quality = [["PSNR / SSIM on Y", *methods]]
    times = [["seconds per image", *(m for m in methods if m != "paper")]]
    for (dataset, scale), found in by_place.items():
        place = f"{dataset} x{scale}"
        quality.append([place, *(_pair(found[method]) for method in methods)])
        taken = [found[m].seconds for m in methods if m != "paper"]
        times.append([place, *("-" if s is None else f"{s:.2f}" for s in taken)])
    lines = [*_aligned(quality), "", *_aligned(times), ""]
    lines += _aligned(list(_costs(suite)))
    lines += ["", *entries([("note", sentence) for sentence in (*suite.notes, *_WHY)])]
    return "\n".join(lines)


_WHY = (
    "The paper's figures are those of networks run on four overlapping quarters of each image; "
    "compare them with those 'in quarters'. Whole images give 0.01 to 0.04 dB less, because the "
    "network weights features by statistics of all that it is given.",
    "Multiply-adds are those of all convolutions for an output of 1280x720, counted on the network "
    "as published. The trunk runs its groups more than once with shared weights, and each run is "
    "work: the paper's count is 2.4 times lower, which is nearer to what counting each group once "
    "gives (the column 'once'), and it does not say how it counts.",
)


def _pair(row: SuiteRow) -> str:
    if row.psnr_y is None or row.ssim_y is None:
        return "-"
    return f"{figure_text(row.psnr_y, 2)} / {figure_text(row.ssim_y, 4)}"


def _costs(suite: Suite) -> Iterator[list[str]]:
    yield ["cost", "parameters", "paper", "multiply-adds", "once", "paper"]
    for cost in suite.costs:
        yield [
            f"x{cost.scale}",
            f"{cost.parameters:,}",
            f"{cost.paper_parameters // 1000}K",
            *(
                f"{n / 1e9:.1f} G"
                for n in (cost.multiply_adds, cost.multiply_adds_once, cost.paper_multiply_adds)
            ),
        ]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    return [line.rstrip() for line in table([[*row, ""] for row in rows])]

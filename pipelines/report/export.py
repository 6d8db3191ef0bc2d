"""The figures as CSV, for a spreadsheet, and as JSON, for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipelines.report.check import check_evaluation
from pipelines.report.files import new_files, save
from vsr.types.evaluation import Evaluation
from vsr.types.plain import json_ready, to_plain

__all__ = ["csv_text", "json_text", "write_csv", "write_json"]


def write_csv(path: Path, evaluation: Evaluation, *, overwrite: bool = False) -> None:
    """Write :func:`csv_text` to ``path``, complete or not at all.

    Raises:
        OutputError: it cannot be written, or is already there and may not be replaced.
        UsageError: the evaluation contradicts itself.
    """
    _write(path, csv_text(evaluation), overwrite)


def write_json(path: Path, evaluation: Evaluation, *, overwrite: bool = False) -> None:
    """Write :func:`json_text` to ``path``, complete or not at all.

    Raises:
        OutputError: it cannot be written, or is already there and may not be replaced.
        UsageError: the evaluation contradicts itself.
    """
    _write(path, json_text(evaluation), overwrite)


def csv_text(evaluation: Evaluation) -> str:
    """Frame by frame, or without scores of frames the summary, as CSV (RFC 4180) with a header.

    A row for each frame: ``index``, ``pts``, ``seconds`` and ``label``, then a column
    ``CANDIDATE.METRIC`` for each score. Without frames, a row for each candidate: ``name``,
    ``label``, then a column for each metric. Numbers are as exact as they were measured; ``inf`` is
    an infinite one, and what was not measured is empty.
    """
    check_evaluation(evaluation)
    text = io.StringIO()
    csv.writer(text).writerows(_rows(evaluation))
    return text.getvalue()


def json_text(evaluation: Evaluation) -> str:
    """The evaluation as one JSON object, its fields those of :class:`Evaluation`.

    JSON has no infinity: such a value is the string ``"Infinity"``, ``"-Infinity"`` or ``"NaN"``,
    which Python's ``float`` and JavaScript's ``Number`` both understand.
    """
    check_evaluation(evaluation)
    return json.dumps(json_ready(to_plain(evaluation)), indent=1, ensure_ascii=False) + "\n"


def _rows(evaluation: Evaluation) -> Iterator[Iterable[object]]:
    frames = evaluation.candidates[0].frames
    if not frames:
        names = [metric.name for metric in evaluation.metrics]
        yield "name", "label", *names
        for candidate in evaluation.candidates:
            yield (
                candidate.name,
                candidate.label,
                *(candidate.summary.get(name, "") for name in names),
            )
        return
    names = [metric.name for metric in evaluation.metrics if metric.per_frame]
    scored = [candidate for candidate in evaluation.candidates if candidate.frames]
    columns = [f"{candidate.name}.{name}" for candidate in scored for name in names]
    yield "index", "pts", "seconds", "label", *columns
    for position, frame in enumerate(frames):
        seconds = ""
        if frame.pts is not None and evaluation.time_base is not None:
            seconds = f"{float(frame.pts * evaluation.time_base):.6f}"
        values = [
            candidate.frames[position].values.get(name, "")
            for candidate in scored
            for name in names
        ]
        yield frame.index, "" if frame.pts is None else frame.pts, seconds, frame.label, *values


def _write(path: Path, text: str, overwrite: bool) -> None:
    with new_files([path], overwrite=overwrite) as (file,):
        save(file, text)

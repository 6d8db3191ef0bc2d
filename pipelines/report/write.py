"""The page on the disk, alone or with its CSV and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipelines.report.export import csv_text, json_text
from pipelines.report.files import new_files, save
from pipelines.report.page import render_page
from vsr.errors import UsageError
from vsr.types.evaluation import Evaluation
from vsr.types.stills import Still

__all__ = ["write_all", "write_report"]


def write_report(
    path: Path, evaluation: Evaluation, stills: Sequence[Still], *, overwrite: bool = False
) -> None:
    """Write the page of :func:`~pipelines.report.page.render_page`, complete or not at all.

    Raises:
        OutputError: it cannot be written, or is already there and may not be replaced.
        UsageError: evaluation or pictures contradict themselves.
    """
    with new_files([path], overwrite=overwrite) as (file,):
        save(file, render_page(evaluation, stills))


def write_all(
    path: Path, evaluation: Evaluation, stills: Sequence[Still], *, overwrite: bool = False
) -> tuple[Path, Path, Path]:
    """Write the page, and CSV and JSON beside it under the same name.

    Args:
        path: of the page, such as ``report.html``.
        evaluation: what was measured.
        stills: frames to look at.
        overwrite: replace files that are already there.

    Returns:
        The three paths.

    Raises:
        OutputError: one cannot be written, or is already there and may not be replaced. None of
            the three is there then that was not before.
        UsageError: evaluation or pictures contradict themselves, or ``path`` ends in one of the
            other two's endings.
    """
    paths = (path, path.with_suffix(".csv"), path.with_suffix(".json"))
    if path in paths[1:]:
        raise UsageError(
            "the page cannot be named like the CSV and JSON files beside it",
            where=str(path),
            remedy="Call it .html.",
        )
    with new_files(paths, overwrite=overwrite) as (page, table, data):
        save(page, render_page(evaluation, stills))
        save(table, csv_text(evaluation))
        save(data, json_text(evaluation))
    return paths

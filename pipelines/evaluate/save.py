"""Results on disk: JSON with all of it, CSV with a row per frame, and the report."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipelines.evaluate.options import Outcome
from pipelines.evaluate.suite import Suite
from pipelines.report.export import csv_text, json_text
from pipelines.report.files import new_files, save
from pipelines.report.write import write_report
from vsr.errors import UsageError
from vsr.types.plain import json_ready, to_plain

__all__ = ["ResultFiles", "result_files", "result_paths", "suite_json"]


def result_paths(output: str) -> tuple[Path, Path]:
    """The JSON file and the CSV file beside it.

    Args:
        output: path with the ending ``.json``, ``.csv`` or ``.html``, or with none of these.

    Raises:
        UsageError: it can only be a folder.
    """
    path = Path(output)
    if path.name in ("", "..") or output.endswith((os.sep, os.altsep or os.sep)):
        raise UsageError(
            "the scores need the name of a file, and this is a folder",
            where=output,
            remedy="Name a file inside it: FILE becomes FILE.json and FILE.csv.",
        )
    known = path.suffix.lower() in (".json", ".csv", ".html", ".htm")
    stem = path.with_suffix("") if known else path
    return stem.with_name(f"{stem.name}.json"), stem.with_name(f"{stem.name}.csv")


@dataclass(frozen=True, slots=True)
class ResultFiles:
    """Files that wait for their content.

    Attributes:
        paths: the names they will have: JSON, CSV and perhaps the report.
        temporary: what they are called until then.
    """

    paths: tuple[Path, ...]
    temporary: tuple[Path, ...]

    def write(self, result: Outcome | Suite) -> None:
        """Write everything; the names follow when the block ends.

        Raises:
            OutputError: the disk failed.
        """
        data, table, *page = self.temporary
        if isinstance(result, Suite):
            save(data, suite_json(result) + "\n")
            save(table, _suite_csv(result))
            return
        save(data, json_text(result.evaluation))
        save(table, csv_text(result.evaluation))
        if page:
            write_report(page[0], result.evaluation, result.stills, overwrite=True)


@contextmanager
def result_files(
    output: str,
    *,
    report: str | None = None,
    overwrite: bool = False,
    sources: Sequence[str] = (),
) -> Iterator[ResultFiles]:
    """Claim the files before the work begins, so that no hours are lost to a name that is taken.

    They get their names together when the block ends. If it raises, nothing is left of them.

    Args:
        output: see :func:`result_paths`.
        report: the HTML file, ``None`` for none.
        overwrite: replace files that are there.
        sources: what is evaluated, which must not be replaced.

    Raises:
        UsageError: the report has the name of the scores, or they have none.
        OutputError: a file is there already, is a source, or cannot be written.
    """
    paths = (*result_paths(output), *([] if report is None else [Path(report)]))
    with new_files(paths, overwrite=overwrite, sources=sources) as temporary:
        yield ResultFiles(paths, tuple(temporary))


def suite_json(suite: Suite) -> str:
    """The suite as one JSON object, its fields those of :class:`Suite`."""
    return json.dumps(json_ready(to_plain(suite)), indent=1, ensure_ascii=False)


def _suite_csv(suite: Suite) -> str:
    """A row for each method on each benchmark at each scale."""
    text = io.StringIO()
    table = csv.writer(text)
    names = ("dataset", "scale", "method", "psnr_y", "ssim_y", "images", "seconds")
    table.writerow(names)
    for row in suite.rows:
        values: Sequence[object] = [getattr(row, name) for name in names]
        table.writerow(["" if value is None else value for value in values])
    return text.getvalue()

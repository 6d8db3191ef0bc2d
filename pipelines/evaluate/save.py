"""Results on disk: JSON with all of it, CSV with a row per frame, and the report.

The files are claimed before the work begins, so that a name that cannot be had costs no hours, and
get their names together at the end.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipelines.evaluate.options import Outcome
from pipelines.evaluate.suite import Suite
from vsr.errors import OutputError
from vsr.media.av_errors import av_errors
from vsr.media.write.atomic import AtomicFile
from vsr.types import Evaluation
from vsr.types.plain import to_plain

__all__ = ["ResultFiles", "plain_scores", "result_paths"]


def result_paths(output: str) -> tuple[Path, Path]:
    """The JSON file and the CSV file beside it.

    Args:
        output: path with the ending ``.json`` or ``.csv``, or with none of these.
    """
    path = Path(output)
    stem = path.with_suffix("") if path.suffix.lower() in (".json", ".csv") else path
    return stem.with_name(f"{stem.name}.json"), stem.with_name(f"{stem.name}.csv")


class ResultFiles:
    """JSON, CSV and (if wanted) the report. Use it in a ``with`` statement around the work.

    Args:
        output: see :func:`result_paths`.
        report: the HTML file, ``None`` for none.
        overwrite: replace files that are there.

    Attributes:
        paths: of the files, in the order in which people are told of them.

    Raises:
        OutputError: a file is there already, or cannot be written.
    """

    def __init__(self, output: str, *, report: str | None = None, overwrite: bool = False) -> None:
        self._json, self._csv = result_paths(output)
        self._report = None if report is None else Path(report)
        self._overwrite = overwrite
        self._stack = ExitStack()
        self._files: list[AtomicFile] = []
        self.paths = (self._json, self._csv, *([self._report] if self._report else []))

    def __enter__(self) -> Self:
        try:
            for path in self.paths:
                file = AtomicFile(str(path), overwrite=self._overwrite)
                self._stack.callback(file.discard)
                self._files.append(file)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def write(self, result: Outcome | Suite) -> None:
        """Write everything, then give the files their names.

        Raises:
            OutputError: the disk failed.
        """
        evaluation = result.evaluation if isinstance(result, Outcome) else None
        rows = _suite_rows(result) if isinstance(result, Suite) else _frame_rows(result.evaluation)
        text = json.dumps(plain_scores(evaluation or result), indent=1, ensure_ascii=False)
        data, table, *page = (file.path for file in self._files)
        with av_errors(self._json, "write the scores", OutputError):
            data.write_text(text + "\n", encoding="utf-8")
            with table.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows(rows)
        if page and isinstance(result, Outcome):
            from pipelines.report import write_report

            write_report(page[0], result.evaluation, result.stills, overwrite=True)
        for claimed in self._files:
            claimed.commit()


def plain_scores(value: Any) -> Any:
    """As :func:`vsr.types.plain.to_plain`; an infinite PSNR, which JSON lacks, is ``"Infinity"``.

    Python's ``float`` and JavaScript's ``Number`` both understand that.
    """
    return _finite(to_plain(value))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def _frame_rows(evaluation: Evaluation) -> Iterator[Sequence[object]]:
    """A row for each frame, a column ``CANDIDATE.METRIC`` for each score."""
    names = [metric.name for metric in evaluation.metrics if metric.per_frame]
    candidates = evaluation.candidates
    columns = [f"{candidate.name}.{name}" for candidate in candidates for name in names]
    yield ("index", "pts", "seconds", "label", *columns)
    for frames in zip(*(candidate.frames for candidate in candidates), strict=True):
        first = frames[0]
        seconds = ""
        if first.pts is not None and evaluation.time_base is not None:
            seconds = f"{float(first.pts * evaluation.time_base):.6f}"
        values = [frame.values.get(name, "") for frame in frames for name in names]
        yield (first.index, "" if first.pts is None else first.pts, seconds, first.label, *values)


def _suite_rows(suite: Suite) -> Iterator[Sequence[object]]:
    """A row for each method on each benchmark at each scale."""
    yield ("dataset", "scale", "method", "psnr_y", "ssim_y", "images", "seconds_per_image")
    for row in suite.rows:
        values = (row.psnr_y, row.ssim_y, row.images, row.seconds)
        yield (row.dataset, row.scale, row.method, *("" if v is None else v for v in values))

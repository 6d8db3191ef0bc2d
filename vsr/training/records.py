"""What a run leaves in its folder: checkpoint, log, curves. Each file is whole at any time."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from vsr.errors import InputError
from vsr.models.weights import unwritable, write_file

__all__ = ["Log", "LogRow", "load_checkpoint", "plot", "save_checkpoint"]


#: Changes when what a run is resumed from is arranged otherwise.
_FORMAT = 2


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write, flush to the disk, and only then replace the one before.

    Raises:
        OutputError: it cannot be written.
    """
    # torch says of a full disk that its own archive is damaged.
    archive = io.BytesIO()
    torch.save(content | {"format": _FORMAT}, archive)
    write_file(path, archive.getbuffer())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what :func:`save_checkpoint` wrote, onto the CPU; nothing in it is executed.

    Raises:
        InputError: it is damaged, or of another version.
    """
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # What torch's reader raises on a file of another kind has no type in common.
        raise InputError(
            "the checkpoint cannot be read",
            where=str(path),
            remedy="Delete it to begin this run anew.",
        ) from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise InputError(
            "the checkpoint is another version's and cannot be gone on from",
            where=str(path),
            remedy="Begin another run with --start-from and the weights beside it.",
        )
    return content


@dataclass(frozen=True, slots=True)
class LogRow:
    """A line of the log.

    Attributes:
        step: steps done. rate: learning rate of the last of them.
        loss: mean since the line before, codes; dB for ``psnr``.
        validation_psnr_y: of the average, dB, where it was validated; else empty.
        step_ms: milliseconds a step took since the line before, waiting included.
        waiting: share of that spent waiting for data, 0 to 1.
        seconds: since the run began, all its processes together.
    """

    step: int
    rate: float
    loss: float
    validation_psnr_y: float | None
    step_ms: float
    waiting: float
    seconds: float


class Log:
    """``log.csv``: a line every few steps.

    Args:
        path: the file. step: lines after this step are dropped: a killed run repeats them.

    Raises:
        InputError: there is one that cannot be read; so does :meth:`read`.
        OutputError: it cannot be written; so does :meth:`add`.
    """

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        rows = [row for row in self.read() if row.step <= step]
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([field.name for field in fields(LogRow)])
        writer.writerows(map(_cells, rows))
        write_file(path, text.getvalue().encode())

    def add(self, row: LogRow) -> None:
        """Append a line."""
        try:
            with self._path.open("a", newline="", encoding="utf-8") as file:
                csv.writer(file, lineterminator="\n").writerow(_cells(row))
        except OSError as error:
            raise unwritable(self._path.parent, error) from error

    def read(self) -> list[LogRow]:
        """All lines; one that was cut off by a kill is left out."""
        if not self._path.is_file():
            return []
        width = len(fields(LogRow))
        try:
            with self._path.open(newline="", encoding="utf-8") as file:
                _, *lines = list(csv.reader(file)) or [[]]
            return [_row(cells) for cells in lines if len(cells) == width and cells[-1]]
        except (OSError, ValueError, csv.Error) as error:
            raise InputError(
                f"the run's log cannot be read ({error})",
                where=str(self._path),
                remedy="Repair it, or delete it: the run then goes on with a new one.",
            ) from error


def _cells(row: LogRow) -> list[str]:
    return ["" if v is None else str(v) if isinstance(v, int) else f"{v:.6g}" for v in astuple(row)]


def _row(cells: list[str]) -> LogRow:
    step, rate, loss, psnr, step_ms, waiting, seconds = cells
    return LogRow(
        int(step), float(rate), float(loss), float(psnr) if psnr else None,
        float(step_ms), float(waiting), float(seconds),
    )  # fmt: skip


def plot(path: Path, rows: Sequence[LogRow], title: str, first_psnr: float) -> str:
    """Draw loss and validation PSNR (``first_psnr`` at step 0) over the steps as a PNG.

    Returns:
        Empty, or why there is no picture.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError:
        return "no curves were drawn: they need matplotlib (pip install 'fdiwn-vsr[train]')"
    figure = Figure(figsize=(9, 5), dpi=110, layout="constrained")
    left = figure.add_subplot()
    steps = [row.step for row in rows]
    left.plot(steps, [row.loss for row in rows], color="0.65", linewidth=0.8, label="loss")
    left.set_xlabel("step")
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.set_ylabel("loss")
    right = left.twinx()
    checked = [(row.step, row.validation_psnr_y) for row in rows if row.validation_psnr_y]
    checked.insert(0, (0, first_psnr))
    right.plot(*zip(*checked, strict=True), "o-", markersize=3, label="validation PSNR")
    right.set_ylabel("validation PSNR on Y, dB")
    figure.legend(loc="outside upper right", ncols=2)
    left.set_title(title, loc="left")
    png = io.BytesIO()
    figure.savefig(png, format="png")
    write_file(path, png.getbuffer())
    return ""

"""Curves of training runs: validation PSNR over the hours that they took.

Usage: ``python benchmarks/training_curves.py "LABEL=RUN,RUN" ... --svg FILE``. A line of the
picture is one run of ``vsr train`` after another, by the logs in their folders. All must have been
validated on the same pictures, or their figures cannot be compared.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import record

#: Settings that a run's row keeps, beside its points.
KEPT = (
    *("model", "scale", "steps", "batch", "patch", "rate", "loss", "average", "seed"),
    *("drawings", "sizes", "contrast", "teacher_share"),
)


def run_row(label: str, run: Path, begun: float) -> dict[str, Any]:
    """Settings and points, hours and dB, of a run that began after ``begun`` hours."""
    settings = json.loads((run / "settings.json").read_text(encoding="utf-8"))
    with (run / "log.csv").open(newline="", encoding="utf-8") as file:
        lines = [line for line in csv.DictReader(file) if line["validation_psnr_y"]]
    row = {"line": label} | {name: settings[name] for name in KEPT if name in settings}
    if not settings.get("teacher"):
        row.pop("teacher_share", None)
    row["points"] = [
        [round(begun + float(line["seconds"]) / 3600, 3), float(line["validation_psnr_y"])]
        for line in lines
    ]
    return row


def draw(path: Path, rows: list[dict[str, Any]]) -> None:
    """The picture, the same bytes for the same rows."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams.update({"svg.hashsalt": "curves", "svg.fonttype": "none"})
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for number, label in enumerate(dict.fromkeys(row["line"] for row in rows)):
        first = True
        for row in rows:
            if row["line"] != label:
                continue
            hours, psnr = zip(*row["points"], strict=True)
            name = label if first else None
            axes.plot(hours, psnr, "o-", color=f"C{number}", markersize=3, label=name)
            first = False
    axes.set_xlabel("hours of a core")
    axes.set_ylabel("PSNR on Y of held-out photos, dB")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, format="svg", metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("lines", nargs="+", metavar="LABEL=RUN,RUN")
    parser.add_argument("--svg", type=Path, required=True, metavar="FILE")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for line in arguments.lines:
        label, _, runs = line.partition("=")
        begun = 0.0
        for run in runs.split(","):
            rows.append(run_row(label, Path(run), begun))
            begun = rows[-1]["points"][-1][0]
    draw(arguments.svg, rows)
    print("| line | steps | hours | dB |\n|---|---|---|---|")
    for row in rows:
        hours, psnr = row["points"][-1]
        print(f"| {row['line']} | {row['steps']:,} | {hours:.2f} | {psnr:.3f} |")
    print(record.save("training-curves", rows).name)


if __name__ == "__main__":
    main()

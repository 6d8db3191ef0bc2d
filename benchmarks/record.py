"""Keep a benchmark's figures as JSON, with what is needed to make them again."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.bench.machine import commit, machine

#: ``VSR_RESULTS`` names another folder, such as one that outlives a borrowed machine.
RESULTS = Path(os.environ.get("VSR_RESULTS") or Path(__file__).resolve().parent / "results")


def save(name: str, rows: list[dict[str, Any]]) -> Path:
    """Write ``results/<name>.json``: machine, commit (if known), command, date and the rows."""
    arguments = [Path(sys.argv[0]).name, *sys.argv[1:]]
    record = {
        "command": " ".join(["python", "benchmarks/" + arguments[0], *arguments[1:]]),
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "rows": rows,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    return path

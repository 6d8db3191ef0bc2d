"""What the build says of the C++ libraries: which sources they are from, or why there are none.

Imports nothing of the package: ``hatch_build.py`` uses it before there is one.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

__all__ = ["RECORD", "digest", "problem", "write_record"]

#: Name of the record, which lies beside the libraries.
RECORD = "build.json"
#: A checkout has the sources beside the package.
_SOURCES = Path(__file__).parents[1] / "native"


def digest(folder: Path) -> str:
    """SHA-256 of the C++ sources in ``folder``, with their names."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in {".cpp", ".h", ".txt"}:
            content = path.read_bytes()
            name = path.relative_to(folder).as_posix()
            found.update(f"{name} {len(content)}\n".encode() + content)
    return found.hexdigest()


def write_record(record: Path, sources: Path, why: str) -> None:
    """Write down what was built from ``sources``, or ``why`` nothing was."""
    content = {"sources": digest(sources), "why": why}
    beside = record.with_name(f".{record.name}.part")
    beside.write_text(json.dumps(content) + "\n", encoding="utf-8")
    beside.replace(record)


def problem(record: Path) -> str:
    """What a record says against the libraries beside it; empty if nothing."""
    if not record.is_file():
        return "it has not been built here"
    try:
        said = json.loads(record.read_text(encoding="utf-8"))
        why, sources = said["why"], said["sources"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        return f"the record of its build cannot be read ({error}): install the package again"
    if why:
        return f"it was not built: {why}"
    # The sources of a checkout may have changed since. Beside an installed package lies whatever
    # others have called so.
    if (_SOURCES / "CMakeLists.txt").is_file() and digest(_SOURCES) != sources:
        return "its library was built from other sources than these"
    return ""

"""Which sources a library was built from. Imports nothing of the package: the build uses it too."""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = ["digest"]


def digest(folder: Path) -> str:
    """SHA-256 of the C++ engine's sources in ``folder``, with their names."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in {".cpp", ".h", ".txt"}:
            content = path.read_bytes()
            name = path.relative_to(folder).as_posix()
            found.update(f"{name} {len(content)}\n".encode() + content)
    return found.hexdigest()

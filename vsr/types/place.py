"""Where sources and results are: in files of this machine, or somewhere else."""

from __future__ import annotations

import stat
from pathlib import Path

__all__ = ["STANDARD", "is_once", "on_disk", "result_name", "source_name"]

#: Standard input as a source, standard output as a result. A file of that name is ``./-``.
STANDARD = "-"

# What gives its bytes once, and to whoever comes first.
_ONCE = (stat.S_ISFIFO, stat.S_ISCHR, stat.S_ISSOCK)


def is_once(source: str) -> bool:
    """Whether a source gives its bytes once: standard input, a named pipe, a shell's ``<(...)``."""
    if source == STANDARD:
        return True
    try:
        mode = Path(source).stat().st_mode
    except (OSError, ValueError):  # nothing there, a URL, or no name at all
        return False
    return any(kind(mode) for kind in _ONCE)


def on_disk(source: str) -> bool:
    """Whether a source is a file of this machine, which can be read again: no URL and no pipe."""
    return "://" not in source and not is_once(source)


def source_name(source: str) -> str:
    """What to call a source towards people."""
    return "stdin" if source == STANDARD else source


def result_name(destination: str) -> str:
    """What to call a result towards people."""
    return "stdout" if destination == STANDARD else destination

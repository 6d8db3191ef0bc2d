"""The command line: parses, calls one function, prints what it returns."""

from __future__ import annotations

import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run ``vsr`` on the arguments of this process, and end it."""
    try:
        from vsr.cli.entry import main as run
    except KeyboardInterrupt:
        # On a busy machine, loading the modules takes long enough to be stopped.
        sys.exit(130)
    run()

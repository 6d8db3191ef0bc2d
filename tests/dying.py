"""A worker process that dies at once; imports nothing, so that it starts quickly."""

from __future__ import annotations

import os

__all__ = ["dies"]


def dies(*_: object) -> None:
    """End this process as a crash would."""
    os._exit(9)

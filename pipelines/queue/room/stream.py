"""A stream for a log whose disk may be full."""

from __future__ import annotations

import errno
import io
from typing import Any, TextIO

__all__ = ["FULL", "log_stream"]

#: Errors of a full disk, or of a used-up quota.
FULL = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})

_GAP = b"\n(the disk was full: something is missing here)\n"


class _Raw(io.FileIO):
    """Drops what there is no room for, and says so in its place as soon as there is."""

    _gap = False

    def write(self, data: Any, /) -> int:
        size = len(data)
        try:
            if self._gap:
                super().write(_GAP)
                self._gap = False
            return super().write(data)
        except OSError as error:
            if error.errno not in FULL:
                raise
            self._gap = True
            return size


def log_stream(file: int) -> TextIO:
    """A text stream to the open ``file``, a line at a time; what it has no room for is left out.

    A run that ends for want of room must not break because its log, on the same disk, cannot say
    so: whoever ordered the run is told by other means.
    """
    raw = io.BufferedWriter(_Raw(file, "wb", closefd=False))
    return io.TextIOWrapper(raw, "utf-8", "backslashreplace", line_buffering=True)

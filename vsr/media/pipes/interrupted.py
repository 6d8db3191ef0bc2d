"""Ctrl-C while FFmpeg waits for a pipe.

PyAV carries exceptions of a file-like object through FFmpeg to whoever called that, but only those
that are an :class:`Exception`. Others it prints, and goes on with nonsense.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Interrupted", "carried", "carrying"]


class Interrupted(Exception):  # noqa: N818 - what it carries is no error
    """Its cause, a :class:`KeyboardInterrupt` or the like, on its way through FFmpeg."""


@contextmanager
def carrying() -> Iterator[None]:
    """Let what is no :class:`Exception` come out of a block as :class:`Interrupted`."""
    try:
        yield
    except Exception:
        raise
    except BaseException as stop:
        raise Interrupted from stop


@contextmanager
def carried() -> Iterator[None]:
    """Let it come out of a block that calls FFmpeg as what it was."""
    try:
        yield
    except Interrupted as error:
        if error.__cause__ is None:
            raise
        raise error.__cause__ from None

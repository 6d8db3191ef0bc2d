"""How things are written: to which stream, in which units, as text or as JSON."""

from __future__ import annotations

import json
import os
import re
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import click

from vsr.errors import OutputError
from vsr.types.plain import json_ready, to_plain
from vsr.types.text import clock_text, size_text

__all__ = [
    "CLOSED",
    "StdoutError",
    "clock_text",
    "echo",
    "echo_json",
    "entries",
    "hang",
    "note",
    "one_line",
    "rate_text",
    "size_text",
    "table",
    "time_text",
]


#: Standard streams that the caller has closed, by name.
CLOSED: set[str] = set()

# What a terminal obeys instead of showing it (C0 and C1, but for what ends or indents lines), and
# colours, which are ours: nothing but echo() lets them pass.
_CONTROL = r"[\x00-\x08\x0b-\x1f\x7f-\x9f]"
_COLORED = re.compile(rf"(\x1b\[[0-9;]*m)|{_CONTROL}")
# textwrap makes spaces of these.
_BLANKS = str.maketrans("\r\v\f", "   ")


class StdoutError(OutputError):
    """What a command has to say cannot be written."""


def echo(text: str = "", *, err: bool = False) -> None:
    """Write a line; colour reaches terminals only, and none if ``NO_COLOR`` is set.

    Other control characters, which titles and file names may hold, become ``?``.

    Raises:
        StdoutError: it cannot be written. BrokenPipeError: nobody reads it any more.
    """
    try:
        shown = _COLORED.sub(lambda found: found[1] or "?", text)
        click.echo(shown, err=err, color=False if os.environ.get("NO_COLOR") else None)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StdoutError(
            f"cannot write what there is to say: {error.strerror}",
            where="stderr" if err else "stdout",
            remedy="What was made before that stays.",
        ) from error


def one_line(text: str) -> str:
    """``text`` with ``?`` for what ends a line: a file's name must not begin one of its own."""
    return re.sub(r"[\n\u2028\u2029]", "?", text)


def note(label: str, text: str, color: str) -> None:
    """Write ``label: text`` to stderr, the label coloured."""
    echo(f"{click.style(f'{label}:', fg=color, bold=True)} {_plain(text)}", err=True)


def _plain(text: str) -> str:
    """``text``, which may come from a file, without what a terminal would obey."""
    return re.sub(_CONTROL, "?", text)


def echo_json(value: Any, *, indent: int | None = None) -> None:
    """Write a value to stdout as JSON, on one line unless indented."""
    echo(json.dumps(json_ready(to_plain(value)), indent=indent))


def width() -> int:
    """Columns that text takes: the terminal's, between 60 and 100."""
    return min(max(shutil.get_terminal_size((100, 24)).columns, 60), 100)


def hang(head: str, text: str, *, size: int | None = None) -> list[str]:
    """``text`` wrapped to the right of ``head``.

    Args:
        head: what stands on the left of the first line.
        text: what is wrapped; nothing is broken at hyphens, so that names stay whole.
        size: columns that ``head`` takes, if it holds colour codes.
    """
    indent = " " * (len(head) if size is None else size)
    room = max(width() - len(indent), 24)
    text = _plain(text.translate(_BLANKS))
    wrapped = textwrap.wrap(text, room, break_on_hyphens=False, break_long_words=False) or [""]
    return [(head + wrapped[0]).rstrip(), *(indent + line for line in wrapped[1:])]


def entries(rows: Iterable[tuple[str, str]], *, label: int = 12, indent: str = "") -> list[str]:
    """``label  text`` lines, the text wrapped beside its label."""
    heads = ((f"{indent}{_plain(name).ljust(label)} ", text) for name, text in rows)
    return [line for head, text in heads for line in hang(head, text)]


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as aligned columns, indented, the last one wrapped."""
    widths = [max(map(len, column)) for column in zip(*(row[:-1] for row in rows), strict=True)]
    lines = []
    for row in rows:
        cells = [
            _plain(one_line(cell)).ljust(size) for cell, size in zip(row[:-1], widths, strict=True)
        ]
        lines += hang("  " + "  ".join(cells) + "  ", row[-1])
    return lines


def time_text(seconds: float) -> str:
    """A length of time in the two largest units that matter: ``2 h 13 min``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} days {hours % 24} h"


def rate_text(fps: float) -> str:
    """A rate: ``12.3 fps``, or ``25 s/frame`` where frames take longer than ten seconds."""
    return f"{1 / fps:.3g} s/frame" if 0 < fps < 0.1 else f"{fps:.3g} fps"

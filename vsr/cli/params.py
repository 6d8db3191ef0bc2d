"""What options take: numbers, times, ``key=value`` pairs, and names that shells can complete."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from fractions import Fraction
from math import isfinite
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from vsr.types.place import STANDARD

__all__ = [
    "FloatRange",
    "LocalPath",
    "Seconds",
    "address",
    "codecs",
    "duration",
    "index_range",
    "is_folder",
    "key_values",
    "models",
    "presets",
    "seconds",
    "size",
    "watched",
    "weights",
]

_YEAR = 365 * 24 * 3600
_SEPARATORS = tuple(filter(None, (os.sep, os.altsep)))
# Python reads no integers of thousands of digits.
_RANGE = re.compile(r"(\d{0,18}):(\d{0,18})")
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{0,18})?|\.\d{1,18}) ?([KMGTkmgt])?B?")
_CLOCK = re.compile(r"(?:(?:(\d{1,9}):)?(\d{1,2}):)?(\d{1,18}(?:\.\d{0,99})?|\.\d{1,99})")


class FloatRange(click.FloatRange):
    """A finite number within bounds; click's own lets ``nan`` through, and what has no end."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read it."""
        if not isfinite(click.FLOAT.convert(value, param, ctx)):
            self.fail(f"{value!r} is no finite number.", param, ctx)
        return float(super().convert(value, param, ctx))


class Seconds(FloatRange):
    """A number of seconds, a year at most: what a clock is asked to wait for must have an end."""

    def __init__(self, *, zero: bool) -> None:
        super().__init__(min=0, min_open=not zero, max=_YEAR)


class LocalPath(click.Path):
    """A file or folder of this machine; else a URL would be made a folder that is called s3:."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str | bytes | os.PathLike[str]:
        """Read it."""
        if "://" in os.fspath(value):
            self.fail(f"{value!r} is a URL; it must be on a disk of this machine.", param, ctx)
        return super().convert(value, param, ctx)


def is_folder(destination: str | None) -> bool:
    """Whether the result of even one source goes into a folder, as after a pattern like *.mp4."""
    if destination is None or destination == STANDARD:
        return False
    if "://" in destination:  # a URL is none, which the plan will say
        return False
    return destination.endswith(_SEPARATORS) or Path(destination).is_dir()


def seconds(_context: click.Context, _param: click.Parameter, value: str | None) -> Fraction | None:
    """A place in the video: seconds, or ``[HH:]MM:SS[.mmm]``; exact."""
    if value is None:
        return None
    match = _CLOCK.fullmatch(value.strip())
    if match is None:
        raise click.BadParameter(f"{value!r} is not a time. Write 62.5 or 00:01:02.500.")
    hours, minutes, rest = match.groups()
    time = Fraction(rest)
    if minutes is not None and (time >= 60 or (hours is not None and int(minutes) >= 60)):
        raise click.BadParameter(f"{value!r} has more than 59 minutes or seconds.")
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + time


def index_range(
    _context: click.Context, _param: click.Parameter, value: str | None
) -> tuple[int | None, int | None]:
    """Indices of frames, ``first:stop`` as in Python: counted from 0, without ``stop`` itself."""
    if value is None:
        return None, None
    match = _RANGE.fullmatch(value.strip())
    if match is None or value.strip() == ":":
        raise click.BadParameter(f"{value!r} is no range. Write FIRST:STOP, such as 1490:1538.")
    first, stop = (int(text) if text else None for text in match.groups())
    if stop is not None and stop <= (first or 0):
        raise click.BadParameter(
            f"{value!r} is empty: STOP is the frame behind the last, so 7:8 is frame 7."
        )
    return first, stop


def key_values(
    _context: click.Context, _param: click.Parameter, values: Iterable[str]
) -> tuple[tuple[str, str], ...]:
    """Options of the encoder, ``key=value`` each; the value may hold further equals signs."""
    pairs = []
    for value in values:
        key, equals, text = value.partition("=")
        if not key or not equals:
            raise click.BadParameter(f"{value!r} is no KEY=VALUE, such as tune=film.")
        pairs.append((key, text))
    return tuple(pairs)


def size(_context: click.Context, _param: click.Parameter, value: str) -> int:
    """A number of bytes: ``500M``, ``1.5G``, in decimal units."""
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise click.BadParameter(f"{value!r} is not a size. Write 500M or 1.5G.")
    number, unit = match.groups()
    return int(Fraction(number) * 1000 ** " KMGT".index((unit or " ").upper()))


def address(
    _context: click.Context, _param: click.Parameter, value: str | None
) -> tuple[str, int] | None:
    """Where to listen: ``127.0.0.1:8080``, ``[::1]:8080``."""
    if value is None:
        return None
    host, colon, port = value.rpartition(":")
    if not colon or not host or not re.fullmatch(r"\d{1,5}", port) or int(port) > 65535:
        raise click.BadParameter(f"{value!r} is no HOST:PORT, such as 127.0.0.1:8080.")
    return host.removeprefix("[").removesuffix("]"), int(port)


def watched(
    _context: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Folders; and ``status`` as soon as it has been begun."""
    begun = bool(incomplete) and "status".startswith(incomplete)
    # In this order: bash drops what comes before folders, and offers them if nothing comes after.
    folders = CompletionItem(incomplete, type="dir")
    return [folders, CompletionItem("status", help="show the queue")] if begun else [folders]


def presets(
    _context: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Presets that begin so, or else files."""
    from vsr.preset import find_presets

    found = _beginning(incomplete, ((preset.name, preset.origin) for preset in find_presets()))
    return found or [CompletionItem(incomplete, type="file")]


def codecs(
    _context: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Codecs that begin so."""
    from vsr.media.codecs import CODECS
    from vsr.plan.codec import NVENC

    known = [(name, spec.encoder) for name, spec in CODECS.items()]
    return _beginning(incomplete, [*known, (NVENC, "the GPU's, where it can be")])


def models(
    _context: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Models that begin so."""
    from vsr.models.registry import MODELS

    return _beginning(incomplete, ((name, spec.summary) for name, spec in MODELS.items()))


def weights(
    _context: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Sets of weights that begin so, or else files."""
    from vsr.models.sets import all_weights

    sets = {file.set: file.origin for file in all_weights()}
    found = _beginning(incomplete, sorted(sets.items()))
    return found or [CompletionItem(incomplete, type="file")]


def _beginning(incomplete: str, known: Iterable[tuple[str, str]]) -> list[CompletionItem]:
    return [CompletionItem(name, help=line) for name, line in known if name.startswith(incomplete)]


_DURATION = re.compile(r"(?:(\d+(?:\.\d*)?)h)?(?:(\d+(?:\.\d*)?)m)?(?:(\d+(?:\.\d*)?)s)?")


def duration(_context: click.Context, _param: click.Parameter, value: str | None) -> float:
    """A length of time in seconds: ``25m``, ``1h30m``, ``90s``; 0 if not given."""
    if value is None:
        return 0.0
    match = _DURATION.fullmatch(value.strip().lower())
    parts = [float(part or 0) for part in match.groups()] if match else []
    total = sum(n * unit for n, unit in zip(parts, (3600, 60, 1), strict=False))
    if total <= 0:
        raise click.BadParameter(f"{value!r} is not a length of time. Write 25m, 1h30m or 90s.")
    if total > _YEAR:
        raise click.BadParameter(f"{value!r} is more than a year.")
    return total

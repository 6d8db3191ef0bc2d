"""Wishes as code states them, checked as the command line checks what is typed."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import torch

from vsr.errors import UsageError
from vsr.plan import MATRIX_NAMES
from vsr.preset.find import nearest
from vsr.types import ChromaSite, ColorRange, Matrix, Trim

__all__ = ["plan_wishes", "run_wishes"]

T = TypeVar("T", bound=Enum)
Check = Callable[[Any], Any]


class _WrongValueError(Exception):
    """A value is not what its option takes; the message says what it takes."""


def plan_wishes(**wishes: Any) -> dict[str, Any]:
    """What a plan is asked for, by name, in the form that :class:`vsr.plan.Request` has for it.

    ``None`` is no wish and is left out. Paths become text, seconds fractions.

    Raises:
        UsageError: there is no such option, or it does not take such a value.
    """
    for name in sorted(wishes.keys() - _PLAN.keys()):
        raise UsageError(
            f"there is no option {name!r}",
            remedy=nearest(name, _PLAN) or f"Options: {', '.join(sorted(_PLAN))}.",
        )
    return _checked(_PLAN, wishes)


def run_wishes(**wishes: Any) -> None:
    """Check what says how a plan is run: ``devices``, ``ray``, ``resume``, ``fresh``.

    Raises:
        UsageError: an option does not take such a value.
    """
    _checked(_RUN, wishes)


def _checked(table: Mapping[str, Check], wishes: Mapping[str, Any]) -> dict[str, Any]:
    values = {}
    for name, value in wishes.items():
        if value is not None or name == "source":  # which has no default
            try:
                values[name] = table[name](value)
            except _WrongValueError as error:
                raise UsageError(f"{name} must be {error}, not {value!r}") from None
    return values


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise _WrongValueError("a text that is not empty")
    return value


def _workers(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise _WrongValueError("one text, such as 'cuda:0,cuda:1' or 'cpu:2x1'")
    return value


def _path(value: Any) -> str:
    if not isinstance(value, str | Path) or value == "":
        raise _WrongValueError("a path: text that is not empty, or a pathlib.Path")
    return str(value)


def _name_or_file(value: Any) -> str:
    if isinstance(value, Path):
        return str(value.absolute())  # else one without a separator would be a name
    if not isinstance(value, str) or not value:
        raise _WrongValueError("a name, or the path of a file")
    return value


def _device(value: Any) -> str:
    if not isinstance(value, str | torch.device) or value == "":
        raise _WrongValueError("'auto', 'cpu', 'cuda' or 'cuda:N'")
    return str(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _WrongValueError("True or False")
    return value


def _word(value: Any) -> str:
    # Encoders take text, as the 6 of preset 6.
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
        raise _WrongValueError("a text or a number")
    return str(value)


def _whole(low: int | None = None, high: int | None = None) -> Check:
    takes = "a whole number"
    if low is not None:
        takes += f" from {low} to {high}" if high is not None else f", {low} or more"

    def check(value: Any) -> int:
        try:
            number = operator.index(value)
        except TypeError:
            raise _WrongValueError(takes) from None
        below, above = low is not None and number < low, high is not None and number > high
        if isinstance(value, bool) or below or above:
            raise _WrongValueError(takes)
        return number

    return check


def _choice(*choices: str) -> Check:
    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in choices:
            raise _WrongValueError(_one_of(choices))
        return value

    return check


def _member(kind: type[T], names: Mapping[str, T]) -> Check:
    def check(value: Any) -> T:
        if isinstance(value, kind):
            return value
        if not isinstance(value, str) or value not in names:
            raise _WrongValueError(f"{_one_of(names)}, or a vsr.types.{kind.__name__}")
        return names[value]

    return check


def _one_of(names: Iterable[str]) -> str:
    return f"one of {', '.join(map(repr, names))}"


def _pairs(value: Any) -> tuple[tuple[str, str], ...]:
    pairs = tuple(value.items()) if isinstance(value, Mapping) else value
    if not isinstance(pairs, tuple | list) or not all(map(_is_pair, pairs)):
        raise _WrongValueError("a mapping such as {'tune': 'film'}, or pairs of name and value")
    # As in presets, true is 1.
    return tuple((name, str(int(v) if isinstance(v, bool) else v)) for name, v in pairs)


def _is_pair(pair: Any) -> bool:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        return False
    name, value = pair
    return isinstance(name, str) and name != "" and isinstance(value, str | int | float)


def _trim(value: Any) -> Trim:
    if not isinstance(value, Trim):
        raise _WrongValueError("a vsr.types.Trim")
    return value


def _seconds(value: Any) -> Fraction:
    try:
        if isinstance(value, str):
            raise TypeError
        # The nearest binary fraction of 0.08 lies behind the frame that is shown then.
        return Fraction(str(float(value))) if isinstance(value, float) else Fraction(value)
    except (TypeError, ValueError, OverflowError):
        raise _WrongValueError("a number of seconds, as 62.5 or Fraction(125, 2)") from None


_PLAN: dict[str, Check] = {
    "source": _path,
    "destination": _path,
    "preset": _name_or_file,
    "start": _seconds,
    "end": _seconds,
    "frames": _whole(1),
    "scale": _whole(),  # which there are is the planner's to say
    "model": _text,
    "weights": _name_or_file,
    "codec": _text,
    "quality": _whole(0),
    "speed": _word,
    "pix_fmt": _text,
    "options": _pairs,
    "trim": _trim,
    "video_stream": _whole(0),
    "deinterlace": _choice("auto", "on", "off"),
    "on_resize": _choice("error", "scale"),
    "matrix": _member(Matrix, MATRIX_NAMES),
    "range": _member(ColorRange, {"limited": ColorRange.LIMITED, "full": ColorRange.FULL}),
    "site": _member(
        ChromaSite, {site.value: site for site in ChromaSite if site is not ChromaSite.UNSPECIFIED}
    ),
    "strict": _flag,
    "overwrite": _flag,
    "verify": _flag,
    "device": _device,
    "backend": _text,
    "reader": _text,
    "dtype": _choice("float32", "float16", "bfloat16"),
    "batch": _whole(1, 64),
    "mode": _text,
}
_RUN: dict[str, Check] = {"devices": _workers, "ray": _text, "resume": _flag, "fresh": _flag}

"""What arguments take: each check gives its value back in one form, or says what would do."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeVar

import torch

from vsr.errors import UsageError

__all__ = [
    "Check",
    "WrongValueError",
    "checked",
    "choice",
    "device_name",
    "flag",
    "function",
    "member",
    "name_or_file",
    "path",
    "seconds",
    "text",
    "whole",
    "word",
]

T = TypeVar("T", bound=Enum)
Check = Callable[[Any], Any]


class WrongValueError(Exception):
    """A value is not what its argument takes; the message says what it takes."""


def checked(
    table: Mapping[str, Check], given: Mapping[str, Any], *, needed: Iterable[str] = ()
) -> dict[str, Any]:
    """What is ``given``, by name, each as the check of its name gives it back.

    ``None`` is nothing and is left out, unless the name is ``needed``.

    Raises:
        UsageError: an argument does not take such a value.
    """
    values = {}
    for name, value in given.items():
        if value is not None or name in needed:
            try:
                values[name] = table[name](value)
            except WrongValueError as error:
                raise UsageError(f"{name} must be {error}, not {value!r}") from None
    return values


def text(value: Any) -> str:
    """Text that is not empty."""
    if not isinstance(value, str) or not value:
        raise WrongValueError("a text that is not empty")
    return value


def path(value: Any) -> str:
    """A path, as text."""
    if not isinstance(value, str | Path) or value == "":
        raise WrongValueError("a path: text that is not empty, or a pathlib.Path")
    return str(value)


def name_or_file(value: Any) -> str:
    """A name, or a path as text; a :class:`~pathlib.Path` is never a name."""
    if isinstance(value, Path):
        return str(value.absolute())  # else one without a separator would be a name
    if not isinstance(value, str) or not value:
        raise WrongValueError("a name, or the path of a file")
    return value


def device_name(value: Any) -> str:
    """A device, as text."""
    if not isinstance(value, str | torch.device) or value == "":
        raise WrongValueError("'auto', 'cpu', 'cuda' or 'cuda:N'")
    return str(value)


def flag(value: Any) -> bool:
    """``True`` or ``False``, and nothing that only passes for one of them."""
    if not isinstance(value, bool):
        raise WrongValueError("True or False")
    return value


def function(value: Any) -> Callable[..., Any]:
    """Something to call."""
    if not callable(value):
        raise WrongValueError("a function")
    return value  # type: ignore[no-any-return]


def word(value: Any) -> str:
    """Text or a number, as text: encoders take text, as the 6 of preset 6."""
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
        raise WrongValueError("a text or a number")
    return str(value)


def whole(low: int | None = None, high: int | None = None) -> Check:
    """Whole numbers from ``low`` to ``high``: Python's, NumPy's, torch's."""
    takes = "a whole number"
    if low is not None:
        takes += f" from {low} to {high}" if high is not None else f", {low} or more"

    def check(value: Any) -> int:
        try:
            number = operator.index(value)
        except TypeError:
            raise WrongValueError(takes) from None
        below, above = low is not None and number < low, high is not None and number > high
        if isinstance(value, bool) or below or above:
            raise WrongValueError(takes)
        return number

    return check


def choice(*choices: str) -> Check:
    """One of some words."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in choices:
            raise WrongValueError(_one_of(choices))
        return value

    return check


def member(kind: type[T], names: Mapping[str, T]) -> Check:
    """A member of an enumeration, or one of the names for some of them."""

    def check(value: Any) -> T:
        if isinstance(value, kind):
            return value
        if not isinstance(value, str) or value not in names:
            raise WrongValueError(f"{_one_of(names)}, or a vsr.types.{kind.__name__}")
        return names[value]

    return check


def _one_of(names: Iterable[str]) -> str:
    return f"one of {', '.join(map(repr, names))}"


def seconds(value: Any) -> Fraction:
    """Seconds from the first frame, exact: a float means the decimal number it is written as."""
    takes = "a number of seconds, 0 or more, as 62.5 or Fraction(125, 2)"
    if isinstance(value, bool) or not isinstance(value, Real | Decimal):
        raise WrongValueError(takes)
    try:
        # The nearest binary fraction of 0.08 lies behind the frame that is shown then. NumPy's
        # float32 writes itself as 0.08, too, and is a float64 that does not.
        exact = int(value) if isinstance(value, Integral) else value
        number = Fraction(exact if isinstance(exact, int | Fraction | Decimal) else str(exact))
    except (ValueError, OverflowError):  # nan, inf
        raise WrongValueError(takes) from None
    if number < 0:
        raise WrongValueError(takes)
    return number

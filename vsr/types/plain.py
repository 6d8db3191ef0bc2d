"""What flows, as JSON takes it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any

__all__ = ["json_ready", "to_plain"]


def to_plain(value: Any) -> Any:
    """``value`` made of dictionaries, lists, strings, numbers, booleans and ``None``.

    Dataclasses become dictionaries by field name, fractions ``"numerator/denominator"`` (a float
    would not come back), members of enumerations their name in lower case.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, Fraction):
        return f"{value.numerator}/{value.denominator}"
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    return value


def json_ready(value: Any) -> Any:
    """``value``, made by :func:`to_plain`, with numbers that JSON does not know as strings.

    They are ``"Infinity"``, ``"-Infinity"`` and ``"NaN"``, which Python's ``float`` and
    JavaScript's ``Number`` both understand.
    """
    if isinstance(value, dict):
        return {key: json_ready(item) for key, item in value.items()}
    if isinstance(value, list):
        return [json_ready(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value

"""Wishes as code states them, checked as the command line checks what is typed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vsr.errors import UsageError
from vsr.plan import MATRIX_NAMES
from vsr.preset.find import nearest
from vsr.types import ChromaSite, ColorRange, Matrix, Trim
from vsr.values import (
    Check,
    WrongValueError,
    checked,
    choice,
    device_name,
    flag,
    function,
    member,
    name_or_file,
    path,
    seconds,
    text,
    whole,
    word,
)

__all__ = ["plan_wishes", "run_wishes"]


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
    return checked(_PLAN, wishes, needed=["source"])  # which has no default


def run_wishes(**wishes: Any) -> None:
    """Check what says how a plan is run: ``devices``, ``ray``, ``resume``, ``fresh``, ``on_event``.

    Raises:
        UsageError: an option does not take such a value.
    """
    checked(_RUN, wishes)


def _workers(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise WrongValueError("one text, such as 'cuda:0,cuda:1' or 'cpu:2x1'")
    return value


def _pairs(value: Any) -> tuple[tuple[str, str], ...]:
    pairs = tuple(value.items()) if isinstance(value, Mapping) else value
    if not isinstance(pairs, tuple | list) or not all(map(_is_pair, pairs)):
        raise WrongValueError("a mapping such as {'tune': 'film'}, or pairs of name and value")
    # As in presets, true is 1.
    return tuple((name, str(int(v) if isinstance(v, bool) else v)) for name, v in pairs)


def _is_pair(pair: Any) -> bool:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        return False
    name, value = pair
    return isinstance(name, str) and name != "" and isinstance(value, str | int | float)


def _trim(value: Any) -> Trim:
    if not isinstance(value, Trim):
        raise WrongValueError("a vsr.types.Trim")
    return value


_PLAN: dict[str, Check] = {
    "source": path,
    "destination": path,
    "preset": name_or_file,
    "start": seconds,
    "end": seconds,
    "frames": whole(1),
    "scale": whole(),  # which there are is the planner's to say
    "model": text,
    "weights": name_or_file,
    "codec": text,
    "quality": whole(0),
    "speed": word,
    "pix_fmt": text,
    "options": _pairs,
    "trim": _trim,
    "video_stream": whole(0),
    "deinterlace": choice("auto", "on", "off"),
    "on_resize": choice("error", "scale"),
    "matrix": member(Matrix, MATRIX_NAMES),
    "range": member(ColorRange, {"limited": ColorRange.LIMITED, "full": ColorRange.FULL}),
    "site": member(
        ChromaSite, {site.value: site for site in ChromaSite if site is not ChromaSite.UNSPECIFIED}
    ),
    "strict": flag,
    "overwrite": flag,
    "verify": flag,
    "device": device_name,
    "backend": text,
    "reader": text,
    "dtype": choice("float32", "float16", "bfloat16"),
    "batch": whole(1, 64),
    "mode": text,
}
_RUN: dict[str, Check] = {
    "devices": _workers,
    "ray": text,
    "resume": flag,
    "fresh": flag,
    "on_event": function,
}

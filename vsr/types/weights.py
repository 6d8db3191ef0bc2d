"""Weights that can be named: what ships with the package and what is in the user's cache."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

__all__ = ["WeightsFile", "is_set_name"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """The weights of one model at one scale in one set.

    Attributes:
        set: the set's name, which is what ``--weights`` says (``clean``, ``video``, ``authors``).
        model: row of the model table. scale: 2, 3 or 4.
        path: the file.
        sha256: what its SHA-256 must be, 64 hexadecimal digits; empty if nothing says so.
        origin: it came with the package, or the user put it into the cache.
    """

    set: str
    model: str
    scale: int
    path: str
    sha256: str
    origin: Literal["shipped", "installed"]


def is_set_name(weights: str) -> bool:
    """Whether ``weights`` names a set rather than a file.

    Names consist of letters, digits, ``-`` and ``_``. Anything with a dot or a separator is a
    path: a file ``mine`` in the working directory is written ``./mine``. What exists does not
    matter, so that the same command means the same everywhere.
    """
    return _NAME.fullmatch(weights) is not None

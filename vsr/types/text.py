"""Figures as people read them."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction

__all__ = ["clock_text", "figure_text", "size_text"]

_HALF_UP = Context(prec=400, rounding=ROUND_HALF_UP)


def size_text(size: float) -> str:
    """Bytes in decimal units: ``12.3 MB``."""
    if size < 1000:
        return f"{size:.0f} bytes"
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 999.5:
            return f"{size:.3g} {unit}"
    return f"{size / 1000:.3g} TB"


def clock_text(seconds: Fraction) -> str:
    """A place in a file: ``0:01:02.500``."""
    sign = "-" if seconds < 0 else ""
    milliseconds = round(abs(seconds) * 1000)
    rest, thousandths = divmod(milliseconds, 1000)
    return f"{sign}{rest // 3600}:{rest // 60 % 60:02}:{rest % 60:02}.{thousandths:03}"


def figure_text(value: float, decimals: int) -> str:
    """A measured value: ``32.10``, ``∞`` or, where there is none (NaN), ``n/a``.

    Rounded half up, as JavaScript's ``toFixed`` does, so that a page's script shows the same.
    """
    if math.isnan(value):
        return "n/a"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = str(Decimal(abs(value)).quantize(Decimal(1).scaleb(-decimals), context=_HALF_UP))
    negative = value < 0 and any(digit in text for digit in "123456789")
    return f"−{text}" if negative else text

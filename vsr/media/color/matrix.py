"""Matrix coefficients: R, G, B to luma and two colour differences and back (ITU-T H.273, 8.3).

With exact constants ``Kr`` and ``Kb`` (``Kg = 1 - Kr - Kb``)::

    Y  = Kr*R + Kg*G + Kb*B             R = Y + 2*(1 - Kr)*Cr
    Cb = (B - Y) / (2*(1 - Kb))         B = Y + 2*(1 - Kb)*Cb
    Cr = (R - Y) / (2*(1 - Kr))         G = (Y - Kr*R - Kb*B) / Kg

YCgCo has ``Y = R/4 + G/2 + B/4``, ``Cg = G - Y``, ``Co = (R - B) / 2``, hence ``R = Y - Cg + Co``,
``G = Y + Cg``, ``B = Y - Cg - Co``. All these are of one shape: a colour difference is a gain times
the difference of two signals, and R, G and B are each Y plus so much of both colour differences.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from vsr.errors import InputError
from vsr.types import Matrix

__all__ = ["MATRICES", "Coefficients", "coefficients", "luma_weights", "same_matrix"]

#: Positions in ``(R, G, B, Y)``, which the differences below are taken between.
R, G, B, Y = range(4)


@dataclass(frozen=True, slots=True)
class Coefficients:
    """A linear matrix between RGB and luma with two colour differences, both directions.

    Attributes:
        luma: weights of R, G, B in Y; they sum to 1.
        differences: for the first and the second chroma plane ``(gain, plus, minus)``, meaning
            ``gain * (plus - minus)`` with signals by position in ``(R, G, B, Y)``.
        to_rgb: for R, G and B the gains of the first and second chroma plane, to be added to Y.
        limited_codes: what limited-range chroma spans at 8 bits; 224, but 219 for YCgCo, which
            H.273 derives from limited-range R, G, B codes.
    """

    luma: tuple[float, float, float]
    differences: tuple[tuple[float, int, int], tuple[float, int, int]]
    to_rgb: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
    limited_codes: int = 224


def _luma_chroma(kr: Fraction, kb: Fraction) -> Coefficients:
    kg = 1 - kr - kb
    red, blue = 2 * (1 - kr), 2 * (1 - kb)
    return Coefficients(
        luma=(float(kr), float(kg), float(kb)),
        differences=((float(1 / blue), B, Y), (float(1 / red), R, Y)),
        to_rgb=(
            (0.0, float(red)),
            (float(-kb * blue / kg), float(-kr * red / kg)),
            (float(blue), 0.0),
        ),
    )


_BT601 = _luma_chroma(Fraction(299, 1000), Fraction(114, 1000))

#: The matrices that can be computed: the linear ones whose coefficients H.273 states. The identity
#: (``RGB``) is not here: it has no chroma.
MATRICES: dict[Matrix, Coefficients] = {
    Matrix.BT709: _luma_chroma(Fraction(2126, 10000), Fraction(722, 10000)),
    Matrix.FCC: _luma_chroma(Fraction(30, 100), Fraction(11, 100)),
    Matrix.BT470BG: _BT601,
    Matrix.SMPTE170M: _BT601,
    Matrix.SMPTE240M: _luma_chroma(Fraction(212, 1000), Fraction(87, 1000)),
    Matrix.YCGCO: Coefficients(
        luma=(0.25, 0.5, 0.25),
        differences=((1.0, G, Y), (0.5, R, B)),
        to_rgb=((-1.0, 1.0), (1.0, 0.0), (-1.0, -1.0)),
        limited_codes=219,
    ),
    Matrix.BT2020_NCL: _luma_chroma(Fraction(2627, 10000), Fraction(593, 10000)),
}


def coefficients(matrix: Matrix) -> Coefficients:
    """The row of ``matrix``.

    Raises:
        InputError: it is unspecified, or not linear in R'G'B' (constant luminance, ICtCp).
    """
    try:
        return MATRICES[matrix]
    except KeyError:
        raise InputError(
            f"no conversion to RGB for matrix coefficients {matrix.name} ({int(matrix)})",
            where="color.matrix",
            remedy=f"Decide for one of {', '.join(m.name for m in MATRICES)} before converting.",
        ) from None


def same_matrix(a: Matrix, b: Matrix) -> bool:
    """Whether two code points mean the same numbers, as BT.470 BG's and SMPTE 170M's do."""
    return MATRICES.get(a, a) == MATRICES.get(b, b)


def luma_weights(matrix: Matrix) -> tuple[float, float, float]:
    """Weights of R, G and B in a grey picture; the identity's "Y" is G (H.273).

    Raises:
        InputError: as for :func:`coefficients`.
    """
    return (0.0, 1.0, 0.0) if matrix is Matrix.RGB else coefficients(matrix).luma

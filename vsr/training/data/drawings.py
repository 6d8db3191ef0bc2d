"""Drawings to train on beside photos: hard edges, stripes, spots, lines and letters.

Photos that have been shrunk show few of them, and what a network has not seen it enlarges softly.
Drawn at four times the size, averaged, then blurred or sharpened a little.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vsr.errors import DependencyError
from vsr.training.data.store import DRAWING_FORMAT

try:
    import cv2
except ImportError as error:
    raise DependencyError(
        "drawings to train on need OpenCV",
        remedy="pip install 'fdiwn-vsr[train]', or train without --drawings.",
    ) from error

__all__ = ["SIDE", "draw"]

#: Of a drawing, pixels.
SIDE = 768
#: Drawn so many times as large.
_FINE = 4
_FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_HERSHEY_SCRIPT_COMPLEX,
)  # fmt: skip
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;!?&%$#@()[]/+-="

Canvas = NDArray[np.floating[Any]]
Mask = NDArray[np.uint8]
Place = tuple[int, int]
Generator = np.random.Generator


def draw(number: int) -> NDArray[np.uint8]:
    """A drawing, ``(SIDE, SIDE, 3)`` uint8 RGB, the same for the same number."""
    rng = np.random.default_rng([DRAWING_FORMAT, number])
    side = SIDE * _FINE
    between = 0.5 + 0.5 * _smooth(rng, side, int(rng.integers(1, 5)))[..., None]
    ground, other = _colour(rng), _colour(rng)
    canvas: Canvas = (ground + between * (other - ground)).astype(np.float32)
    for _ in range(int(rng.integers(120, 240))):
        mask, (y, x) = _MASKS[int(rng.integers(len(_MASKS)))](rng, side)
        part = canvas[y : y + mask.shape[0], x : x + mask.shape[1]]
        h, w = part.shape[:2]
        fill = _paint(rng, max(mask.shape))[:h, :w]
        np.copyto(part, fill, where=mask[:h, :w, None] > 0)
    small = cv2.resize(canvas, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    # As a lens and a camera leave it: blurred, as it is, or sharpened until edges overshoot.
    kind = rng.random()
    if kind < 0.25:
        small = cv2.GaussianBlur(small, (0, 0), rng.uniform(0.3, 0.7))
    elif kind > 0.5:
        soft = cv2.GaussianBlur(small, (0, 0), rng.uniform(0.6, 1.2))
        small = small + rng.uniform(0.2, 1) * (small - soft)
    light = 1 + 0.25 * _smooth(rng, SIDE, 2)[..., None]
    small = small * light + rng.normal(0, rng.choice([0.0, 0.5, 1.5]), small.shape)
    codes: NDArray[np.uint8] = np.clip(np.rint(small), 0, 255).astype(np.uint8)
    return codes


def _colour(rng: Generator) -> Canvas:
    """Any, but black, white and grey more often than chance has them."""
    kind = rng.random()
    if kind < 0.3:
        value = rng.choice([rng.uniform(0, 40), rng.uniform(200, 255)])
        tint = rng.uniform(-12, 12, 3).astype(np.float32)
        return np.full(3, value, np.float32) + tint
    if kind < 0.45:
        return np.full(3, rng.uniform(0, 255), np.float32)
    return rng.uniform(0, 255, 3).astype(np.float32)


def _smooth(rng: Generator, side: int, cells: int) -> Canvas:
    """Smooth noise, about -1 to 1, with so many hills along a side."""
    coarse = rng.uniform(-1, 1, (cells + 2, cells + 2)).astype(np.float32)
    fine = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.asarray(fine, np.float32)


def _paint(rng: Generator, side: int) -> Canvas:
    """A square of a colour, two that blend, or a pattern of two."""
    a, b = _colour(rng), _colour(rng)
    kind = rng.random()
    if kind < 0.3 or side < 4 * _FINE:
        return np.broadcast_to(a, (side, side, 3)).astype(np.float32)
    if kind < 0.5:
        between: Canvas = 0.5 + 0.5 * _smooth(rng, side, int(rng.integers(1, 4)))
    elif kind < 0.75:
        between = _stripes(rng, side)
    else:
        between = _spots(rng, side)
    blend: Canvas = a + between[..., None] * (b - a)
    return blend


def _places(rng: Generator, side: int) -> tuple[Canvas, Canvas]:
    """Coordinates in pixels of the drawing, turned by a random angle and somewhat bent."""
    angle = rng.uniform(0, np.pi)
    y, x = np.mgrid[:side, :side].astype(np.float32) / _FINE
    u, v = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    if rng.random() < 0.5:
        u = u + rng.uniform(1, 12) * _smooth(rng, side, int(rng.integers(1, 6)))
    return u, v


def _stripes(rng: Generator, side: int) -> Canvas:
    """Stripes or checks, hard or soft, of 2.5 to 40 pixels."""
    u, v = _places(rng, side)
    period = np.exp(rng.uniform(np.log(2.5), np.log(40)))
    wave = np.sin(2 * np.pi * u / period)
    if rng.random() < 0.3:
        wave = wave * np.sin(2 * np.pi * v / (period * rng.uniform(0.5, 2)))
    if rng.random() < 0.25:
        return np.asarray(0.5 + 0.5 * wave, np.float32)
    return np.asarray(wave > rng.uniform(-0.7, 0.7), np.float32)


def _spots(rng: Generator, side: int) -> Canvas:
    """Smooth noise cut off at a level: blotches with winding borders."""
    size = np.exp(rng.uniform(np.log(3), np.log(50))) * _FINE
    cells = max(2, int(side / size))
    noise = _smooth(rng, side, cells)
    if rng.random() < 0.5:
        noise = np.abs(noise) - rng.uniform(0.1, 0.3)  # winding lines
    return (noise > rng.uniform(-0.2, 0.2)).astype(np.float32)


def _extent(rng: Generator, side: int) -> tuple[int, Place]:
    """A size, small ones likelier, and a place."""
    size = int(np.exp(rng.uniform(np.log(5), np.log(300))) * _FINE)
    y, x = (int(rng.integers(0, max(side - size // 2, 1))) for _ in range(2))
    return size, (y, x)


def _polygon(rng: Generator, side: int) -> tuple[Mask, Place]:
    size, place = _extent(rng, side)
    mask = np.zeros((size, size), np.uint8)
    count = int(rng.integers(3, 9))
    angles = np.sort(rng.uniform(0, 2 * np.pi, count))
    radii = rng.uniform(0.4, 1, count) * size / 2
    points = np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None] + size / 2
    cv2.fillPoly(mask, [np.rint(points).astype(np.int32)], 1)
    return mask, place


def _ellipse(rng: Generator, side: int) -> tuple[Mask, Place]:
    size, place = _extent(rng, side)
    mask = np.zeros((size, size), np.uint8)
    axes = (int(size * rng.uniform(0.1, 0.5)), int(size * rng.uniform(0.1, 0.5)))
    thick = -1 if rng.random() < 0.6 else max(1, int(_FINE * rng.uniform(0.7, 5)))
    middle = (size // 2, size // 2)
    cv2.ellipse(mask, middle, axes, rng.uniform(0, 180), 0, 360, (1,), thick)
    return mask, place


def _lines(rng: Generator, side: int) -> tuple[Mask, Place]:
    """Winding or straight, thin."""
    size = int(rng.uniform(20, 500) * _FINE)
    y, x = (int(rng.integers(0, max(side - size // 2, 1))) for _ in range(2))
    mask = np.zeros((size, size), np.uint8)
    for _ in range(int(rng.integers(1, 6))):
        knots = rng.uniform(0, size, (4, 2))
        t = np.linspace(0, 1, 48)[:, None]
        curve = (
            (1 - t) ** 3 * knots[0] + 3 * t * (1 - t) ** 2 * knots[1]
            + 3 * t**2 * (1 - t) * knots[2] + t**3 * knots[3]
        )  # fmt: skip
        if rng.random() < 0.4:
            curve = knots[:2]
        thick = max(1, int(_FINE * np.exp(rng.uniform(np.log(0.6), np.log(6)))))
        cv2.polylines(mask, [np.rint(curve).astype(np.int32)], False, (1,), thick)
    return mask, (y, x)


def _words(rng: Generator, side: int) -> tuple[Mask, Place]:
    """Letters, 5 to 60 pixels high."""
    height = np.exp(rng.uniform(np.log(5), np.log(60))) * _FINE
    scale = height / 22
    font = int(_FONTS[int(rng.integers(len(_FONTS)))])
    thick = max(1, int(scale * rng.uniform(1, 3.5)))
    rows = int(rng.integers(1, 6))
    lines = ["".join(rng.choice(list(_LETTERS), int(rng.integers(2, 16)))) for _ in range(rows)]
    width = max(cv2.getTextSize(line, font, scale, thick)[0][0] for line in lines)
    step = int(height * 1.6)
    mask = np.zeros((step * (rows + 1), min(width + 20, side)), np.uint8)
    for row, line in enumerate(lines):
        cv2.putText(mask, line, (5, step * (row + 1)), font, scale, (1,), thick)
    y, x = (int(rng.integers(0, max(side - n // 2, 1))) for n in mask.shape)
    return mask, (y, x)


_MASKS: tuple[Callable[[Generator, int], tuple[Mask, Place]], ...] = (
    _polygon, _polygon, _ellipse, _ellipse, _lines, _words,
)  # fmt: skip

"""A harbour at dusk, drawn by code: thin cables, spokes, windows and letters, all of it moving.

Everything is drawn on a canvas several times as large as the picture and shrunk by area, so that
edges lie between pixels as they do in a photograph.
"""

from __future__ import annotations

import math
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["CANVAS", "draw", "sound"]

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

#: Width and height that the coordinates below are in.
CANVAS = (1536, 864)
_HORIZON = 560
_WATER = 864 - _HORIZON
_SHIFT = 4  # fractional bits of cv2's coordinates: motion is smooth below one pixel


def _at(x: float, y: float) -> tuple[int, int]:
    return round(x * (1 << _SHIFT)), round(y * (1 << _SHIFT))


def _line(
    image: Image, a: tuple[float, float], b: tuple[float, float], colour: Colour, width: int
) -> None:
    cv2.line(image, _at(*a), _at(*b), colour, width, cv2.LINE_AA, _SHIFT)


def _disc(image: Image, x: float, y: float, radius: float, colour: Colour, width: int = -1) -> None:
    centre, r = _at(x, y), round(radius * (1 << _SHIFT))
    cv2.circle(image, centre, r, colour, width, cv2.LINE_AA, _SHIFT)


def _shape(image: Image, points: list[tuple[float, float]], colour: Colour) -> None:
    corners = np.array([_at(*p) for p in points], np.int32)
    cv2.fillPoly(image, [corners], colour, cv2.LINE_AA, _SHIFT)


def _sky(image: Image) -> None:
    top, middle, bottom = np.array([[38, 44, 92], [196, 98, 116], [255, 196, 122]], np.float32)
    t = np.linspace(0, 1, _HORIZON, dtype=np.float32)[:, None]
    colours = np.where(
        t < 0.6, top + (middle - top) * (t / 0.6), middle + (bottom - middle) * (t - 0.6) / 0.4
    )
    image[:_HORIZON] = colours[:, None]
    _disc(image, 1040, 470, 74, (255, 236, 190))


def _hills(image: Image) -> None:
    for base, height, step, colour in (
        (_HORIZON, 120, 290, (122, 72, 104)),
        (_HORIZON, 74, 190, (86, 54, 88)),
    ):
        x = np.arange(0, CANVAS[0] + 8, 8)
        ridge = base - height * (
            0.55 + 0.3 * np.sin(x / step + height) + 0.15 * np.sin(x / step * 3.1)
        )
        outline = list(zip(x.tolist(), ridge.tolist(), strict=True))
        _shape(image, [(0, base), *outline, (CANVAS[0], base)], colour)


def _town(image: Image) -> None:
    """Houses with rows of lit windows: gratings of several pitches."""
    rng = np.random.default_rng(7)
    x = 0
    while x < 430:
        width, height = int(rng.integers(46, 84)), int(rng.integers(90, 250))
        top = _HORIZON - height
        shade = int(rng.integers(26, 52))
        cv2.rectangle(image, (x, top), (x + width, _HORIZON), (shade, shade - 4, shade + 22), -1)
        pitch = int(rng.choice([14, 18, 22]))
        for wy in range(top + 10, _HORIZON - 12, pitch):
            for wx in range(x + 8, x + width - 8, pitch):
                lit = rng.random()
                if lit > 0.25:
                    colour = (255, 214, 130) if lit > 0.5 else (150, 170, 190)
                    cv2.rectangle(image, (wx, wy), (wx + pitch // 2, wy + pitch // 2), colour, -1)
        x += width + int(rng.integers(2, 10))


def _bridge(image: Image) -> None:
    dark, deck = (54, 30, 44), _HORIZON - 34
    towers = (820, 1290)
    for x in towers:
        cv2.rectangle(image, (x - 10, 250), (x + 10, _HORIZON + 12), dark, -1)
        for y in range(280, deck, 44):
            _line(image, (x - 10, y), (x + 10, y + 44), (190, 120, 100), 3)
    cv2.rectangle(image, (560, deck), (CANVAS[0], deck + 12), dark, -1)
    spans = ((560, 820, deck, 255), (820, 1290, 255, 255), (1290, 1540, 255, deck))
    for left, right, y0, y1 in spans:
        sag = 210 if left == towers[0] else 30
        cable = []
        for x in range(left, right + 1, 6):
            t = (x - left) / (right - left)
            cable.append((x, y0 + (y1 - y0) * t + sag * 4 * t * (1 - t)))
        for a, b in pairwise(cable):
            _line(image, a, b, dark, 5)
        for top in cable[2:-2:3]:
            _line(image, top, (top[0], deck), dark, 2)


def _wheel(image: Image, turn: float) -> None:
    x, y, radius = 560, 372, 150
    dark, light = (40, 26, 44), (240, 206, 176)
    _line(image, (x, y), (x - 92, _HORIZON), dark, 9)
    _line(image, (x, y), (x + 92, _HORIZON), dark, 9)
    for ring, width in ((radius, 6), (radius - 22, 3)):
        _disc(image, x, y, ring, light, width)
    for spoke in range(24):
        angle = turn + spoke * math.tau / 24
        tip = (x + radius * math.cos(angle), y + radius * math.sin(angle))
        _line(image, (x, y), tip, light, 2)
        if spoke % 2 == 0:
            _line(image, tip, (tip[0], tip[1] + 16), dark, 3)
            colours = ((226, 84, 70), (250, 190, 70), (84, 160, 190))
            _disc(image, tip[0], tip[1] + 24, 12, colours[spoke // 2 % 3])
    _disc(image, x, y, 13, dark)


def _water(image: Image, time: float) -> None:
    mirror = image[_HORIZON - _WATER : _HORIZON][::-1].astype(np.float32)
    y = np.arange(_WATER, dtype=np.float32)[:, None]
    x = np.arange(CANVAS[0], dtype=np.float32)[None]
    depth = 0.25 + y / _WATER
    wave = np.sin(y / (3 + 9 * depth) - 5 * time) * 8 * depth + 4 * np.sin(x / 60 + 3 * time)
    moved = cv2.remap(mirror, x + wave, np.broadcast_to(y, wave.shape).copy(), cv2.INTER_LINEAR)
    glint = 14 * np.sin(x / 23 + y / 5 + 6 * time) * np.sin(y / (2 + 6 * depth) + 4 * time)
    tint = np.array([30, 40, 74], np.float32)
    image[_HORIZON:] = np.clip(moved * 0.6 + tint * 0.5 + glint[..., None], 0, 255)


def _boat(image: Image, x: float, time: float) -> None:
    y = 668 + 6 * math.sin(3 * time)
    hull = [(x - 120, y), (x + 130, y), (x + 92, y + 46), (x - 92, y + 46)]
    _shape(image, hull, (122, 36, 40))
    _line(image, (x - 118, y + 12), (x + 122, y + 12), (244, 236, 226), 5)
    _line(image, (x, y), (x, y - 232), (60, 40, 36), 6)
    _shape(image, [(x + 8, y - 14), (x + 8, y - 226), (x + 116, y - 14)], (246, 240, 228))
    _shape(image, [(x - 8, y - 14), (x - 8, y - 190), (x - 96, y - 14)], (232, 222, 206))
    for seam in range(1, 6):
        level = y - 14 - seam * 36
        _line(image, (x + 8, level), (x + 8 + 108 * (1 - seam / 5.9), level), (196, 180, 166), 2)
    font = cv2.FONT_HERSHEY_DUPLEX
    cv2.putText(
        image, "FDIWN", (round(x) + 14, round(y) - 26), font, 0.86, (70, 50, 92), 2, cv2.LINE_AA
    )


def _sign(image: Image) -> None:
    cv2.rectangle(image, (1000, 612), (1500, 820), (246, 240, 226), -1)
    cv2.rectangle(image, (1012, 624), (1488, 808), (40, 60, 96), 6)
    font, ink = cv2.FONT_HERSHEY_DUPLEX, (34, 50, 84)
    for text, y, size, width in (
        ("HARBOUR", 690, 2.3, 5),
        ("ferries to the islands", 740, 1.15, 2),
        ("07:15  09:40  12:05", 787, 1.15, 2),
    ):
        (w, _), _ = cv2.getTextSize(text, font, size, width)
        cv2.putText(image, text, (1250 - w // 2, y), font, size, ink, width, cv2.LINE_AA)


def _gulls(image: Image, time: float) -> None:
    for index in range(4):
        x = 300 + 250 * index + 130 * time
        y = 130 + 34 * math.sin(index * 2.3) + 12 * math.sin(2 * time + index)
        lift = 16 + 9 * math.sin(9 * time + index * 1.7)
        for side in (-1, 1):
            _line(image, (x, y), (x + side * 20, y - lift), (36, 30, 54), 4)
            _line(
                image, (x + side * 20, y - lift), (x + side * 44, y - lift * 0.5), (36, 30, 54), 3
            )


def draw(time: float, width: int, height: int) -> Image:
    """The scene at ``time`` seconds as RGB, ``(height, width, 3)``.

    The canvas is 16:9; ``width`` and ``height`` should be too.
    """
    image: Image = np.zeros((CANVAS[1], CANVAS[0], 3), np.uint8)
    _sky(image)
    _hills(image)
    _town(image)
    _bridge(image)
    _wheel(image, 0.5 * time)
    _gulls(image, time)
    _water(image, time)
    _boat(image, 300 + 70 * time, time)
    _sign(image)
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def sound(seconds: float, rate: int) -> NDArray[np.float32]:
    """A slow bell chord, ``(2, samples)`` in -1..1."""
    t = np.arange(round(seconds * rate)) / rate
    channels = np.zeros((2, t.size))
    for note, (pitch, begin) in enumerate(
        ((220.0, 0.0), (277.2, 0.25), (329.6, 0.5), (440.0, 0.75))
    ):
        after = np.maximum(t - begin, 0)
        bell = np.sin(math.tau * pitch * after) * np.exp(-2.2 * after) * (t >= begin)
        channels += 0.2 * bell * np.array([[1 - note / 4], [0.25 + note / 4]])
    return channels.astype(np.float32)

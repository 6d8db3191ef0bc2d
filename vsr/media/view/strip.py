"""Pictures in rows and columns as one picture, with labels."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vsr.errors import DependencyError, UsageError

__all__ = ["make_strip", "need_labels"]

_GAP = 8
_PAPER, _INK, _QUIET = 24, (235, 235, 235), (170, 175, 180)
_TEXT = 15  # pixels
_LINE = 24  # height of a line of text with its space
_MOST_PIXELS = 100_000_000


def need_labels() -> None:
    """Raise unless labels can be drawn.

    Raises:
        DependencyError: Pillow, which has a font, is not installed.
    """
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise DependencyError(
            "labels in a strip are drawn with Pillow, which is not installed",
            remedy="pip install 'fdiwn-vsr[compare]', or leave the labels out: --no-labels.",
        ) from error


def make_strip(
    rows: Sequence[Sequence[Tensor]],
    columns: Sequence[str] = (),
    names: Sequence[str] = (),
    *,
    zoom: int = 1,
) -> Tensor:
    """Lay pictures out as a table.

    Args:
        rows: pictures ``(3, H, W)`` uint8, all of one size.
        columns: a label for each column, drawn above it; shortened if it is too long. Empty for a
            strip without labels.
        names: a label for each row, drawn above its left end.
        zoom: each pixel becomes this many squared.

    Returns:
        ``(3, H', W')`` uint8.

    Raises:
        UsageError: the strip would have more than 100 million pixels.
        DependencyError: labels are wanted and Pillow is not installed.
    """
    _, height, width = rows[0][0].shape
    height, width = height * zoom, width * zoom
    head = _LINE if columns else 0
    tag = _LINE if names else 0
    whole_h = head + len(rows) * (tag + height + _GAP) + _GAP
    whole_w = len(rows[0]) * (width + _GAP) + _GAP
    if whole_h * whole_w > _MOST_PIXELS:
        raise UsageError(
            f"the strip would measure {whole_w}x{whole_h}",
            remedy="Show fewer frames, or a part of them: --crop.",
        )
    strip = torch.full((3, whole_h, whole_w), _PAPER, dtype=torch.uint8)
    texts = [(_GAP + i * (width + _GAP), 4, text, width, _INK) for i, text in enumerate(columns)]
    for row, pictures in enumerate(rows):
        top = head + row * (tag + height + _GAP) + _GAP + tag
        if names:
            room = whole_w - 2 * _GAP
            texts.append((_GAP, top - tag + 2, names[row], room, _QUIET))
        for column, picture in enumerate(pictures):
            left = _GAP + column * (width + _GAP)
            large = picture.repeat_interleave(zoom, 1).repeat_interleave(zoom, 2)
            strip[:, top : top + height, left : left + width] = large
    return _draw(strip, texts) if texts else strip


def _drawable(text: str) -> str:
    """``text`` in the letters that Pillow's own font has: accents go, the rest is ``?``."""
    plain = unicodedata.normalize("NFKD", text).replace("×", "x")
    kept = (letter for letter in plain if not unicodedata.combining(letter))
    return "".join(letter if " " <= letter <= "~" else "?" for letter in kept)


def _draw(
    strip: Tensor, texts: Sequence[tuple[int, int, str, int, tuple[int, int, int]]]
) -> Tensor:
    """Draw ``(x, y, text, room, colour)``."""
    need_labels()
    from PIL import Image, ImageDraw, ImageFont

    image = Image.fromarray(strip.permute(1, 2, 0).contiguous().numpy())
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(_TEXT)
    for x, y, label, room, color in texts:
        text = short = _drawable(label)
        keep = len(text)
        while keep > 1 and draw.textlength(short, font) > room:
            keep -= 1  # names of files often differ at their ends only, so the middle goes
            short = f"{text[: keep - keep // 2]}...{text[len(text) - keep // 2 :]}"
        draw.text((x, y), short, fill=color, font=font)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)

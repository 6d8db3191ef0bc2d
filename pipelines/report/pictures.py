"""Which pictures go into the page, and how much of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pipelines.report.check import png_size
from vsr.media.png import decode_png, encode_png
from vsr.types.stills import Picture, Still

__all__ = ["PageStills", "fit_stills"]

#: Frames with pictures on a page, and bytes of all their PNG files.
_MOST_STILLS, _MOST_BYTES = 24, 24_000_000
#: Largest part of a picture that is shown; a smaller one is tried until all fit.
_PARTS = ((1920, 1080), (1280, 720), (960, 540), (640, 360), (320, 180))

_Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class PageStills:
    """Stills cut down to what a page can hold.

    Attributes:
        stills: in order of their index.
        notes: what was left out, a sentence each.
    """

    stills: tuple[Still, ...]
    notes: tuple[str, ...]


def fit_stills(stills: Sequence[Still], wanted: Iterable[int]) -> PageStills:
    """Bound the number of frames, and their size by cutting out the middle of the pictures.

    Pictures are cut, never shrunk: what is looked for is in the single pixels. All pictures of a
    frame show the same part.

    Args:
        stills: checked by :func:`pipelines.report.check.check_stills`.
        wanted: indices of frames that must stay, the most important first.
    """
    notes = []
    kept = _keep(sorted(stills, key=lambda still: still.index), list(wanted))
    if len(kept) < len(stills):
        notes.append(f"Of {len(stills)} frames with pictures, {len(kept)} are on this page.")
    for width, height in _PARTS:
        cut = tuple(_cut(still, width, height) for still in kept)
        if _bytes(cut) <= _MOST_BYTES:
            break
    if cut != tuple(kept):
        largest = max(max(map(png_size, still.pictures)) for still in kept)
        notes.append(
            f"Pictures of up to {largest[0]}x{largest[1]} would make this page too large: it shows "
            f"the middle of them, {width}x{height} at most."
        )
    return PageStills(cut, tuple(notes))


def _keep(stills: list[Still], wanted: list[int]) -> list[Still]:
    if len(stills) <= _MOST_STILLS:
        return stills
    first = [still for still in stills if still.index in wanted[:_MOST_STILLS]]
    others = [still for still in stills if still not in first]
    room = _MOST_STILLS - len(first)
    spread = [others[i * len(others) // room] for i in range(room)]
    return sorted([*first, *spread], key=lambda still: still.index)


def _cut(still: Still, width: int, height: int) -> Still:
    """The middle of each picture, ``width`` x ``height`` at most in the largest one's pixels."""
    sizes = [png_size(picture) for picture in still.pictures]
    full_w, full_h = max(sizes)
    if full_w < full_h:
        width, height = height, width
    if full_w <= width and full_h <= height:
        return still
    # Counted in the smallest picture's pixels, so that the others are cut on whole pixels too.
    small_w, small_h = min(sizes)
    part_w = max(1, min(small_w, width * small_w // full_w))
    part_h = max(1, min(small_h, height * small_h // full_h))
    left, top = (small_w - part_w) // 2, (small_h - part_h) // 2
    pictures = []
    for picture, (w, h) in zip(still.pictures, sizes, strict=True):
        across, down = w / small_w, h / small_h
        box = (
            *(round(left * across), round(top * down)),
            *(round((left + part_w) * across), round((top + part_h) * down)),
        )
        pictures.append(_cut_picture(picture, box))
    return replace(still, pictures=tuple(pictures))


def _cut_picture(picture: Picture, box: _Box) -> Picture:
    left, top, right, bottom = box
    return replace(picture, png=encode_png(decode_png(picture.png)[:, top:bottom, left:right]))


def _bytes(stills: Iterable[Still]) -> int:
    return sum(len(picture.png) for still in stills for picture in still.pictures)

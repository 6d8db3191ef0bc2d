"""Pictures of chosen frames, for the report of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Picture", "Still"]


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a frame.

    Attributes:
        name: short and unique in its still: ``source``, ``bicubic``, a candidate's name, ``truth``.
        label: for people.
        png: a whole PNG file, 8-bit RGB.
    """

    name: str
    label: str
    png: bytes


@dataclass(frozen=True, slots=True)
class Still:
    """A frame (or an image) in all its versions, to be looked at side by side.

    Attributes:
        index: the frame's, as in :class:`vsr.types.FrameScore`.
        pts: its timestamp in ticks of the evaluation's time base; ``None`` for an image.
        label: why it was chosen, or the image's file name.
        pictures: the source first, the ground truth (if there is one) last.
    """

    index: int
    pts: int | None
    label: str
    pictures: tuple[Picture, ...]

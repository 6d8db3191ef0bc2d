"""Single frames to look at: the same moment of several candidates."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Picture", "Still"]


@dataclass(frozen=True, slots=True)
class Picture:
    """One candidate's picture of a frame.

    Attributes:
        name: the candidate's, such as ``fdiwn``; ``source`` and ``truth`` beside them.
        label: for people.
        png: a whole PNG file.
    """

    name: str
    label: str
    png: bytes


@dataclass(frozen=True, slots=True)
class Still:
    """A frame as each candidate has it, for looking at.

    Attributes:
        index: counted from 0 in presentation order, as in ``FrameScore``.
        pts: presentation timestamp in ticks of the evaluation's time base; ``None`` for an image.
        label: file name of an image; empty for a frame.
        pictures: in the order in which they are offered.
    """

    index: int
    pts: int | None
    label: str
    pictures: tuple[Picture, ...]

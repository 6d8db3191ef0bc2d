"""Which frames are kept as pictures: the worst, the best, and some at even distances.

Which these are is known at the end only, and keeping all frames until then is out of the question:
the worst and best so far are kept in bounded lists, and of the others every n-th, n doubling
whenever there are too many. Pictures are kept as PNG files, made when a frame enters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vsr.types.stills import Picture, Still

__all__ = ["StillChooser"]

MakePictures = Callable[[], tuple[Picture, ...]]


@dataclass(frozen=True, slots=True)
class _Kept:
    score: float
    still: Still


class StillChooser:
    """Chooses ``count`` frames of a sequence of unknown length, in one pass."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._extremes = count // 4 if count >= 4 else min(count, 1)
        self._even = max(0, count - 2 * self._extremes)
        self._worst: list[_Kept] = []
        self._best: list[_Kept] = []
        self._spread: list[_Kept] = []
        self._stride = 1

    def consider(
        self, index: int, pts: int | None, label: str, score: float, pictures: MakePictures
    ) -> None:
        """The next frame.

        Args:
            index, pts, label: as in :class:`vsr.types.FrameScore`.
            score: higher is better.
            pictures: makes the pictures; called only if the frame is kept.
        """
        if self._count == 0:
            return
        is_worst = self._enters(self._worst, -score)
        is_best = self._enters(self._best, score)
        is_even = self._even > 0 and index % self._stride == 0
        if not (is_worst or is_best or is_even):
            return
        kept = _Kept(score, Still(index, pts, label, pictures()))
        if is_worst:
            self._insert(self._worst, kept, -1)
        if is_best:
            self._insert(self._best, kept, 1)
        if is_even:
            self._spread.append(kept)
            if len(self._spread) > 4 * self._even:
                self._stride *= 2
                self._spread = [k for k in self._spread if k.still.index % self._stride == 0]

    def chosen(self) -> tuple[Still, ...]:
        """The frames, in order."""
        stills: dict[int, Still] = {}
        # Where the extremes are among the evenly spaced, others take their places.
        even = _evenly(self._spread, self._even)
        for kept in (*self._worst, *self._best, *even, *self._spread):
            if len(stills) < self._count:
                stills.setdefault(kept.still.index, kept.still)
        return tuple(stills[index] for index in sorted(stills))

    def _enters(self, kept: list[_Kept], score: float) -> bool:
        sign = -1 if kept is self._worst else 1
        return len(kept) < self._extremes or score > sign * kept[-1].score

    def _insert(self, kept: list[_Kept], new: _Kept, sign: int) -> None:
        kept.append(new)
        kept.sort(key=lambda k: (-sign * k.score, k.still.index))
        del kept[self._extremes :]


def _evenly(kept: list[_Kept], count: int) -> list[_Kept]:
    if len(kept) <= count:
        return kept
    if count == 1:
        return [kept[len(kept) // 2]]
    return [kept[round(i * (len(kept) - 1) / (count - 1))] for i in range(count)]

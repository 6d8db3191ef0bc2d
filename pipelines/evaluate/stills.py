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


#: Frames of a clip that lie nearer than this show the same moment: one of them is enough.
_APART = 12


@dataclass(frozen=True, slots=True)
class _Kept:
    """A frame; of the worst ones ``score`` is negated, so that more is more so."""

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
        apart = 1 if pts is None else _APART
        is_worst = self._enters(self._worst, index, -score, apart)
        is_best = self._enters(self._best, index, score, apart)
        is_even = self._even > 0 and index % self._stride == 0
        if not (is_worst or is_best or is_even):
            return
        still = Still(index, pts, label, pictures())
        if is_worst:
            self._insert(self._worst, _Kept(-score, still), apart)
        if is_best:
            self._insert(self._best, _Kept(score, still), apart)
        if is_even:
            self._spread.append(_Kept(score, still))
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

    def _enters(self, kept: list[_Kept], index: int, score: float, apart: int) -> bool:
        rivals = [k for k in kept if index - k.still.index < apart]
        if not rivals and len(kept) < self._extremes:
            return True
        return all(score > k.score for k in rivals or kept[-1:]) and self._extremes > 0

    def _insert(self, kept: list[_Kept], new: _Kept, apart: int) -> None:
        kept[:] = [k for k in kept if new.still.index - k.still.index >= apart]
        kept.append(new)
        kept.sort(key=lambda k: -k.score)
        del kept[self._extremes :]


def _evenly(kept: list[_Kept], count: int) -> list[_Kept]:
    if len(kept) <= count:
        return kept
    if count == 1:
        return [kept[len(kept) // 2]]
    return [kept[round(i * (len(kept) - 1) / (count - 1))] for i in range(count)]

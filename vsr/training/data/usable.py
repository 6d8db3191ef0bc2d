"""Which images can be trained on, and what is said about those that cannot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vsr.errors import InputError
from vsr.training.data.images import read_image, size_told

__all__ = ["PANNED", "PATCH", "SMALLEST_PATCH", "VALIDATED", "HrReader", "Least", "whole"]

#: Of ``--patch``.
SMALLEST_PATCH = 8


@dataclass(frozen=True, slots=True)
class Least:
    """How small an image may be.

    Attributes:
        what: what smaller ones are too small for.
        side: of a patch's side the LR pixels that every side must have.
        patch: the inverse, the largest patch for a side; ``None`` where patches do not matter.
    """

    what: str
    side: Callable[[int], int]
    patch: Callable[[int], int] | None = None

    def remedy(self, side: int, it: str = "it") -> str:
        """What to do about images whose shortest side has so many LR pixels."""
        take_out = f"Take {it} out of the folder"
        largest = self.patch(side) if self.patch is not None else 0
        if largest < SMALLEST_PATCH:
            return f"{take_out}."
        return f"{take_out}, or choose a --patch of at most {largest}."


PATCH = Least("a patch", lambda patch: patch, lambda side: side)
#: Clips are smaller than the picture that they pan over: by a tenth, and even.
PANNED = Least(
    "a patch and the pan of --degrade video over it",
    lambda patch: patch * 10 // 9 + 2,
    lambda side: (9 * (side - 1) - 1) // 10,
)
VALIDATED = Least("what can be validated on", lambda _: 16)


class HrReader:
    """Reads HR images, and notes which cannot be used.

    Args:
        folder: names them.
        scale: they are cropped to a multiple of it.
        patch: LR pixels that every side must have. least: why.
        shrink: as for :func:`~vsr.training.data.images.read_image`.
    """

    def __init__(self, folder: Path, scale: int, patch: int, least: Least, *, shrink: bool) -> None:
        self._folder, self._scale, self._patch, self._least = folder, scale, patch, least
        self._shrink = shrink
        self._problems: dict[Path, InputError] = {}
        self._small: list[int] = []

    @property
    def failed(self) -> bool:
        """Whether there was an image that cannot be used."""
        return bool(self._problems)

    def glance(self, paths: Sequence[Path]) -> None:
        """See by their headers whether some cannot be used, before any is decoded."""
        for path in paths:
            try:
                self._check(path, *size_told(path, shrink=self._shrink))
            except InputError as error:
                self._problems[path] = error

    def __call__(self, path: Path) -> NDArray[np.uint8] | None:
        """``(H, W, 3)``, sides multiples of ``scale``; ``None`` if it cannot be used."""
        if path in self._problems:
            return None
        try:
            hr = read_image(path, shrink=self._shrink)
            height, width = hr.shape[:2]
            self._check(path, width, height)
        except InputError as error:
            self._problems[path] = error
            return None
        return whole(hr, self._scale)

    def _check(self, path: Path, width: int, height: int) -> None:
        side = min(height, width) // self._scale
        if side < self._patch:
            self._small.append(side)
            least = self._patch * self._scale
            raise InputError(
                f"{width}x{height} pixels are smaller than {self._least.what} ({least}x{least})",
                where=str(path),
                remedy=self._least.remedy(side),
            )

    def error(self) -> InputError:
        """What is wrong: all images that cannot be used, a line each."""
        if len(self._problems) == 1:
            return next(iter(self._problems.values()))
        lines = [
            f"  {path.relative_to(self._folder).as_posix()}: {problem.what}"
            for path, problem in sorted(self._problems.items())
        ]
        remedy = self._least.remedy(min(self._small, default=0), "them")
        if len(self._small) < len(lines):
            remedy = remedy.replace(", or choose", "; for the small ones, choose")
        return InputError(
            "\n".join([f"{len(lines)} images cannot be used:", *lines]),
            where=str(self._folder),
            remedy=remedy,
        )


def whole(hr: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """Without the pixels that are no multiple of ``scale``."""
    height, width = hr.shape[:2]
    return hr[: height // scale * scale, : width // scale * scale]

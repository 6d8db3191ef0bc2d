"""Frames of two files, paired by the times at which they are shown."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Literal

from vsr.errors import InputError
from vsr.types import FrameBatch

__all__ = ["paired"]


def paired(
    reference: Iterator[FrameBatch],
    distorted: Iterator[FrameBatch],
    names: tuple[str, str],
    align: Literal["pts", "start"] = "pts",
) -> Iterator[tuple[FrameBatch, FrameBatch]]:
    """Pairs of frames; every frame of each side has a partner.

    Times are exact fractions of seconds. Two frames are partners if their times differ by half a
    tick of the coarser time base at most, which is what rounding to it can do.

    Args:
        reference, distorted: batches of one frame, in presentation order.
        names: of the two files.
        align: compare times as they are, or since each side's first frame.

    Raises:
        InputError: a frame has no partner; the error names the first one.
    """
    offsets: tuple[Fraction, Fraction] | None = None
    index = 0
    while True:
        pair = next(reference, None), next(distorted, None)
        first, second = pair
        if first is None or second is None:
            if first is not None or second is not None:
                raise _one_ends(first, second, names, index)
            return
        if offsets is None:
            starts = (_time(first), _time(second))
            offsets = starts if align == "start" else (Fraction(0), Fraction(0))
        times = _time(first) - offsets[0], _time(second) - offsets[1]
        tolerance = max(first.time_base, second.time_base) / 2
        if abs(times[0] - times[1]) > tolerance:
            raise _apart(first, second, names, index, times)
        yield first, second
        index += 1


def _time(batch: FrameBatch) -> Fraction:
    return batch.pts[0] * batch.time_base


def _described(batch: FrameBatch) -> str:
    return f"pts {batch.pts[0]}, {float(_time(batch)):.3f} s"


def _apart(
    first: FrameBatch,
    second: FrameBatch,
    names: tuple[str, str],
    index: int,
    times: tuple[Fraction, Fraction],
) -> InputError:
    lonely, other = (0, 1) if times[0] < times[1] else (1, 0)
    batches = (first, second)
    if index == 0:
        remedy = (
            "If the files are the same clip with another start, --align start pairs frames by the "
            "time since each file's first."
        )
    else:
        remedy = (
            f"The {index} frames before it pair. A frame was dropped or doubled, or the frame rate "
            "was changed: pictures of different moments are not compared."
        )
    return InputError(
        f"frame {index} ({_described(batches[lonely])}) has no partner in {names[other]}, whose "
        f"frame {index} is shown at another time ({_described(batches[other])})",
        where=names[lonely],
        remedy=remedy,
    )


def _one_ends(
    first: FrameBatch | None, second: FrameBatch | None, names: tuple[str, str], index: int
) -> InputError:
    longer, shorter = (0, 1) if first is not None else (1, 0)
    batch = first or second
    described = "" if batch is None else f" ({_described(batch)})"
    return InputError(
        f"frame {index}{described} has no partner: {names[shorter]} ends after {index} frames",
        where=names[longer],
        remedy=f"--frames {index} compares the frames that both have." if index else "",
    )

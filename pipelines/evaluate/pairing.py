"""Frames of two files, paired by the times at which they are shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import zip_longest
from typing import Literal

from vsr.errors import InputError
from vsr.types import FrameBatch

__all__ = ["check_times", "paired"]

Align = Literal["pts", "start"]

#: Timestamp in ticks, and seconds per tick.
Moment = tuple[int, Fraction]


def paired(
    reference: Iterator[FrameBatch],
    distorted: Iterator[FrameBatch],
    names: tuple[str, str],
    align: Align = "pts",
    starts: tuple[Fraction, Fraction] | None = None,
) -> Iterator[tuple[FrameBatch, FrameBatch]]:
    """Pairs of frames; every frame of each side has a partner.

    Times are exact fractions of seconds. Two frames are partners if their times differ by half a
    tick of the coarser time base at most, which is what rounding to it can do. Where times are
    counted since each file's start, the start was rounded too: then a whole tick is allowed, but
    never half the way to the next frame.

    Args:
        reference, distorted: batches of one frame, in presentation order.
        names: of the two files.
        align: compare times as they are, or since each file's start.
        starts: when each file starts, in seconds; by default with the first frames that come.

    Raises:
        InputError: a frame has no partner; the error names the first one.
    """
    pairing = _Pairing(names, align, starts)
    while True:
        first, second = next(reference, None), next(distorted, None)
        pairing.next(_moment(first), _moment(second))
        if first is None or second is None:
            return
        yield first, second


def check_times(
    reference: Sequence[Moment],
    distorted: Sequence[Moment],
    names: tuple[str, str],
    align: Align = "pts",
    starts: tuple[Fraction, Fraction] | None = None,
) -> None:
    """Raise what :func:`paired` would of frames with these times."""
    pairing = _Pairing(names, align, starts)
    for first, second in zip_longest(reference, distorted):
        pairing.next(first, second)


class _Pairing:
    """Looks at one pair after the other."""

    def __init__(
        self, names: tuple[str, str], align: Align, starts: tuple[Fraction, Fraction] | None
    ) -> None:
        self._names, self._align, self._starts = names, align, starts
        self._index = 0
        self._before: tuple[Fraction, Fraction] | None = None

    def next(self, first: Moment | None, second: Moment | None) -> None:
        """Raise unless these two are partners, or neither is there."""
        if first is None or second is None:
            if first is not None or second is not None:
                raise _one_ends(first, second, self._names, self._index)
            return
        shown = _time(first), _time(second)
        if self._align == "pts":
            self._starts = (Fraction(0), Fraction(0))
        elif self._starts is None:
            self._starts = shown
        times = shown[0] - self._starts[0], shown[1] - self._starts[1]
        if abs(times[0] - times[1]) > self._allowed(max(first[1], second[1]), times):
            raise _apart(first, second, self._names, self._index, times)
        self._before = times
        self._index += 1

    def _allowed(self, coarser: Fraction, times: tuple[Fraction, Fraction]) -> Fraction:
        if self._align == "pts" or self._before is None:
            return coarser / 2 if self._align == "pts" else coarser
        steps = [now - before for now, before in zip(times, self._before, strict=True)]
        return max(coarser / 2, min(coarser, *(step / 2 for step in steps)))


def _moment(batch: FrameBatch | None) -> Moment | None:
    return None if batch is None else (batch.pts[0], batch.time_base)


def _time(moment: Moment) -> Fraction:
    return moment[0] * moment[1]


def _described(moment: Moment) -> str:
    return f"pts {moment[0]}, {float(_time(moment)):.3f} s"


def _apart(
    first: Moment,
    second: Moment,
    names: tuple[str, str],
    index: int,
    times: tuple[Fraction, Fraction],
) -> InputError:
    lonely, other = (0, 1) if times[0] < times[1] else (1, 0)
    moments = (first, second)
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
        f"frame {index} ({_described(moments[lonely])}) has no partner in {names[other]}, whose "
        f"frame {index} is shown at another time ({_described(moments[other])})",
        where=names[lonely],
        remedy=remedy,
    )


def _one_ends(
    first: Moment | None, second: Moment | None, names: tuple[str, str], index: int
) -> InputError:
    longer, shorter = (0, 1) if first is not None else (1, 0)
    moment = first or second
    described = "" if moment is None else f" ({_described(moment)})"
    return InputError(
        f"frame {index}{described} has no partner: {names[shorter]} ends after {index} frames",
        where=names[longer],
        remedy=f"--frames {index} compares the frames that both have." if index else "",
    )

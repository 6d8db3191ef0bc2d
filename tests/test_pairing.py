"""Frames of several files are paired by time, and what has no partner is named."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsr.errors import InputError
from vsr.media.view.pairing import Timeline, check_pairs

MKV, MP4, PAL = Fraction(1, 1000), Fraction(1, 12800), Fraction(1, 25)


def line(name: str, times: list[Fraction], tick: Fraction) -> Timeline:
    return Timeline(name, tuple(round(time / tick) for time in times), tick)


@given(
    st.lists(st.integers(4, 500), min_size=0, max_size=40),
    st.integers(-5000, 5000),
    st.sampled_from([MKV, MP4, Fraction(1, 90000), Fraction(1001, 30000)]),
)
def test_rounding_to_the_ticks_of_another_container_pairs(
    steps: list[int], start: int, tick: Fraction
) -> None:
    """Whatever the frames' times in a fine file, a coarser file that rounds them pairs."""
    source = Fraction(1, 90000)
    times = [Fraction(start, 1000)]
    for step in steps:
        times.append(times[-1] + step * Fraction(1, 90) * Fraction(3, 2))
    fine = line("fine", times, source)
    exact = [pts * source for pts in fine.pts]
    coarse = line("coarse", exact, tick)
    if len(set(coarse.pts)) < len(exact):
        return  # the container cannot hold these frames
    check_pairs([fine, coarse])
    check_pairs([coarse, fine])


@given(st.integers(2, 30), st.data())
def test_a_frame_left_out_is_named(count: int, data: st.DataObject) -> None:
    gone = data.draw(st.integers(1, count - 1))
    times = [Fraction(i, 24) for i in range(count)]
    whole = line("a.mp4", times, MP4)
    holed = line("b.mkv", times[:gone] + times[gone + 1 :], MKV)
    with pytest.raises(InputError) as caught:
        check_pairs([whole, holed])
    assert caught.value.where == "b.mkv"
    assert f"frame {gone} of a.mp4, shown at {float(whole.time(gone)):.3f} s" in caught.value.what
    assert (
        f"({count - 1} frame{'s' * (count != 2)} there, {count} frames in a.mp4)"
        in caught.value.what
    )
    with pytest.raises(InputError, match=re.escape(f"frame {gone}, shown at")):
        check_pairs([holed, whole])


@given(st.fractions(-100, 100, max_denominator=1000))
def test_files_that_begin_at_other_times_are_laid_over_each_other(shift: Fraction) -> None:
    times = [Fraction(i * 1001, 30000) for i in range(20)]
    early = line("a.mp4", times, Fraction(1, 30000))
    check_pairs([early, line("b.mkv", [time + shift for time in times], MKV)])


def test_coarse_ticks_do_not_pair_with_the_frame_beside() -> None:
    times = [Fraction(i, 25) for i in range(10)]
    other = [Fraction(i, 25) for i in range(4)] + [Fraction(i + 1, 25) for i in range(4, 10)]
    for shift in (Fraction(0), Fraction(2)):
        moved = [time + shift for time in other]
        with pytest.raises(InputError, match=r"no frame for frame 4 of a\.avi, shown"):
            check_pairs([line("a.avi", times, PAL), line("b.avi", moved, PAL)])

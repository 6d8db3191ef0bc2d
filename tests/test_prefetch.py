"""The thread boundary: order, bounds, errors and stopping."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vsr.engine.clock import StageClock, bound_by
from vsr.engine.prefetch import Prefetch


@settings(max_examples=30, deadline=None)
@given(items=st.lists(st.integers(), max_size=60), depth=st.integers(1, 5))
def test_keeps_every_item_in_order(items: list[int], depth: int) -> None:
    with Prefetch(items, depth=depth, name="test") as ahead:
        assert list(ahead) == items


def test_runs_no_further_ahead_than_its_depth() -> None:
    made: list[int] = []
    full = threading.Semaphore(0)

    def source() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            full.release()
            yield number

    with Prefetch(source(), depth=2, name="test") as ahead:
        # Two finished ones may wait and a third may be in the producer's hands.
        for _ in range(3):
            assert full.acquire(timeout=30)
        assert not full.acquire(timeout=0.2)
        assert made == [0, 1, 2]
        assert list(ahead) == list(range(10))


def test_items_that_do_not_count_pass_the_bound() -> None:
    items = ["frame", *["packet"] * 50, "frame"]
    done = threading.Event()

    def source() -> Iterator[str]:
        yield from items
        done.set()

    with Prefetch(source(), depth=2, name="test", counts=lambda item: item == "frame") as ahead:
        assert done.wait(timeout=30)
        assert list(ahead) == items


def test_error_comes_after_everything_before_it() -> None:
    def source() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("broken at 3")

    seen: list[int] = []
    with (
        Prefetch(source(), depth=4, name="test") as ahead,
        pytest.raises(ValueError, match="broken at 3"),
    ):
        seen.extend(ahead)
    assert seen == [1, 2]


def test_closing_early_stops_an_endless_source() -> None:
    def endless() -> Iterator[int]:
        number = 0
        while True:
            yield number
            number += 1

    with Prefetch(endless(), depth=1, name="test") as ahead:
        assert next(iter(ahead)) == 0
    assert not ahead.running


def test_chained_stages_stop_together() -> None:
    def endless() -> Iterator[int]:
        while True:
            yield 0

    with (
        Prefetch(endless(), depth=1, name="first") as first,
        Prefetch((item + 1 for item in first), depth=1, name="second") as second,
    ):
        assert next(iter(second)) == 1
        first.close()
    assert not first.running
    assert not second.running


def test_clock_counts_work_only() -> None:
    clock, other = StageClock("decode"), StageClock("infer")
    assert list(clock.pulling(range(3))) == [0, 1, 2]
    assert clock.busy > 0
    other.busy = clock.busy + 1
    assert bound_by([clock, other]) == "infer"
    report = other.report(seconds=other.busy + 2)
    assert report.waiting == pytest.approx(2)

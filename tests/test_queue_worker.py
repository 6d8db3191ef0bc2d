"""The worker's side of a queue: a stop at a bad moment stops all the same."""

from __future__ import annotations

import io
import pickle
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pipelines.queue.messages import Order, Stopped
from pipelines.queue.worker import _Worker
from vsr.stopping import PATIENCE

ORDER = Order(source="a.mkv", destination="b.mkv", wishes={})


@pytest.fixture
def during(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[], object]], object]]:
    """Have a worker do something else; gives what it says became of it."""
    out = io.BytesIO()
    worker = _Worker(out)
    before = signal.signal(signal.SIGTERM, worker.on_signal)

    def outcome(work: Callable[[], object]) -> object:
        monkeypatch.setattr(_Worker, "_do", lambda *_: work())
        worker._orders.put(ORDER)
        worker.work()
        return pickle.loads(out.getvalue())

    yield outcome
    signal.signal(signal.SIGTERM, before)


def wait() -> None:
    """Far longer than any test takes."""
    for _ in range(3000):
        time.sleep(0.01)
    pytest.fail("the signal has not arrived")


def test_a_stop_whose_exception_is_dropped_comes_again(
    during: Callable[[Callable[[], object]], object],
) -> None:
    def work() -> None:
        with suppress(BaseException):  # as a C library does
            signal.raise_signal(signal.SIGTERM)
        wait()

    assert during(work) == Stopped()


def test_a_stop_within_an_import_waits_for_its_end(
    during: Callable[[Callable[[], object]], object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "vsr_test_inner.py").write_text(
        "import signal\nsignal.raise_signal(signal.SIGTERM)\nDONE = True\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    loaded = []

    def work() -> None:
        import vsr_test_inner  # type: ignore[import-not-found]

        loaded.append(vsr_test_inner.DONE)
        wait()

    try:
        assert during(work) == Stopped()
    finally:
        sys.modules.pop("vsr_test_inner", None)
    assert loaded in ([True], [])  # it may stop right behind the import


def test_what_cleans_up_is_left_alone(during: Callable[[Callable[[], object]], object]) -> None:
    cleaned = []

    def work() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            time.sleep(4 * PATIENCE)
            signal.raise_signal(signal.SIGTERM)  # impatience changes nothing
            cleaned.append("all of it")

    assert during(work) == Stopped()
    assert cleaned == ["all of it"]

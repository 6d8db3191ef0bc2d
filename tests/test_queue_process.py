"""The queue's side of a worker process, with something else in the place of the process."""

from __future__ import annotations

import errno
import io
import os
import subprocess
from typing import Any

import pytest

from pipelines.queue.messages import Failed, Order, Stopped
from pipelines.queue.process import Worker

ORDER = Order(source="a.mkv", destination="b.mkv", wishes={})


class Process:
    """A process that says nothing and ends when it is told to."""

    def __init__(self) -> None:
        self.stdin, self.stdout = io.BytesIO(), io.BytesIO()
        self.returncode, self.told = 1, False

    def terminate(self) -> None:
        self.told = True

    def wait(self) -> int:
        return self.returncode


def test_who_says_stop_while_the_process_is_being_begun_is_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker, process = Worker(), Process()

    def begin(*_: Any, **__: Any) -> Process:
        worker.stop()  # from another thread
        return process

    monkeypatch.setattr(subprocess, "Popen", begin)
    assert list(worker.do(ORDER)) == [Stopped()]
    assert process.told


def test_a_process_that_cannot_be_begun_is_not_the_files_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def begin(*_: Any, **__: Any) -> Process:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(subprocess, "Popen", begin)
    (failed,) = Worker().do(ORDER)
    assert isinstance(failed, Failed)
    assert failed.blameless
    assert "no process can be begun for it" in failed.what

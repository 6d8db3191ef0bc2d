"""The queue's side of a worker process, with something else in the place of the process."""

from __future__ import annotations

import errno
import io
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from synth import make_clip

import pipelines.queue.process
import pipelines.segments.cut
from pipelines.batch import upscale_all
from pipelines.queue.messages import Failed, Order, Stopped
from pipelines.queue.process import Worker
from pipelines.upscale import upscale
from pipelines.watch.request import WatchRequest
from pipelines.watch.watcher import Watcher
from vsr.errors import BackendError

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


def test_where_no_process_can_have_workers_that_is_said_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pipelines.queue.process, "WINDOWS", True)
    with pytest.raises(BackendError, match="Linux and macOS only"):
        next(upscale_all(["a.mkv"], tmp_path / "out", {}))
    with pytest.raises(BackendError, match="Linux and macOS only"):
        Watcher(WatchRequest(source=tmp_path, destination=tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("short")
def test_without_segments_a_video_is_done_straight_through(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pipelines.segments.cut, "WINDOWS", True)
    clip = make_clip(tmp_path / "in.mp4", frames=30)
    report = upscale(clip.path, tmp_path / "out.mp4", 2, model="bicubic")
    assert (report.frames_out, report.segments) == (30, 1)

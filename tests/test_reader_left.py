"""Readers that are left while another thread is inside of them, as when a run is stopped."""

from __future__ import annotations

import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from reading import request
from synth import make_clip

from vsr.engine.prefetch import Prefetch
from vsr.media.demux.side_packets import SidePackets
from vsr.media.read import pyav_reader
from vsr.media.read.pyav_reader import PyAVReader
from vsr.media.read.reader import open_reader
from vsr.types import Trim

#: More than any machine takes, for what happens at once.
LONG = 60


class Slow:
    """Reading that stops at the decoder's third packet until it may go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.decoded = 0
        self.inside, self.may_go_on = threading.Event(), threading.Event()
        self.containers: list[Any] = []
        decode, open_source = PyAVReader._decode, pyav_reader.open_source

        def slow(*arguments: Any, **more: Any) -> Any:
            self.decoded += 1
            if self.decoded == 3:
                self.inside.set()
                assert self.may_go_on.wait(LONG)
            return decode(*arguments, **more)

        def opened(*arguments: Any) -> Any:
            self.containers.append(open_source(*arguments))
            return self.containers[-1]

        monkeypatch.setattr(PyAVReader, "_decode", slow)
        monkeypatch.setattr(pyav_reader, "open_source", opened)

    def is_open(self) -> list[bool]:
        return [is_open(container) for container in self.containers]


def is_open(container: Any) -> bool:
    try:
        next(container.demux(), None)
    except AssertionError:  # PyAV's answer where the file is closed
        return False
    return True


@pytest.mark.parametrize("start", [None, 28])
def test_the_file_is_closed_by_the_thread_that_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: int | None
) -> None:
    # AVI is decoded from its beginning: the third packet lies long before the wanted part.
    clip = make_clip(tmp_path / "a.avi", codec="mpeg4", frames=30)
    slow = Slow(monkeypatch)
    with (
        open_reader("pyav", request(clip.path, trim=Trim(start=start))) as reader,
        Prefetch(reader, depth=1, name="decode", grace=0.01) as ahead,
    ):
        assert slow.inside.wait(LONG)
    assert ahead.running
    slow.may_go_on.set()
    end = time.monotonic() + LONG
    while ahead.running and time.monotonic() < end:
        ahead.close()
    assert not ahead.running
    assert slow.decoded == 3
    assert slow.is_open() == [False]


def test_a_reader_that_nobody_is_inside_of_is_closed_by_who_leaves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip(tmp_path / "a.mp4", audio="aac", frames=30)
    slow = Slow(monkeypatch)
    slow.may_go_on.set()
    with open_reader("pyav", request(clip.path, side_streams=(1,))) as reader:
        items = iter(reader)
        assert next(items) is not None
    assert slow.is_open() == [False]
    with pytest.raises(RuntimeError, match="was left before"):
        next(items)


def test_packets_of_other_streams_are_not_read_on(tmp_path: Path) -> None:
    """However far the wanted part lies behind the beginning."""
    clip = make_clip(tmp_path / "a.mkv", audio="aac", frames=50)
    asked: list[int] = []

    def check() -> None:
        asked.append(1)
        if len(asked) == 4:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        SidePackets(str(clip.path), 0, [1], Fraction(1000), None, check)
    assert len(asked) == 4

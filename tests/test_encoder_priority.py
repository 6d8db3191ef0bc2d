"""An encoder's threads take what the network leaves of the processor, and nobody else's do."""

from __future__ import annotations

import os
import sys
import threading
from fractions import Fraction
from pathlib import Path

import av
import pytest

from vsr.media.priority import behind_the_network

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority here")


def niceness() -> list[int]:
    """Of all threads of this process."""
    return [
        os.getpriority(os.PRIO_PROCESS, int(task.name))
        for task in Path("/proc/self/task").iterdir()
    ]


def test_threads_that_an_encoder_starts_step_back() -> None:
    mine = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    before = niceness()
    context = av.CodecContext.create("libx264", "w")
    # x264 starts no thread for a small picture.
    context.width, context.height, context.pix_fmt = 320, 256, "yuv420p"
    context.time_base, context.thread_count, context.thread_type = Fraction(1, 25), 2, "AUTO"
    behind_the_network(context.open)
    started = niceness()
    for value in before:
        started.remove(value)
    assert started
    assert set(started) == {min(19, mine + 10)}
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == mine


def test_what_is_done_there_is_handed_back() -> None:
    assert behind_the_network(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        behind_the_network(lambda: 1 // 0)

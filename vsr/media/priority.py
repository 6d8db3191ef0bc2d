"""What share of the processor an encoder's threads get beside the network's."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

__all__ = ["behind_the_network", "share_processor"]

T = TypeVar("T")

#: Steps of niceness. Ten leave a tenth of a core that is wanted, and all of one that is not.
_STEPS = 10


def behind_the_network(work: Callable[[], T]) -> T:
    """Run ``work``, whose threads then take what the network's leave of the processor.

    The network's threads wait for each other hundreds of times a frame: what an encoder takes from
    one of them is lost to all. There are gaps enough, in which only one of them has work. Linux
    only, where a thread has a priority of its own and those it starts inherit it.
    """
    if sys.platform != "linux":
        return work()
    with ThreadPoolExecutor(1, "open", initializer=_step_back) as thread:
        return thread.submit(work).result()


def _step_back() -> None:
    thread = threading.get_native_id()
    now = os.getpriority(os.PRIO_PROCESS, thread)
    os.setpriority(os.PRIO_PROCESS, thread, min(19, now + _STEPS))


def share_processor() -> None:
    """Take real-time priority away from this process's threads.

    SVT-AV1 gives it to its own when it runs as root, as in most containers, and they then starve
    the network, the decoder and everything else on the machine. Linux only, as there.
    """
    tasks = Path("/proc/self/task")
    if not tasks.is_dir():
        return
    for task in tasks.iterdir():
        # A thread may end between being listed and being asked.
        with suppress(ProcessLookupError):
            if os.sched_getscheduler(int(task.name)) == os.SCHED_FIFO:
                os.sched_setscheduler(int(task.name), os.SCHED_OTHER, os.sched_param(0))

"""How much memory this process has used."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

__all__ = ["keep_freed_memory", "peak_memory", "resident_memory"]


def peak_memory() -> int:
    """Largest resident set of this process so far in bytes; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return peak if sys.platform == "darwin" else peak * 1024


def resident_memory() -> int:
    """Resident set of this process now in bytes; its peak so far where only that is known."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return peak_memory()


# mallopt's parameters, from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> None:
    """Let this process reuse the memory of one frame's features for the next; glibc only.

    By default glibc maps every large block anew and gives it back when it is freed. A network's
    features are large blocks, thousands a frame, and clearing their pages takes a fifth of the
    time. In threads other than the first, such as the network's, it takes memory from heaps of 64
    MB, each of which it gives back as soon as nothing is in it, whatever the threshold for that:
    so all threads are to share the first one's heap, which grows and stays.

    This holds for the whole process, so it is for programs to call, not for a library; before they
    start threads.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_ARENA_MAX, 1)

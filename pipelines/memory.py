"""How much memory this process has used."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["peak_memory", "resident_memory"]


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

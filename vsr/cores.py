"""How many cores this process may use.

Imports nothing of the package: ``hatch_build.py`` uses it before there is one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

__all__ = ["usable_cores"]


def usable_cores(root: Path = Path("/")) -> int:
    """Cores that this process may run on, or has the time of, whichever is less; at least 1.

    Containers (Docker's ``--cpus``) are given time rather than cores: a quota of their cgroup,
    which shows neither in the number of cores nor in affinity. More threads than that get no more
    done; each waits in turn until the quota is filled up again.

    Args:
        root: below which ``proc`` and ``sys`` lie.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    return max(1, min([cores, *(-(-quota // period) for quota, period in _quotas(root))]))


def _quotas(root: Path) -> Iterator[tuple[int, int]]:
    """Microseconds of a core in so many, of this process's cgroups and those around them."""
    mount = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:  # version 2
            for folder in _folders(mount, path):
                yield from _pair(*_read(folder / "cpu.max").split())
        elif "cpu" in controllers.split(","):
            for folder in _folders(mount / "cpu", path):
                names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
                yield from _pair(*(_read(folder / name).strip() for name in names))


def _folders(mount: Path, path: str) -> Iterator[Path]:
    """That of cgroup ``path`` and all around it, as far as they can be seen from here.

    A container may see its own cgroup as the outermost one, whatever it is called outside.
    """
    inside = PurePosixPath(path.lstrip("/"))
    if ".." not in inside.parts:
        yield from (mount / folder for folder in (inside, *inside.parents))
    else:
        yield mount


def _pair(quota: str = "", period: str = "", *_: str) -> Iterator[tuple[int, int]]:
    # "max" and -1 are no quota.
    if quota.isdecimal() and period.isdecimal() and int(period):
        yield int(quota), int(period)


def _read(path: Path) -> str:
    """What a file says; nothing where there is none, or it is not for us."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

"""How many cores there are for this process, and that torch uses no more."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from vsr import processor
from vsr.cores import usable_cores
from vsr.engine.backend import open_backend
from vsr.types import ModelPlan

_GROUP = "sys/fs/cgroup"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 16),
        ({"proc/self/cgroup": "0::/\n", f"{_GROUP}/cpu.max": "max 100000\n"}, 16),
        # A container sees its own group as the outermost one, or is told what it is called outside.
        ({"proc/self/cgroup": "0::/\n", f"{_GROUP}/cpu.max": "150000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/docker/1\n", f"{_GROUP}/cpu.max": "400000 100000\n"}, 4),
        ({"proc/self/cgroup": "0::/../2\n", f"{_GROUP}/cpu.max": "10000 100000\n"}, 1),
        (
            {
                "proc/self/cgroup": "0::/a.slice/b:c.scope\n",
                f"{_GROUP}/a.slice/cpu.max": "300000 100000\n",
                f"{_GROUP}/a.slice/b:c.scope/cpu.max": "800000 100000\n",
            },
            3,
        ),
        (
            {
                "proc/self/cgroup": "3:cpuset:/\n2:cpuacct,cpu:/docker/1\n1:name=systemd:/\n0::/\n",
                f"{_GROUP}/cpu/cpu.cfs_quota_us": "-1\n",
                f"{_GROUP}/cpu/cpu.cfs_period_us": "100000\n",
                f"{_GROUP}/cpu/docker/1/cpu.cfs_quota_us": "250000\n",
                f"{_GROUP}/cpu/docker/1/cpu.cfs_period_us": "50000\n",
            },
            5,
        ),
        ({"proc/self/cgroup": "0::/\n", f"{_GROUP}/cpu.max": "9900000 100000\n"}, 16),
        ({"proc/self/cgroup": "nonsense\n0::/\n", f"{_GROUP}/cpu.max": "\n"}, 16),
    ],
)
def test_a_quota_counts_as_cores(
    files: dict[str, str], cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert usable_cores(tmp_path) == cores


@pytest.mark.parametrize(("told", "threads"), [("", 2), ("3", 3)])
def test_a_backend_uses_no_more_threads_than_there_are_cores(
    told: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "usable_cores", lambda: 2)
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    processor.heed_quota.cache_clear()
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        open_backend("torch", ModelPlan("bicubic", 2), "cpu", "float32")
        assert torch.get_num_threads() == threads
        torch.set_num_threads(3)  # somebody means it
        open_backend("torch", ModelPlan("bicubic", 2), "cpu", "float32")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)

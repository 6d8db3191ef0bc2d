"""Jobs on a Ray cluster: real nodes, all on this machine; the result is what one worker gives."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from segment_jobs import assert_same, plan_for
from synth import make_clip

from pipelines.events import Event, Progress, Warned
from pipelines.upscale import run_upscale, upscale
from vsr.errors import BackendError, ModelError

ray = pytest.importorskip("ray", reason="Ray (the extra `ray`) is not installed")

from ray.cluster_utils import Cluster as LocalCluster  # noqa: E402

from pipelines.distributed.cluster import Cluster  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    # Ray's own: sockets and files that it leaves to the garbage collector, and deprecations.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def nodes() -> Iterator[LocalCluster]:
    """A head without a CPU, and two nodes with one each."""
    small = {"object_store_memory": 80 << 20, "include_dashboard": False}
    cluster = LocalCluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=80 << 20)
    cluster.wait_for_nodes()
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """160 frames at two a second: eight segments."""
    path = tmp_path_factory.mktemp("source") / "in.mp4"
    options = {"g": "10", "bf": "3"}
    make_clip(path, frames=160, rate=2, width=48, height=48, audio="aac", options=options)
    return path


@pytest.fixture(scope="module")
def whole(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one worker gives."""
    path = tmp_path_factory.mktemp("whole") / "out.mp4"
    run_upscale(plan_for(clip, path))
    return path


def test_nodes_give_what_one_worker_gives(
    nodes: LocalCluster, clip: Path, whole: Path, tmp_path: Path
) -> None:
    events: list[Event] = []
    out = tmp_path / "out.mp4"
    report = upscale(
        clip, out, 2, model="bicubic", ray=nodes.address, on_event=events.append
    )
    assert (report.workers, report.frames_out) == (2, 160)
    assert report.segments > 2
    assert not report.warnings
    assert_same(out, whole, "a:0")
    told = [event for event in events if isinstance(event, Progress)]
    assert (told[-1].frames, told[-1].total) == (160, 160)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]

"""Jobs on a Ray cluster: real nodes, all on this machine; the result is what one worker gives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from segment_jobs import assert_same, plan_for
from synth import make_clip

from pipelines.distributed import pool as pools
from pipelines.distributed.cluster import Cluster
from pipelines.distributed.collect import Arriving
from pipelines.distributed.pool import RayPool
from pipelines.events import Event, Progress, Warned
from pipelines.segments import cut as cutting
from pipelines.segments.ledger import ledger_folder
from pipelines.upscale import plan_upscale, run_upscale, upscale
from vsr.errors import BackendError, DependencyError, UsageError

pytestmark = [
    pytest.mark.slow,
    # Ray leaves sockets and log files to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

_SMALL = {"object_store_memory": 80 << 20}


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A head without a CPU, and three nodes with one each."""
    ray = pytest.importorskip("ray", reason="Ray (the extra `ray`) is not installed")
    utils = pytest.importorskip("ray.cluster_utils")
    cluster = utils.Cluster()
    with pytest.MonkeyPatch.context() as patch:
        # A busy machine takes longer to start a node than Ray waits by default.
        patch.setenv("RAY_raylet_start_wait_time_s", "180")
        try:
            cluster.add_node(num_cpus=0, include_dashboard=False, **_SMALL)
            for _ in range(3):
                cluster.add_node(num_cpus=1, **_SMALL)
            cluster.wait_for_nodes()
            yield cluster
        finally:
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
    nodes: Any, clip: Path, whole: Path, tmp_path: Path
) -> None:
    events: list[Event] = []
    out = tmp_path / "out.mp4"
    report = upscale(clip, out, 2, model="bicubic", ray=nodes.address, on_event=events.append)
    assert (report.workers, report.segments, report.frames_out) == (3, 8, 160)
    assert not report.warnings
    assert report.peak_memory > 0
    assert_same(out, whole, "a:0")
    told = [event for event in events if isinstance(event, Progress)]
    assert (told[-1].frames, told[-1].total) == (160, 160)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_a_node_that_is_killed_in_the_middle_is_survived(
    nodes: Any, clip: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    running: list[RayPool] = []
    begin = RayPool._begin

    def remember(self: RayPool, most: int) -> None:
        running.append(self)
        begin(self, most)

    def listen(event: Event) -> None:
        if isinstance(event, Warned):
            told.append(event.message)
            return
        busy = [worker for worker in running[0]._workers if worker.frames]
        if busy and "killed" not in told:
            told.append("killed")
            name = busy[0].place.node
            node = next(n for n in nodes.worker_nodes if n.node_id == name)
            nodes.remove_node(node, allow_graceful=False)

    monkeypatch.setattr(RayPool, "_begin", remember)
    plan = plan_for(clip, tmp_path / "out.mp4")
    try:
        report = run_upscale(plan, on_event=listen, cluster=Cluster(nodes.address))
    finally:
        nodes.add_node(num_cpus=1, **_SMALL)
        nodes.wait_for_nodes()
    # A busy machine may have been told before that no worker has begun yet.
    assert "is lost" in told[told.index("killed") + 1]
    assert report.frames_out == 160
    assert_same(tmp_path / "out.mp4", whole, "a:0")


def test_a_source_that_nodes_do_not_have_is_sent_in_ranges(
    nodes: Any, clip: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = pools.source_identity
    # What the nodes find under this name seems to be another file.
    monkeypatch.setattr(pools, "source_identity", lambda path: {**real(path), "ends": "other"})
    sent: list[tuple[str, int, int]] = []
    read = RayPool._range

    def count(self: RayPool, which: str, offset: int, size: int) -> bytes:
        sent.append((which, offset, size))
        return read(self, which, offset, size)

    monkeypatch.setattr(RayPool, "_range", count)
    report = run_upscale(plan_for(clip, tmp_path / "out.mp4"), cluster=Cluster(nodes.address))
    assert "do not have the source" in " ".join(report.warnings)
    assert {which for which, _, _ in sent} == {"source"}
    assert_same(tmp_path / "out.mp4", whole, "a:0")


def test_weights_that_nodes_do_not_have_are_sent(
    nodes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_clip(tmp_path / "in.mkv", frames=4, width=24, height=16).path
    monkeypatch.setattr(cutting, "segment_length", lambda _: 2)
    results = [tmp_path / name for name in ("sent.mkv", "here.mkv")]
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # as on the nodes
    try:
        for out, cluster in zip(results, (Cluster(nodes.address, ship=True), None), strict=True):
            plan = plan_upscale(str(source), str(out), scale=2, codec="ffv1", dtype="float32")
            assert plan.model.name == "fdiwn"
            assert run_upscale(plan, cluster=cluster).segments == 2
    finally:
        torch.set_num_threads(before)
    assert_same(*results)


def test_three_failures_of_a_segment_end_the_job_and_keep_the_rest(
    nodes: Any, clip: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, plan = Cluster(nodes.address), plan_for(clip, tmp_path / "out.mp4")
    told: list[str] = []
    commit = Arriving.commit

    def damage(self: Arriving) -> None:
        if self.index == 3:
            self._file.seek(100)
            self._file.write(b"damage")
        commit(self)

    def listen(event: Event) -> None:
        if isinstance(event, Warned):
            told.append(event.message)

    with monkeypatch.context() as patch:
        patch.setattr(Arriving, "commit", damage)
        patch.setattr(pools, "_LOOK", 0.5)
        with pytest.raises(BackendError, match="damaged on its way"):
            run_upscale(plan, on_event=listen, cluster=cluster)
    assert sum("damaged on its way" in message for message in told) == 2
    assert "are kept in" in told[-1]
    left = [path.name for path in ledger_folder(plan.destination).iterdir()]
    assert "000000.segment" in left
    assert "000003.segment" not in left
    assert not [name for name in left if "part" in name]
    report = run_upscale(plan, cluster=cluster)
    assert report.resumed_frames >= 20
    assert_same(tmp_path / "out.mp4", whole, "a:0")


def test_a_node_with_other_versions_is_an_error(
    nodes: Any, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "versions", lambda: {"torch": "0.1"})
    with pytest.raises(DependencyError, match=r"has torch .*, this machine 0\.1"):
        run_upscale(plan_for(clip, tmp_path / "out.mp4"), cluster=Cluster(nodes.address))
    assert not list(tmp_path.iterdir())


def test_what_a_cluster_cannot_have(nodes: Any, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    with pytest.raises(BackendError, match="no GPU"):
        upscale(clip, out, model="bicubic", ray=nodes.address, device="cuda")
    with pytest.raises(UsageError, match="device of one machine"):
        upscale(clip, out, model="bicubic", ray=nodes.address, device="cuda:1")
    with pytest.raises(UsageError, match="Leave out --no-resume"):
        run_upscale(plan_for(clip, out), cluster=Cluster(nodes.address), resume=False)

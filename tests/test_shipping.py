"""Files that are read on another machine in ranges, without a cluster."""

from __future__ import annotations

import io
import queue
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from synth import make_clip

from pipelines.distributed.actor import NodeWorker, Task, _merged
from pipelines.distributed.cluster import Cluster, node_error
from pipelines.distributed.collect import Arriving
from pipelines.distributed.shipping import BLOCK, ShippedFile
from pipelines.segments.cut import cut_job
from pipelines.segments.serve import Message
from pipelines.segments.settings import source_identity, versions
from pipelines.upscale import plan_upscale, upscale
from vsr.errors import BackendError, DependencyError, UsageError, VerifyError
from vsr.media.probe import probe
from vsr.media.read.scan import scan_frames
from vsr.media.source import open_source, read_through
from vsr.types import Trim


@contextmanager
def shipped(data: bytes, cache: Path) -> Iterator[tuple[ShippedFile, list[tuple[int, int]]]]:
    """A shipped file, and the ranges it has asked for; another thread answers."""
    asked: queue.Queue[tuple[int, int] | None] = queue.Queue()
    ranges: list[tuple[int, int]] = []
    file = ShippedFile("in.mp4", len(data), cache, lambda *wanted: asked.put(wanted))

    def answer() -> None:
        while (wanted := asked.get()) is not None:
            ranges.append(wanted)
            file.give(wanted[0], data[wanted[0] : sum(wanted)])

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield file, ranges
    finally:
        asked.put(None)
        thread.join()
        file.close()


def test_only_what_is_read_is_sent_and_only_once(tmp_path: Path) -> None:
    data = b"".join(i.to_bytes(4, "little") for i in range(10 * BLOCK // 4)) + b"end"
    with shipped(data, tmp_path / "cache") as (file, ranges):
        reader = file.open()
        assert reader.seek(-3, io.SEEK_END) == len(data) - 3
        assert reader.read(10) == b"end"
        assert reader.read(10) == b""
        assert ranges == [(10 * BLOCK, 3)]
        assert reader.seek(BLOCK - 2) == BLOCK - 2
        assert reader.read(4) == data[BLOCK - 2 : BLOCK + 2]
        assert ranges[1:] == [(0, BLOCK), (BLOCK, 4 * BLOCK)]
        with file.open() as other:
            assert other.read() == data
        assert ranges[3:] == [(5 * BLOCK, 4 * BLOCK), (9 * BLOCK, BLOCK)]


def test_readers_share_what_has_come(tmp_path: Path) -> None:
    data = bytes(3 * BLOCK)
    with shipped(data, tmp_path / "cache") as (file, ranges):
        threads = [threading.Thread(target=lambda: file.open().read()) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(size for _, size in ranges) == len(data)


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".ts", ".avi"])
def test_ffmpeg_reads_it_as_it_reads_the_file(ending: str, tmp_path: Path) -> None:
    codec = "mpeg4" if ending == ".avi" else "libx264"
    clip = make_clip(tmp_path / f"in{ending}", frames=20, codec=codec, audio="aac")
    video = probe(clip.path).videos[0]
    local = scan_frames(str(clip.path), video, Trim())
    data = clip.path.read_bytes()
    clip.path.unlink()
    with shipped(data, tmp_path / "cache") as (file, _), read_through(str(clip.path), file.open):
        assert scan_frames(str(clip.path), video, Trim()) == local
        with open_source(str(clip.path)) as container:
            assert sum(1 for _ in container.decode(video=0)) == 20


def test_a_segment_that_arrives_damaged_gets_no_name(tmp_path: Path) -> None:
    arriving = Arriving(tmp_path, 3, 100)
    arriving.add(bytes(60))
    assert not arriving.complete
    arriving.add(bytes(40))
    assert arriving.complete
    with pytest.raises(VerifyError, match="damaged"):
        arriving.commit()
    arriving.discard()
    assert not list(tmp_path.iterdir())


def test_many_words_about_frames_become_one() -> None:
    said = [("next", None), ("frames", (2, (1, 1, 1))), ("frames", (3, (2, 2, 2))), ("over", None)]
    assert _merged(said) == [("next", None), ("frames", (5, (2, 2, 2))), ("over", None)]


def test_without_ray_the_remedy_is_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DependencyError, match=r"fdiwn-vsr\[ray\]"):
        Cluster("auto")


def test_a_node_without_a_package_is_told_from_one_that_is_lost() -> None:
    told = node_error(RuntimeError("ModuleNotFoundError: No module named 'av.video'"), "node 1")
    assert isinstance(told, DependencyError)
    assert "node 1 cannot import av.video" in str(told)
    assert isinstance(node_error(RuntimeError("the socket was closed"), "node 1"), BackendError)


@pytest.mark.parametrize("others", [{"devices": "cpu:2x1"}, {"resume": False}])
def test_what_ray_excludes(others: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        upscale(tmp_path / "in.mp4", tmp_path / "out.mp4", ray="auto", **others)


@pytest.mark.usefixtures("short")
def test_a_node_gives_back_what_is_to_be_read_another_way(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=20, options={"g": "8"})
    plan = plan_upscale(str(clip.path), str(tmp_path / "out.mkv"), model="bicubic", device="cpu")
    # One frame more than it gives.
    segment = replace(cut_job(plan).segments[1], frames=9)
    task = Task(plan, 0, source_identity(plan.source), None, 0, "", versions())
    worker = NodeWorker(task)
    try:
        said: list[Message] = []
        answers = iter((segment, replace(segment, how="decode"), None))
        while ("over", None) not in said:
            heard = worker.listen(60.0)
            assert heard
            said += heard
            for _ in range([word for word, _ in heard].count("next")):
                worker.answer(next(answers))
        assert [told for word, told in said if word == "again"] == [replace(segment, how="decode")]
        assert [told[0] for word, told in said if word == "made"] == [1]
        assert sum(told[0] for word, told in said if word == "frames") == 8
    finally:
        worker.close()

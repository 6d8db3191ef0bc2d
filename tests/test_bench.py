"""``vsr bench``: ratios, what is counted, and that what cannot be made is refused before."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from synth import video_frame

from pipelines.bench.clip import make_clip
from pipelines.bench.machine import Limits
from pipelines.bench.run import Bench, bench_text, run_bench
from pipelines.bench.stages import StageRow, _decoded, measure_whole
from pipelines.bench.timing import Timing, in_turn, ratio
from pipelines.upscale import plan_upscale
from vsr.cli.entry import run
from vsr.errors import UsageError
from vsr.media.probe import probe
from vsr.types import Plan


def test_ratio_is_that_of_rounds_not_of_sums() -> None:
    # The machine was disturbed in the last round, which slowed both alike.
    slow = Timing((4.0, 4.0, 40.0), (1.0, 1.0, 1.0))
    fast = Timing((1.0, 2.0, 20.0), (1.0, 1.0, 1.0))
    assert ratio(slow, fast) == 2.0


def test_rounds_are_interleaved_after_one_to_warm_up() -> None:
    done: list[str] = []
    timings = in_turn({"a": lambda: done.append("a"), "b": lambda: done.append("b")}, 2)
    assert "".join(done) == "ababab"
    assert [len(timing.seconds) for timing in timings.values()] == [2, 2]


def test_clip_has_pictures_and_sound(tmp_path: Path) -> None:
    make_clip(tmp_path / "clip.mp4", (32, 16), 5)
    info = probe(str(tmp_path / "clip.mp4"))
    assert (info.videos[0].width, info.videos[0].height, info.videos[0].frames) == (32, 16, 5)


@pytest.mark.parametrize("size", [(33, 32), (0, 16), (100_000, 16)])
def test_sizes_that_cannot_be_made(size: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="cannot be made"):
        run_bench("", size=size)


def test_a_result_is_replaced_only_if_that_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipelines.bench.run.run_bench", lambda *_, **__: {"fps": 1})
    monkeypatch.setattr("pipelines.bench.run.bench_text", lambda _: "fast")
    result = tmp_path / "here.json"
    assert run(["bench", "-o", str(result)]) == 0
    assert json.loads(result.read_text()) == {"fps": 1}
    result.write_text("old")
    assert run(["bench", "-o", str(result)]) == 4
    assert "(-y" in capsys.readouterr().err
    assert result.read_text() == "old"
    assert run(["bench", "-o", str(result), "-y"]) == 0
    assert json.loads(result.read_text()) == {"fps": 1}


def _whole(path: Path, pictures: list[int]) -> Plan:
    """A job on a clip of these shades of grey."""
    with av.open(str(path), "w") as clip:
        video = clip.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = 32, 16, "yuv420p"
        for shade in pictures:
            planes = [np.full((16 // n, 32 // n), shade, np.uint8) for n in (1, 2, 2)]
            clip.mux(video.encode(video_frame(planes, "yuv420p")))
        clip.mux(video.encode(None))
    return plan_upscale(
        str(path), str(path.with_name("large.mkv")), scale=2, model="bicubic", device="cpu"
    )


def test_repeated_frames_are_not_counted_as_computed(tmp_path: Path) -> None:
    whole = measure_whole(_whole(tmp_path / "clip.mkv", [16, 90, 90, 90, 90, 30]))
    assert (whole.frames, whole.repeated) == (6, 3)
    assert whole.share == pytest.approx(whole.fps / whole.network_fps / 2)
    limits, facts = Limits(1, 1), {"cpu": "", "cores": 1, "cpu_capability": "", "torch": ""}
    told = Bench(
        *("", None, facts | {"threads": 1}, "cpu", (32, 16), 2, "bicubic", limits),
        *((), (), whole),
    )
    text = bench_text(told)
    assert "End to end, 6 frames (3 like the one before, not computed again): " in text
    assert f"{whole.share:.0%} of the network alone" in text
    assert "like the one before" not in bench_text(replace(told, whole=replace(whole, repeated=0)))


def test_a_long_clip_is_not_held_in_memory(tmp_path: Path) -> None:
    row = StageRow("decode")
    kept = _decoded(_whole(tmp_path / "clip.mkv", list(range(20, 120))), row)
    assert 32 <= sum(len(batch) for batch in kept) < 48
    assert kept[0].planes[0][0, 0, 0] == 20
    assert row.seconds > 0

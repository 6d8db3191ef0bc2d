"""``vsr bench``: ratios, and that what cannot be made is refused before anything is measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.bench.clip import make_clip
from pipelines.bench.run import run_bench
from pipelines.bench.timing import Timing, in_turn, ratio
from vsr.cli.entry import run
from vsr.errors import UsageError
from vsr.media.probe import probe


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


@pytest.mark.parametrize("size", [(33, 32), (0, 16)])
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

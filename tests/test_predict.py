"""What ``vsr plan`` says a run will cost: frames of a part, and the size of a short one."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest
from synth import make_clip, picture, video_frame

from pipelines.predict import predict
from pipelines.reading import expected_frames
from pipelines.upscale import plan_upscale, run_upscale
from vsr.types import pixel_format


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_frames_of_a_part_are_known_without_the_streams_length(tmp_path: Path, name: str) -> None:
    clip = make_clip(tmp_path / name, frames=50)
    wishes = {"model": "bicubic", "scale": 2}

    def expected(**part: Fraction | int) -> list[int | None]:
        plan = plan_upscale(str(clip.path), str(tmp_path / "out.mkv"), **wishes, **part)
        less = replace(plan.video, duration=None)
        fewer = replace(less, frames=None)
        return [expected_frames(replace(plan, video=v)) for v in (plan.video, less, fewer)]

    assert expected(start=Fraction(6, 5)) == [20] * 3
    assert expected(start=Fraction(6, 5), frames=7) == [7] * 3
    assert expected(start=Fraction(2, 5), end=Fraction(4, 5)) == [10] * 3
    assert expected(end=Fraction(4, 5)) == [20] * 3


def test_the_size_of_a_short_clip_has_its_key_frame_in_it(tmp_path: Path) -> None:
    """A picture that stands still: nearly all bytes are the key frame's."""
    path = tmp_path / "still.mp4"
    planes = picture(0, pixel_format("yuv420p"), 160, 120)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": "20"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for index in range(30):
            frame = video_frame(planes, "yuv420p")
            frame.pts = index
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    plan = plan_upscale(str(path), str(tmp_path / "out.mp4"), scale=2, model="bicubic")
    assert plan.encode.gop > 100
    predicted = predict(plan, seconds=0.5).bytes
    report = run_upscale(plan)
    assert predicted is not None
    assert 0.5 < predicted / report.bytes < 1.5


def test_memory_counts_the_encoder_of_the_next_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a job long enough to be cut one segment's encoder ends while the next one's begins."""
    clip = make_clip(tmp_path / "a.mp4", frames=50)
    plan = plan_upscale(str(clip.path), str(tmp_path / "out.mp4"), scale=2, model="bicubic")
    long = replace(plan, video=replace(plan.video, frames=5000, duration=Fraction(200)))
    assert long.encode.encoder == "libx264"
    monkeypatch.setattr("pipelines.predict.resident_memory", lambda: 0)
    frame = plan.width * plan.height * 3 // 2
    more = predict(long, seconds=0.2).memory - predict(plan, seconds=0.2).memory
    assert more == (130 + 5 * plan.encode.threads) * frame

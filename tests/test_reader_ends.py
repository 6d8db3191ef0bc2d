"""Files that cannot be read to their end, and files that only look as if they were cut short."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import pytest
from reading import Result, near, request, same
from synth import Clip, make_clip

import vsr
from pipelines.upscale import plan_upscale, run_upscale
from vsr.media.demux import insistent
from vsr.media.demux.insistent import Insistent
from vsr.media.read.part import Part, locate

GROUP, FRAMES = 10, 60
READABLE = 50


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """A fragmented mp4, a group of pictures in each part; nothing behind the fifth can be read."""
    path = tmp_path_factory.mktemp("ends") / "a.mp4"
    clip = make_clip(
        path,
        frames=FRAMES,
        audio="aac",
        options={"x264-params": f"keyint={GROUP}:min-keyint={GROUP}:scenecut=0:bframes=0"},
        mux_options={"movflags": "frag_keyframe+empty_moov+default_base_moof+global_sidx"},
    )
    data = bytearray(path.read_bytes())
    parts = data.split(b"moof")
    at = len(b"moof".join(parts[:5])) + parts[5].index(b"trun") + len(b"moof") + 4 + 4
    # That many packets are not there, and their table is more than FFmpeg has memory for.
    data[at : at + 4] = (0x00FFFFFF).to_bytes(4, "big")
    path.write_bytes(data)
    with av.open(str(path)) as container:
        for _ in range(5):
            with pytest.raises(av.error.FFmpegError):
                list(container.demux())
    return clip


def test_what_comes_before_is_read(broken: Clip) -> None:
    result = Result(request(broken.path, side_streams=(1,)))
    assert len(result.frames) == READABLE
    assert all(same(result.frames[at], broken.picture(at)) for at in range(READABLE))
    (warning,) = [text for text in result.stats.warnings if "cut short" in text]
    assert "behind which nothing" in warning
    assert 1 <= result.stats.corrupt_packets < 5  # not each of the tries
    assert result.stats.side_packets[1] > 60


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("resume", [True, False])
def test_the_job_ends_there_and_says_so(broken: Clip, tmp_path: Path, resume: bool) -> None:
    plan = plan_upscale(str(broken.path), str(tmp_path / "out.mkv"), model="bicubic", device="cpu")
    report = run_upscale(plan, resume=resume)
    assert (report.segments > 1) == resume
    assert report.frames_out == READABLE
    assert sum("cut short" in warning for warning in report.warnings) == 1
    with av.open(plan.destination) as container:
        sound = [float(p.pts * p.time_base) for p in container.demux(audio=0) if p.pts is not None]
    assert 1.4 < sound[-1] < 1.7


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize(
    ("part", "count", "cut"), [({"frames": 20}, 20, False), ({"start": 1.0}, 25, True)]
)
def test_a_part_of_it(
    broken: Clip, tmp_path: Path, resume: bool, part: dict[str, Any], count: int, cut: bool
) -> None:
    out = str(tmp_path / "out.mkv")
    plan = plan_upscale(str(broken.path), out, model="bicubic", device="cpu", **part)
    report = run_upscale(plan, resume=resume)
    assert (report.segments > 1) == resume
    assert report.frames_out == count
    assert any("cut short" in warning for warning in report.warnings) == cut
    assert len(report.warnings) == cut


def test_frames_are_not_sought_by_its_packets(broken: Clip) -> None:
    video = request(broken.path).video
    assert locate(str(broken.path), video, Part(frames=5)) is not None
    assert locate(str(broken.path), video, Part(first=30, frames=10)) is None


def test_sound_may_be_missed_by_a_part_that_ends_there(broken: Clip, tmp_path: Path) -> None:
    report = vsr.upscale(
        str(broken.path), str(tmp_path / "a.mkv"), model="bicubic", device="cpu", frames=39
    )
    assert report.frames_out == 39
    assert any("sound and subtitles may end too early" in warning for warning in report.warnings)


def test_matroska_says_when_it_ends_not_how_long_it_is(tmp_path: Path) -> None:
    pts = [2500 + at for at in range(100)]  # from 100 s on
    clip = make_clip(tmp_path / "a.mkv", frames=100, pts=pts, options={"g": "5"})
    assert Result(request(clip.path)).stats.warnings == []
    data = clip.path.read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(data[: len(data) // 2])
    (warning,) = Result(request(cut)).stats.warnings
    assert "announces 4.00 s" in warning


class Failing:
    """A container whose demuxer gives two packets and then fails for ever."""

    def __init__(self, container: Any, error: Exception) -> None:
        self._container, self._error, self.asked = container, error, 0

    def demux(self, *streams: Any) -> Any:
        self.asked += 1
        if self.asked == 1:
            packets = self._container.demux(*streams)
            yield next(packets)
            yield next(packets)
        raise self._error


def test_a_disk_that_fails_is_not_the_end_of_the_file(broken: Clip) -> None:
    with av.open(str(broken.path)) as container:
        disk: Any = Failing(container, av.error.OSError(5, "Input/output error"))
        with pytest.raises(OSError, match="Input/output"):
            list(Insistent(disk, container.streams.video))
        assert disk.asked == insistent._MOST_FAILURES
    with av.open(str(broken.path)) as container:
        data: Any = Failing(container, av.error.InvalidDataError(1, "Invalid data"))
        source = Insistent(data, container.streams.video)
        sizes = [packet.size > 0 for packet in source]
        assert sizes == [True, True, False]
        assert (source.failures, type(source.broken)) == (1, av.error.InvalidDataError)


def test_a_slow_flv_with_reordered_frames_is_whole(tmp_path: Path) -> None:
    options = {"bf": "2", "b_strategy": "0", "preset": "medium"}
    clip = make_clip(tmp_path / "a.flv", frames=8, rate=Fraction(1, 6), options=options)
    result = Result(request(clip.path))
    assert result.pts == list(range(result.pts[0], result.pts[0] + 8 * 6000, 6000))
    assert result.stats.warnings == []
    assert all(near(frame, clip.picture(at)) for at, frame in enumerate(result.frames))

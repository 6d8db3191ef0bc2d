"""Reading a part: exactly its frames, and of the other streams exactly what belongs to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reading import Result, near, request, same
from synth import Clip, Subtitle, gradient_png, make_clip

from vsr.errors import InputError
from vsr.media.probe import probe
from vsr.media.read.reader import open_reader
from vsr.media.read.timestamps import snap_trim
from vsr.types import Trim, VideoStreamInfo

FRAMES = 60
LINES = [
    Subtitle(Fraction(1, 10), Fraction(6, 10), "long before and into"),
    Subtitle(Fraction(7, 10), Fraction(8, 10), "before"),
    Subtitle(Fraction(12, 10), Fraction(13, 10), "inside"),
    Subtitle(Fraction(2), Fraction(21, 10), "behind"),
]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Clip]:
    folder = tmp_path_factory.mktemp("clips")
    reordered = {"g": "12", "bf": "3", "b_strategy": "0", "preset": "medium"}
    uneven = [3 * i + (i % 3) for i in range(FRAMES)]
    return {
        "mp4": make_clip(folder / "a.mp4", frames=FRAMES, options=reordered, audio="aac"),
        "opengop": make_clip(
            folder / "o.mp4",
            frames=FRAMES,
            options={**reordered, "x264-params": "open-gop=1"},
        ),
        "vfr": make_clip(
            folder / "v.mkv",
            frames=FRAMES,
            options=reordered,
            pts=uneven,
            time_base=Fraction(1, 100),
            audio="aac",
            subtitles=LINES,
        ),
        "ts": make_clip(folder / "a.ts", frames=FRAMES, options=reordered, audio="aac"),
        "avi": make_clip(
            folder / "a.avi", frames=FRAMES, options={"g": "12", "bf": "0", "preset": "medium"}
        ),
        "avi_b": make_clip(folder / "b.avi", frames=FRAMES, options=reordered),
        "offset": make_clip(folder / "f.mov", frames=FRAMES, pts=[i + 500 for i in range(FRAMES)]),
        "ffv1": make_clip(folder / "i.mkv", frames=FRAMES, codec="ffv1"),
        "vp9": make_clip(
            folder / "a.webm",
            frames=FRAMES,
            codec="libvpx-vp9",
            options={"g": "12", "auto-alt-ref": "1", "lag-in-frames": "16", "deadline": "good"},
        ),
    }


KINDS = ["mp4", "opengop", "vfr", "ts", "avi", "avi_b", "offset", "ffv1", "vp9"]


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_part_is_the_same_frames_as_in_the_whole(
    clips: dict[str, Clip], kind: str, data: st.DataObject
) -> None:
    clip = clips[kind]
    first = data.draw(st.integers(0, FRAMES - 1), "first")
    stop = data.draw(st.integers(first + 1, FRAMES), "stop")
    count = data.draw(st.one_of(st.none(), st.integers(1, FRAMES)), "count")
    video = probe(str(clip.path)).videos[0]
    times = [t - clip.times[0] for t in clip.times]
    trim = snap_trim(
        str(clip.path),
        video,
        times[first],
        times[stop] if stop < FRAMES else None,
        count,
    )
    result = Result(request(clip.path, batch=4, trim=trim))
    last = min(stop, first + count) if count else stop
    assert len(result.frames) == last - first
    for at, frame in enumerate(result.frames):
        assert near(frame, clip.picture(first + at)), (kind, first, stop, at)
    assert result.stats.warnings == []
    whole = Result(request(clip.path, batch=4))
    assert all(map(same, result.frames, whole.frames[first:last]))
    assert result.pts == whole.pts[first:last]
    assert result.durations == whole.durations[first:last]


def seconds(result: Result, info: Any, stream: int) -> list[Fraction]:
    tick = info.streams[stream].time_base
    return [s.packet.pts * tick for s in result.side if s.stream == stream]


@pytest.mark.parametrize("kind", ["mp4", "vfr", "ts"])
def test_sound_of_a_part_begins_and_ends_with_it(clips: dict[str, Clip], kind: str) -> None:
    clip = clips[kind]
    info = probe(str(clip.path))
    (sound,) = info.of_kind("audio")
    video = info.videos[0]
    whole = Result(request(clip.path, batch=4, side_streams=(sound.index,)))
    everything = seconds(whole, info, sound.index)
    trim = Trim(start=whole.pts[20], end=whole.pts[40])
    part = Result(request(clip.path, batch=4, side_streams=(sound.index,), trim=trim))
    low, high = whole.pts[20] * video.time_base, whole.pts[40] * video.time_base
    expected = [t for t in everything if low <= t < high]
    assert seconds(part, info, sound.index) == expected
    assert len(expected) > 5
    # The same part told by its number of frames: the end is known only when it comes.
    counted = Trim(start=whole.pts[20], frames=20)
    again = Result(request(clip.path, batch=4, side_streams=(sound.index,), trim=counted))
    assert seconds(again, info, sound.index) == expected
    assert again.pts == whole.pts[20:40]


def test_subtitles_on_screen_in_the_part_come_along(clips: dict[str, Clip]) -> None:
    clip = clips["vfr"]
    info = probe(str(clip.path))
    (text,) = info.of_kind("subtitle")
    trim = snap_trim(str(clip.path), info.videos[0], Fraction(1, 2), Fraction(15, 10))
    part = Result(request(clip.path, side_streams=(text.index,), trim=trim))
    assert [bytes(s.packet) for s in part.side] == [line.text.encode() for line in LINES[:3]]
    trim = snap_trim(str(clip.path), info.videos[0], Fraction(9, 10), Fraction(15, 10))
    part = Result(request(clip.path, side_streams=(text.index,), trim=trim))
    assert [bytes(s.packet) for s in part.side] == [LINES[2].text.encode()]


def test_a_cover_belongs_to_every_part(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", audio="aac", cover=True, frames=30)
    info = probe(str(clip.path))
    (cover,) = (s.index for s in info.streams if isinstance(s, VideoStreamInfo) and s.is_cover)
    part = snap_trim(str(clip.path), info.videos[0], Fraction(1, 2), Fraction(3, 5))
    for trim in (Trim(), part):
        result = Result(request(clip.path, side_streams=(1, cover), trim=trim))
        assert [bytes(s.packet) for s in result.side if s.stream == cover] == [gradient_png()]


def test_a_reader_may_be_left_early(clips: dict[str, Clip]) -> None:
    for trim in (Trim(), Trim(start=probe(str(clips["mp4"].path)).videos[0].start)):
        req = request(clips["mp4"].path, side_streams=(1,), trim=trim)
        with open_reader("pyav", req) as reader:
            assert next(iter(reader)) is not None


def test_a_part_without_side_streams_gives_none(clips: dict[str, Clip]) -> None:
    result = Result(request(clips["mp4"].path, trim=Trim(frames=3)))
    assert (len(result.frames), result.side) == (3, [])


def test_times_between_frames_mean_the_next_frame(clips: dict[str, Clip]) -> None:
    path = str(clips["offset"].path)
    video = probe(path).videos[0]
    step = round(Fraction(1, 25) / video.time_base)
    first = video.start
    assert first == 500 * step
    snap: Callable[..., Trim] = lambda *args: snap_trim(path, video, *args)  # noqa: E731
    assert snap(Fraction(0)) == Trim()
    assert snap(Fraction(1, 25)) == Trim(start=first + step)
    assert snap(Fraction(1, 24)) == Trim(start=first + 2 * step)
    assert snap(None, Fraction(1, 25)) == Trim(end=first + step)
    assert snap(None, Fraction(1, 24)) == Trim(end=first + 2 * step)
    assert snap(None, Fraction(100)) == Trim()
    assert snap(None, None, 5) == Trim(frames=5)
    assert snap(Fraction(0), None, 5) == Trim(end=first + 5 * step, frames=5)
    assert snap(None, None, None) == Trim()


@pytest.mark.parametrize(
    ("start", "end", "why"),
    [
        (Fraction(100), None, r"behind the last frame, which is shown at 2\.360 s"),
        (Fraction(1), Fraction(1), "no frame begins in the part"),
        (Fraction(1), Fraction(1, 2), "no frame begins in the part"),
    ],
)
@pytest.mark.parametrize("kind", ["mp4", "avi"])
def test_a_part_without_frames_is_an_error(
    clips: dict[str, Clip], kind: str, start: Fraction, end: Fraction | None, why: str
) -> None:
    with pytest.raises(InputError, match=why):
        snap_trim(str(clips[kind].path), probe(clips[kind].path).videos[0], start, end)


def test_a_stream_that_is_no_video(clips: dict[str, Clip]) -> None:
    video = probe(clips["mp4"].path).videos[0]
    with pytest.raises(InputError, match="stream 1 is not a video stream"):
        snap_trim(str(clips["mp4"].path), replace(video, index=1), Fraction(1))


def test_deinterlaced_parts_equal_the_whole(tmp_path: Path) -> None:
    """The filter looks at the frame before, so that one must have been decoded too."""
    clip = make_clip(
        tmp_path / "a.mkv", codec="ffv1", frames=20, options={"g": "1"}, width=32, height=32
    )
    whole = Result(request(clip.path, deinterlace=True))
    part = Result(request(clip.path, deinterlace=True, trim=Trim(start=whole.pts[9], frames=4)))
    assert part.pts == whole.pts[9:13]
    for got, expected in zip(part.frames, whole.frames[9:13], strict=True):
        np.testing.assert_array_equal(got[0], expected[0])

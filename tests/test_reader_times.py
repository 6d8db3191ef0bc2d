"""Timestamps that packets do not tell: in AVI, in what was written like it, in program streams."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest
from media_factory import video as stream_of
from reading import Result, near, request, same
from synth import Clip, make_clip

from pipelines.compare_files import open_files
from vsr.media.probe import probe
from vsr.media.read.part import Part, locate
from vsr.media.read.reader import ReadStats
from vsr.media.read.scan import scan_frames
from vsr.media.read.timestamps import Stamps, first_shown, shown_times, snap_trim
from vsr.types import Trim

FRAMES = 40
REORDERED = {"g": "12", "b_strategy": "0", "preset": "medium"}


@pytest.mark.parametrize("between", ["1", "2", "3"])
def test_avi_with_reordered_frames_has_a_step_between_any_two(tmp_path: Path, between: str) -> None:
    clip = make_clip(tmp_path / "a.avi", frames=FRAMES, options={**REORDERED, "bf": between})
    found = Result(request(clip.path))
    first = found.pts[0]
    assert found.pts == list(range(first, first + FRAMES))
    assert found.stats.moved_pts == found.stats.invented_pts == found.stats.gaps == 0
    assert shown_times(str(clip.path), probe(clip.path).videos[0])[0] == tuple(found.pts)
    assert all(near(frame, clip.picture(at)) for at, frame in enumerate(found.frames))


def test_a_time_in_avi_is_the_frame_that_is_shown_then(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.avi", frames=FRAMES, options={**REORDERED, "bf": "3"})
    whole = Result(request(clip.path))
    trim = snap_trim(str(clip.path), probe(clip.path).videos[0], Fraction(10, 25), Fraction(15, 25))
    part = Result(request(clip.path, trim=trim))
    assert part.pts == whole.pts[10:15]
    assert all(map(same, part.frames, whole.frames[10:15]))


def test_frames_that_share_a_packet_are_spaced_by_the_stream_rate(tmp_path: Path) -> None:
    # A PES packet of a program stream holds 2 kB, so many of these small frames, and one timestamp.
    clip = make_clip(
        tmp_path / "a.mpg",
        frames=60,
        options={**REORDERED, "bf": "2", "crf": "40"},
        mux_options={"muxrate": "1000000"},
    )
    video = probe(str(clip.path)).videos[0]
    assert (video.average_rate, video.variable_rate) == (25, False)
    found = Result(request(clip.path))
    step = round(1 / (25 * video.time_base))
    assert found.stats.invented_pts > 0  # or this clip shows nothing
    assert found.stats.moved_pts == 0
    assert found.pts == list(range(found.pts[0], found.pts[0] + 60 * step, step))


def test_whoever_asks_for_times_without_reading_gets_those_that_are_read(tmp_path: Path) -> None:
    small = {**REORDERED, "bf": "2", "crf": "40"}
    shared = make_clip(tmp_path / "a.mpg", options=small, frames=FRAMES)
    video = probe(shared.path).videos[0]
    whole = Result(request(shared.path))
    assert video.timing == "sparse"
    assert whole.stats.invented_pts > 0
    assert shown_times(str(shared.path), video)[0] == tuple(whole.pts)
    trim = snap_trim(str(shared.path), video, Fraction(10, 25), Fraction(15, 25))
    part = Result(request(shared.path, trim=trim))
    assert part.pts == whole.pts[10:15]
    assert all(map(same, part.frames, whole.frames[10:15]))
    other = make_clip(tmp_path / "b.mp4", options=small, frames=FRAMES)
    files = open_files([str(shared.path), str(other.path)])
    assert [file.facts.frames for file in files] == [FRAMES, FRAMES]


def without_presentation(path: Path, ending: str) -> tuple[Path, Clip]:
    """A file with B-frames whose writer knew nothing of them, and the clip that it shows."""
    options = {**REORDERED, "bf": "3"}
    if ending != "mp4":  # FFmpeg's own: of ASF, and of MXF for H.264
        fmt = "yuv422p" if ending == "mxf" else "yuv420p"
        clip = make_clip(path / f"a.{ending}", frames=FRAMES, options=options, pix_fmt=fmt)
        return clip.path, clip
    clip = make_clip(path / "b.mp4", frames=FRAMES, options=options)
    with av.open(str(clip.path)) as source, av.open(str(path / "a.mp4"), "w") as sink:
        stream = sink.add_stream_from_template(source.streams.video[0])
        for at, packet in enumerate(p for p in source.demux(video=0) if p.size):
            packet.pts = packet.dts = at * packet.duration
            packet.stream = stream
            sink.mux(packet)
    return path / "a.mp4", clip


@pytest.mark.parametrize("ending", ["asf", "mxf", "mp4"])
def test_times_of_decoding_are_seen_to_be_none_of_showing(tmp_path: Path, ending: str) -> None:
    path, clip = without_presentation(tmp_path, ending)
    video = probe(path).videos[0]
    whole = Result(request(path))
    step = round(1 / (25 * video.time_base))
    first = whole.pts[0]
    assert whole.pts == list(range(first, first + FRAMES * step, step))
    assert whole.stats.warnings == []
    # As everybody else sees them.
    assert (video.timing, video.start, video.average_rate) == ("decoding", first, 25)
    assert (video.frames, video.frames_exact, video.variable_rate) == (FRAMES, True, False)
    assert shown_times(str(path), video)[0] == tuple(whole.pts)
    assert first_shown(str(path), video) == first * video.time_base
    assert scan_frames(str(path), video, Trim()).problem
    assert locate(str(path), video, Part(first=5)) is None
    # A part that begins between key frames.
    part = Result(request(path, trim=snap_trim(str(path), video, Fraction(17, 25))))
    assert part.pts == whole.pts[17:]
    assert all(map(same, part.frames, whole.frames[17:]))
    assert all(near(frame, clip.picture(at)) for at, frame in enumerate(whole.frames))


def _packed(path: Path) -> int:
    """A copy of an AVI as DivX makes it: packets of two pictures and, later, packets of none.

    Returns the number of frames.
    """
    options = {"g": "12", "bf": "2", "b_strategy": "0", "qscale": "2"}
    clip = make_clip(path.with_suffix(".plain.avi"), codec="mpeg4", frames=FRAMES, options=options)
    start, none = b"\0\0\1\xb6", bytes.fromhex("000001b651f07f")
    avi = path.with_suffix(".avi")
    with av.open(str(clip.path)) as old, av.open(str(avi), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0], opaque=True)
        packed: list[bytes] = []
        between = 0
        for packet in old.demux(video=0):
            data = bytes(packet)
            # FFmpeg's decoder, as DivX's own, goes by the name of the encoder.
            head, _, rest = data.partition(start)
            if not packed:
                data = head + b"\0\0\1\xb2DivX503b1393p" + start + rest
            reordered = rest[:1] >= b"\x80"
            if between and not reordered:
                packed.append(none)
            between = between + 1 if reordered else 0
            if between == 1:
                packed[-1] += data
            elif data:
                packed.append(data)
        for at, data in enumerate(packed):
            packet = av.Packet(data)
            packet.pts = packet.dts = at
            packet.time_base, packet.stream = Fraction(1, 25), stream
            packet.is_keyframe = data.partition(start)[2][0] >> 6 == 0
            new.mux(packet)
    with av.open(str(avi)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0], opaque=True)
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = stream
                new.mux(packet)
    return len(packed)


@pytest.mark.parametrize("ending", ["mkv", "mp4"])
def test_two_pictures_in_a_packet_and_none_in_the_next(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    frames = _packed(path)
    with av.open(str(path)) as file:
        told = [frame.pts for frame in file.decode(video=0)]
    assert told != sorted(told)
    info = probe(path).videos[0]
    assert info.timing == "decoding"
    found = Result(request(path))
    steps = {b - a for a, b in pairwise(found.pts)}
    assert (len(found.pts), len(steps)) == (frames, 1)
    assert found.stats.moved_pts == found.stats.gaps == 0


def test_plain_mpeg4_is_believed(tmp_path: Path) -> None:
    options = {"g": "12", "bf": "2", "b_strategy": "0"}
    clip = make_clip(tmp_path / "a.mkv", codec="mpeg4", frames=FRAMES, options=options)
    assert probe(clip.path).videos[0].timing == "presentation"
    found = Result(request(clip.path))
    assert found.pts == [found.pts[0] + 40 * at for at in range(FRAMES)]


@pytest.mark.parametrize("pts", [None, [0, 1, 4, 5, 6, 12, 13, 20, 21, 22, 30, 31]])
def test_rising_timestamps_are_believed_where_frames_keep_their_order(
    tmp_path: Path, pts: list[int] | None
) -> None:
    clip = make_clip(tmp_path / "a.mp4", codec="mpeg2video", pts=pts)
    with av.open(str(clip.path)) as container:
        assert container.streams.video[0].codec_context.has_b_frames  # it might have had some
    video = probe(clip.path).videos[0]
    assert video.timing == "presentation"
    times = [Fraction(pts * video.time_base) for pts in Result(request(clip.path)).pts]
    assert times == list(clip.times)


@pytest.mark.parametrize("between", ["0", "2"])
def test_frames_before_the_first_timestamp_are_counted_back_from_it(
    tmp_path: Path, between: str
) -> None:
    # FFmpeg takes times below zero in Matroska for none.
    clip = make_clip(
        tmp_path / "a.mkv",
        frames=FRAMES,
        pts=range(-13, FRAMES - 13),
        options={**REORDERED, "bf": between},
        mux_options={"avoid_negative_ts": "disabled"},
    )
    video = probe(clip.path).videos[0]
    found = Result(request(clip.path))
    assert [pts * video.time_base for pts in found.pts] == list(clip.times)
    assert (found.stats.invented_pts, found.stats.moved_pts) == (13, 0)
    assert video.start == found.pts[0]
    assert shown_times(str(clip.path), video)[0] == tuple(found.pts)


def test_frames_without_a_time_are_spaced_by_the_rate_and_not_by_a_gap() -> None:
    stats = ReadStats()
    stamps = Stamps(stream_of(time_base=Fraction(1, 90_000)), stats)
    given = [0, 3600, 200_000, None, None, 210_800, None, 230_000]
    told = [0, 3600, 200_000, 203_600, 207_200, 210_800, 214_400, 230_000]
    assert [stamps.of(pts) for pts in given] == told
    assert (stats.invented_pts, stats.moved_pts, stats.gaps) == (3, 0, 2)
    # Without rounding each step by itself: 30000/1001 frames/s in milliseconds.
    slower = stream_of(average_rate=Fraction(30_000, 1001), time_base=Fraction(1, 1000))
    stamps = Stamps(slower, stats)
    assert [stamps.of(None if at else 0) for at in range(301)][-1] == 10_010

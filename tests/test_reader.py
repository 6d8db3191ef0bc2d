"""Reading whole files: every frame, every timestamp, every sample, every side packet."""

from __future__ import annotations

import json
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from reading import Result, near, request, same
from synth import Subtitle, make_clip

from vsr.errors import InputError, UsageError
from vsr.media.probe import probe
from vsr.media.read.reader import READERS, Reader, ReadRequest, ReadStats, open_reader, reader_class
from vsr.types import Color, FrameBatch, Matrix


@pytest.mark.parametrize("batch", [1, 5, 64])
@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "width", "height"),
    [
        ("a.mp4", "libx264", "yuv420p", 64, 48),
        ("a.mkv", "libx265", "yuv420p10le", 66, 50),
        ("a.mkv", "ffv1", "yuv444p12le", 33, 17),
        ("a.mkv", "ffv1", "yuva420p", 33, 17),
        ("a.mkv", "ffv1", "gbrp10le", 33, 17),
        ("a.webm", "libvpx-vp9", "yuv444p", 64, 48),
        ("a.avi", "rawvideo", "yuv420p", 65, 49),
    ],
)
def test_every_sample_of_every_frame(
    tmp_path: Path, name: str, codec: str, pix_fmt: str, width: int, height: int, batch: int
) -> None:
    clip = make_clip(
        tmp_path / name, codec=codec, pix_fmt=pix_fmt, width=width, height=height, frames=13
    )
    result = Result(request(clip.path, batch=batch))
    assert len(result.frames) == 13
    assert all(same(frame, clip.picture(i)) for i, frame in enumerate(result.frames))
    tick = probe(str(clip.path)).videos[0].time_base
    assert [pts * tick for pts in result.pts] == list(clip.times)
    assert all(d * tick == Fraction(1, 25) for d in result.durations)
    assert result.sizes == [batch] * (13 // batch) + ([13 % batch] if 13 % batch else [])
    assert result.stats == ReadStats(frames=13)


def test_variable_rate_and_offset_with_reordering(tmp_path: Path) -> None:
    pts = [1000, 1017, 1050, 1051, 1090, 1200, 1233, 1300, 1310, 1320, 1500, 1502]
    clip = make_clip(
        tmp_path / "a.mkv",
        pts=pts,
        time_base=Fraction(1, 1000),
        options={"bf": "3", "b_strategy": "0", "preset": "medium"},
    )
    result = Result(request(clip.path, batch=4))
    assert result.pts == pts
    assert result.durations[:-1] == [b - a for a, b in pairwise(pts)]
    assert all(near(frame, clip.picture(i)) for i, frame in enumerate(result.frames))


def test_side_packets_are_the_files_own_in_its_order(tmp_path: Path) -> None:
    lines = [Subtitle(Fraction(1, 10), Fraction(3, 10), "Hello")]
    clip = make_clip(tmp_path / "a.mkv", audio="aac", audio_tracks=2, subtitles=lines, frames=50)
    info = probe(str(clip.path))
    wanted = tuple(s.index for s in info.streams if s.kind != "video")
    result = Result(request(clip.path, batch=4, side_streams=wanted))
    with av.open(str(clip.path)) as container:
        expected = [
            (p.stream_index, p.pts, bytes(p))
            for p in container.demux()
            if p.size and p.stream_index
        ]
    assert [(s.stream, s.packet.pts, bytes(s.packet)) for s in result.side] == expected
    assert sum(result.stats.side_packets.values()) == len(expected)
    assert result.stats.side_packets[wanted[-1]] == 1
    one = Result(request(clip.path, side_streams=wanted[1:2]))
    assert {s.stream for s in one.side} == {wanted[1]}


def test_a_video_that_is_not_the_first_stream_is_drained(tmp_path: Path) -> None:
    """The demuxer's last, empty packets all claim to belong to stream 0."""
    clip = make_clip(tmp_path / "a.mkv", audio="aac", frames=30, options={"bf": "3"})
    swapped = tmp_path / "b.mkv"
    with av.open(str(clip.path)) as source, av.open(str(swapped), "w") as out:
        video, sound = source.streams.video[0], source.streams.audio[0]
        streams = {s.index: out.add_stream_from_template(s) for s in (sound, video)}
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                out.mux(packet)
    info = probe(str(swapped))
    assert info.videos[0].index == 1
    result = Result(request(swapped, batch=4, side_streams=(0,)))
    assert len(result.frames) == 30
    assert all(near(frame, clip.picture(i)) for i, frame in enumerate(result.frames))


def test_colour_is_the_files_unless_it_was_decided(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", color=Color(matrix=Matrix.BT709))
    with open_reader("pyav", request(clip.path)) as reader:
        assert {b.color.matrix for b in reader if isinstance(b, FrameBatch)} == {Matrix.BT709}
    decided = Color(matrix=Matrix.SMPTE170M)
    with open_reader("pyav", request(clip.path, color=decided)) as reader:
        assert {b.color for b in reader if isinstance(b, FrameBatch)} == {decided}


def test_batches_outlive_the_reader(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", frames=40)
    with open_reader("pyav", request(clip.path, batch=8)) as reader:
        batches = [item for item in reader if isinstance(item, FrameBatch)]
    del reader
    for batch in batches:
        for at in range(len(batch)):
            frame = [plane[at].numpy() for plane in batch.planes]
            assert same(frame, clip.picture(batch.first_index + at))


def test_a_single_image(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.png", codec="png", pix_fmt="gray", frames=1)
    result = Result(request(clip.path))
    assert len(result.frames) == 1
    assert same(result.frames[0], clip.picture(0))


# Resolution changes -------------------------------------------------------------------------------


def two_sizes(folder: Path) -> tuple[Path, int]:
    """A raw H.264 stream whose picture changes from 64x48 to 96x80 after ten frames."""
    data = b""
    for width, height in ((64, 48), (96, 80)):
        part = folder / f"{width}.h264"
        make_clip(part, width=width, height=height, frames=10)
        data += part.read_bytes()
    path = folder / "both.h264"
    path.write_bytes(data)
    return path, 10


def test_a_change_of_size_is_an_error_that_says_where(tmp_path: Path) -> None:
    path, at = two_sizes(tmp_path)
    with pytest.raises(InputError, match=r"64x48 yuv420p to 96x80 yuv420p") as caught:
        Result(request(path, batch=4))
    assert f"frame {at}, pts" in caught.value.where
    assert "--on-resize scale" in caught.value.remedy


def test_or_all_frames_are_scaled_to_the_first_size(tmp_path: Path) -> None:
    path, at = two_sizes(tmp_path)
    result = Result(request(path, batch=4, on_resize="scale"))
    assert len(result.frames) == 20
    assert all(frame[0].shape == (48, 64) for frame in result.frames)
    assert "10 frames had another size" in " ".join(result.stats.warnings)
    assert at == 10


def test_frames_without_timestamps_are_spaced_evenly_and_counted(tmp_path: Path) -> None:
    make_clip(tmp_path / "a.h264", frames=10, rate=24)
    req = request(tmp_path / "a.h264", batch=3)
    result = Result(req)
    assert result.stats.frames == 10
    assert result.stats.invented_pts == 10
    assert "10 frames had no timestamp" in result.stats.warnings[0]
    steps = {b - a for a, b in pairwise(result.pts)}
    assert len(steps) == 1
    rate = req.video.average_rate
    assert rate is not None
    assert steps.pop() * req.video.time_base == 1 / rate


# Deinterlacing ------------------------------------------------------------------------------------


def weave(index: int, first: int = 0) -> NDArray[np.uint8]:
    """A bright bar that moves between the two fields of every frame; field ``first`` is earlier."""
    picture = np.full((48, 64), 40, np.uint8)
    for field in (0, 1):
        x = 4 * index + 2 * (field != first)
        picture[field::2, x : x + 8] = 200
    return picture


def interlaced_clip(path: Path, order: str) -> Path:
    """Twelve frames of YUV4MPEG2, which states the field order: ``t``, ``b`` or ``p``."""
    chroma = np.full(2 * 24 * 32, 128, np.uint8).tobytes()
    data = f"YUV4MPEG2 W64 H48 F25:1 I{order} A1:1 C420jpeg\n".encode()
    for index in range(12):
        data += b"FRAME\n" + weave(index, int(order == "b")).tobytes() + chroma
    path.write_bytes(data)
    return path


def combing(frame: NDArray[Any]) -> float:
    """How much neighbouring lines differ more than lines of the same field."""
    luma = frame.astype(float)
    return float(np.abs(luma[1:-1] - (luma[:-2] + luma[2:]) / 2).mean())


@pytest.mark.parametrize(("order", "first"), [("t", 0), ("b", 1)])
def test_deinterlacing_keeps_frames_times_and_the_first_field(
    tmp_path: Path, order: str, first: int
) -> None:
    path = interlaced_clip(tmp_path / "a.y4m", order)
    plain = Result(request(path, batch=5))
    smooth = Result(request(path, batch=5, deinterlace=True))
    assert smooth.pts == plain.pts == list(range(12))
    assert smooth.durations == plain.durations
    assert len(smooth.frames) == 12
    for index in range(12):
        woven = weave(index, first)
        assert same([plain.frames[index][0]], [woven])
        np.testing.assert_array_equal(smooth.frames[index][0][first::2], woven[first::2])
        assert combing(smooth.frames[index][0]) < combing(woven) / 3
    assert smooth.stats.warnings == []


def test_deinterlacing_unflagged_frames_on_request(tmp_path: Path) -> None:
    req = request(interlaced_clip(tmp_path / "a.y4m", "p"), deinterlace=True)
    assert not req.video.interlaced
    result = Result(req)
    assert len(result.frames) == 12
    assert combing(result.frames[5][0]) < combing(weave(5)) / 3
    assert "No frame is flagged as interlaced" in result.stats.warnings[0]


# The table ----------------------------------------------------------------------------------------


def test_unknown_reader(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4")
    with pytest.raises(UsageError, match="no reader called 'vlc'"):
        open_reader("vlc", request(clip.path))


@pytest.fixture(params=sorted(READERS))
def reader_name(request: pytest.FixtureRequest) -> str:
    reason = reader_class(request.param).available()
    if reason is not None:
        pytest.skip(f"{request.param}: {reason}")
    return str(request.param)


def test_every_reader_keeps_the_contract(tmp_path: Path, reader_name: str) -> None:
    clip = make_clip(tmp_path / "a.webm", codec="libvpx-vp9", audio="libopus", frames=14)
    device = "cuda:0" if reader_name == "nvdec" else "cpu"
    req = request(clip.path, batch=4, side_streams=(1,), device=device)
    result = Result(req, reader_name)
    assert [pts * req.video.time_base for pts in result.pts] == list(clip.times)
    if reader_class(reader_name).exact:
        assert all(same(frame, clip.picture(i)) for i, frame in enumerate(result.frames))
    assert result.side
    assert result.stats.frames == 14
    reader: Reader = open_reader(reader_name, req)
    assert reader.stats.frames == 0


# Reference files ----------------------------------------------------------------------------------

QUICK = [
    "clips/carphone_qcif_pristine.mp4",
    "clips/parkjoy_480x270_10f.y4m",
    "clips/flower_540p30.webm",
]


def test_reference_files_frame_by_frame(reference: Path) -> None:
    """As many frames as ffmpeg decodes, from the same first to the same last timestamp."""
    facts = json.loads((reference / "facts.json").read_text())
    names = [n for n in facts if n.startswith("nasty/")] + QUICK
    for name in names:
        fact = facts[name]
        if fact["container"] is None:
            with pytest.raises(InputError):
                request(reference / name)
            continue
        info = probe(str(reference / name))
        side = tuple(s.index for s in info.streams if s.kind in ("audio", "subtitle"))
        video = info.videos[0]
        result = Result(
            ReadRequest(
                str(reference / name),
                video,
                batch=4,
                side_streams=side,
                deinterlace=video.interlaced,
            )
        )
        ticks = [round(pts * video.time_base * 90000) for pts in result.pts]
        steps = [b - a for a, b in pairwise(ticks)]
        expected = fact["pts90k"]
        assert len(result.pts) == fact["decoded_v0_frames"], name
        assert abs(ticks[0] - expected["first"]) <= 1, name
        assert abs(ticks[-1] - expected["last"]) <= 1, name
        if steps:
            assert abs(min(steps) - expected["min_step"]) <= 1, name
            assert abs(max(steps) - expected["max_step"]) <= 1, name
        assert result.stats.warnings == [], name
        assert result.stats.corrupt_packets == result.stats.concealed_frames == 0, name
    assert len(names) > 28

"""The shape of pixels arrives, whatever the codec and the container."""

from __future__ import annotations

import re
import zlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from independent import decode_frames, packet_hashes
from plan_factory import ffmpeg_log, run, write_plan
from synth import make_clip

from vsr.errors import VerifyError
from vsr.media.codecs import CODECS
from vsr.media.probe import probe
from vsr.media.write import writer as writer_module
from vsr.media.write.into import file as file_module
from vsr.media.write.pixel_shape import display_size, reserve_shape, write_shapes
from vsr.media.write.verify import verify
from vsr.types import Color, ColorRange, Matrix, Primaries, StreamAction, Transfer

_PAIRS = [(n, b) for n, row in CODECS.items() if not row.hardware for b in row.containers]
_TRACKS, _CLUSTER = bytes.fromhex("1654ae6b"), bytes.fromhex("1f43b675")
_SHAPES = [Fraction(16, 11), Fraction(4, 3), Fraction(1)]


def _seen_elsewhere(path: Path) -> Fraction:
    """What an ffmpeg that is not PyAV's takes the shape for; the container's where it says both."""
    found = re.findall(r"SAR (\d+):(\d+)", ffmpeg_log(path))
    return Fraction(*map(int, found[-1])) if found else Fraction(1)


@pytest.mark.parametrize(("codec", "box"), _PAIRS)
def test_every_codec_keeps_the_shape(codec: str, box: str, tmp_path: Path) -> None:
    for sar in _SHAPES:
        clip = make_clip(tmp_path / "in.mp4", width=67, height=45, frames=2, sar=sar, codec="ffv1")
        out = tmp_path / f"{sar.numerator}.{box}"
        result = run(write_plan(clip.path, out, codec=codec, scale=2))
        assert (result.frames, result.given_up) == (2, ())
        # WebM has whole pixels only, and no ratio.
        slack = Fraction(1, 10000) if box == "webm" else 0
        for found in (probe(str(out)).videos[0].sar, _seen_elsewhere(out)):
            assert abs(found / sar - 1) <= slack
        assert len(decode_frames(out).times) == 2


def _marked(path: Path, *, shape: Fraction | None, title: str = "", stereo: str = "") -> Path:
    """A file of two video streams, the second with room for its shape, if it has one."""
    with av.open(str(path), "w", format="webm" if path.suffix == ".webm" else "matroska") as out:
        streams = [out.add_stream("libvpx-vp9", rate=25) for _ in range(2)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            stream.options = {"deadline": "realtime", "cpu-used": "8"}
        streams[1].metadata["language"] = "nld"
        if title:
            streams[1].metadata["title"] = title
        if stereo:
            streams[1].metadata["stereo_mode"] = stereo
        if shape is not None:
            reserve_shape(streams[1], shape)
        for pts in range(3):
            for stream in streams:
                frame = av.VideoFrame(64, 48, "yuv420p")
                for plane in frame.planes:
                    plane.update(bytes([pts * 40 + 30]) * plane.buffer_size)
                frame.pts, frame.time_base = pts, Fraction(1, 25)
                out.mux(stream.encode(frame))
        for stream in streams:
            out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("ending", ["mkv", "webm"])
@pytest.mark.parametrize("title", ["", "Ein Film", "a title of length " * 12])
@pytest.mark.parametrize("stereo", ["", "left_right", "top_bottom"])
def test_nothing_else_changes(ending: str, title: str, stereo: str, tmp_path: Path) -> None:
    path = _marked(tmp_path / f"a.{ending}", shape=Fraction(16, 11), title=title, stereo=stereo)
    before, hashes = path.read_bytes(), packet_hashes(path, "v:1")
    write_shapes(path, "a", 1, webm=ending == "webm")
    after = path.read_bytes()
    assert len(after) == len(before)
    differing = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    cluster = before.index(_CLUSTER)
    assert differing
    assert max(differing) < cluster
    assert b"pixel shape" not in after
    with av.open(str(path)) as file:
        first, second = file.streams.video
        assert (first.sample_aspect_ratio or 1, second.sample_aspect_ratio) == (1, Fraction(16, 11))
        assert (
            second.metadata.get("title", "") == title.strip() or title in second.metadata["title"]
        )
        assert second.metadata["language"] == "nld"
        assert second.metadata.get("stereo_mode", "") == stereo
        file.seek(80_000)
        assert next(file.demux(second)).pts is not None
    assert packet_hashes(path, "v:1") == hashes
    assert "SAR 16:11" in ffmpeg_log(path)


def test_copied_video_keeps_its_shape(tmp_path: Path) -> None:
    source = _marked(tmp_path / "in.mkv", shape=Fraction(16, 11), title="Second")
    write_shapes(source, "in", 1, webm=False)
    plan = write_plan(source, tmp_path / "out.mkv", codec="h264")
    second = plan.info.streams[1]
    assert second.kind == "video"
    run(replace(plan, streams=(StreamAction(second, "copy", "vp9"),)))
    with av.open(str(tmp_path / "out.mkv")) as file:
        assert file.streams[1].sample_aspect_ratio == Fraction(16, 11)
        assert file.streams[1].metadata["title"] == "Second"


def test_the_checksum_of_tracks_is_right(tmp_path: Path) -> None:
    path = _marked(tmp_path / "a.mkv", shape=Fraction(4, 3))
    for _ in range(2):
        data = path.read_bytes()
        at = data[: data.index(_CLUSTER)].rindex(_TRACKS) + 4
        long = 9 - data[at].bit_length()
        size = int.from_bytes(data[at : at + long], "big") - (1 << 7 * long)
        body = data[at + long : at + long + size]
        assert body[:2] == b"\xbf\x84"
        assert zlib.crc32(body[6:]).to_bytes(4, "little") == body[2:6]
        if b"pixel shape" in data:
            write_shapes(path, "a", 1, webm=False)


def test_a_strange_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    good = _marked(tmp_path / "a.mkv", shape=Fraction(4, 3)).read_bytes()
    cluster = good.index(_CLUSTER)
    tracks = good[:cluster].rindex(_TRACKS)
    broken = bytearray(good)
    broken[good.index(b"[pixel") - 40] ^= 1
    cases = {
        "has no tracks": good[: tracks - 4],
        "no Matroska": b"\0" * 64,
        "before its tracks": good[:tracks] + good[cluster:],
        "longer than": good[: tracks + 60],
        "checksum": bytes(broken),
        "0 tracks instead of 1": _marked(tmp_path / "b.mkv", shape=None).read_bytes(),
    }
    path = tmp_path / "c.mkv"
    for message, data in cases.items():
        path.write_bytes(data)
        with pytest.raises(VerifyError, match="pixel aspect ratio cannot be written"):
            write_shapes(path, "c", 1, webm=False)
        assert path.read_bytes() == data, message


@settings(deadline=None)
@given(
    st.integers(16, 9000),
    st.integers(16, 9000),
    st.fractions(Fraction(1, 16), Fraction(16), max_denominator=255),
)
def test_display_sizes_read_back_as_the_shape(width: int, height: int, sar: Fraction) -> None:
    wide, high = display_size(width, height, sar)
    found = Fraction(wide * height, high * width)
    assert high >= height
    assert abs(found / sar - 1) < Fraction(1, 10000)
    if (Fraction(width, height) * sar).denominator <= height // 16:
        assert found == sar


def test_display_sizes_stay_near_the_pictures() -> None:
    assert display_size(720, 576, Fraction(16, 11)) == (1060, 583)
    assert display_size(1440, 1080, Fraction(4, 3)) == (1920, 1080)
    assert display_size(64, 44, Fraction(2)) == (128, 44)
    assert display_size(1706, 958, Fraction(16, 11))[1] < 980


def test_a_lost_shape_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = make_clip(tmp_path / "in.mp4", width=32, height=32, frames=2, sar=Fraction(4, 3))
    monkeypatch.setattr(writer_module, "reserve_shape", lambda *_, **__: None)
    monkeypatch.setattr(file_module, "write_shapes", lambda *_, **__: None)
    out = tmp_path / "out.mkv"
    with pytest.raises(VerifyError, match="pixel aspect ratio is 1:1 instead of 4:3"):
        run(write_plan(clip.path, out, codec="vp9"))
    assert not out.exists()


_TAGS = [
    Color(Matrix.BT709, Primaries.BT709, Transfer.BT709, ColorRange.LIMITED),
    Color(Matrix.SMPTE170M, range=ColorRange.LIMITED),
    Color(Matrix.BT709, range=ColorRange.FULL),
    Color(Matrix.BT470BG, Primaries.BT470BG, range=ColorRange.FULL),
    Color(Matrix.BT2020_NCL, Primaries.BT2020, Transfer.PQ, ColorRange.LIMITED),
]


@pytest.mark.parametrize(("codec", "box"), _PAIRS)
def test_every_codec_keeps_colour_tags(codec: str, box: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", width=32, height=32, frames=1)
    for number, tags in enumerate(_TAGS):
        out = tmp_path / f"{number}.{box}"
        result = run(write_plan(clip.path, out, codec=codec, tags=tags, scale=1))
        seen = replace(probe(str(out)).videos[0].color, site=tags.site)
        if codec == "prores" and tags.range is ColorRange.FULL:
            # The planner writes ProRes in limited range, because it cannot say otherwise.
            assert [line for line in result.given_up if "range: full became limited" in line]
            seen = replace(seen, range=tags.range)
        else:
            assert result.given_up == ()
        assert seen == tags


def test_a_lost_tag_is_named(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", width=32, height=32, frames=1)
    plan = write_plan(clip.path, tmp_path / "out.mp4", codec="ffv1", tags=Color())
    run(plan)
    wanted = Color(Matrix.BT709, range=ColorRange.FULL)
    plan = replace(plan, encode=replace(plan.encode, tags=wanted))
    path = tmp_path / "out.mp4"
    frames, lost = verify(path, plan, 0, [0], Fraction(1, 25), [])
    assert frames == 1
    assert lost == (
        "colour tag matrix: bt709 became unspecified in .mp4 with ffv1.",
        "colour tag range: full became unspecified in .mp4 with ffv1.",
    )
    with pytest.raises(VerifyError, match=r"strict mode.*colour tag matrix"):
        verify(path, replace(plan, strict=True), 0, [0], Fraction(1, 25), [])

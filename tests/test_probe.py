"""What probe() says about synthetic files whose facts are known, and about broken ones."""

from __future__ import annotations

import json
import zipfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from synth import Subtitle, gradient_png, make_clip

from vsr.errors import InputError
from vsr.media.probe import probe
from vsr.plan import Request
from vsr.plan.color import decide_color
from vsr.plan.notes import Notes
from vsr.types import ChromaSite, Color, ColorRange, Matrix, Primaries, Transfer

LINES = [
    Subtitle(Fraction(1, 10), Fraction(3, 10), "Hello"),
    Subtitle(Fraction(7, 20), Fraction(9, 20), "World, again"),
]


def test_everything_in_an_mp4(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    make_clip(
        path,
        width=66,
        audio="aac",
        audio_tracks=2,
        cover=True,
        subtitles=LINES,
        subtitle_codec="mov_text",
        chapters=[(Fraction(0), Fraction(1, 4), "one"), (Fraction(1, 4), Fraction(12, 25), "two")],
        rotation=90,
        sar=Fraction(4, 3),
        metadata={"title": "T"},
    )
    info = probe(str(path))
    assert info.container.startswith("mov,mp4")
    assert info.size == path.stat().st_size
    assert info.duration is not None
    assert abs(info.duration - Fraction(12, 25)) < Fraction(1, 20)
    assert dict(info.metadata)["title"] == "T"
    assert [dict(c.metadata)["title"] for c in info.chapters] == ["one", "two"]
    assert [(c.start * c.time_base, c.end * c.time_base) for c in info.chapters] == [
        (Fraction(0), Fraction(1, 4)),
        (Fraction(1, 4), Fraction(12, 25)),
    ]
    (video,) = info.videos
    assert (video.width, video.height, video.sar) == (66, 48, Fraction(4, 3))
    assert (video.codec, video.native_format, video.format.name) == ("h264", "yuv420p", "yuv420p")
    assert video.average_rate == 25
    assert video.display_matrix == (0, -65536, 0, 65536, 0, 0, 0, 0, 1 << 30)
    assert (video.frames, video.frames_exact, video.variable_rate) == (12, True, False)
    assert video.color == Color()
    assert not video.interlaced
    assert [(s.codec, s.language) for s in info.of_kind("audio")] == [
        ("aac", "eng"),
        ("aac", "deu"),
    ]
    assert all(s.sample_rate == 48000 and s.channels == 2 for s in info.of_kind("audio"))
    assert [s.codec for s in info.of_kind("subtitle")] == ["mov_text"]
    (cover,) = (s for s in info.of_kind("video") if s.is_cover)
    assert cover.codec == "png"
    # QuickTime chapters are a text track of their own.
    assert [s.codec for s in info.of_kind("data")] == ["bin_data"]


def test_everything_in_a_matroska_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    make_clip(
        path,
        frames=5,
        pts=[40, 50, 90, 200, 210],
        time_base=Fraction(1, 1000),
        audio="libopus",
        audio_start=Fraction(1, 5),
        subtitles=LINES,
        attachments={"font.ttf": b"x" * 99},
        cover=True,
    )
    info = probe(str(path))
    (video,) = info.videos
    assert video.variable_rate
    assert (video.start, video.time_base, video.frames) == (40, Fraction(1, 1000), 5)
    (sound,) = info.of_kind("audio")
    assert sound.start is not None
    assert abs(sound.start * sound.time_base - Fraction(1, 5)) < Fraction(1, 100)
    (font,) = info.of_kind("attachment")
    assert dict(font.metadata)["filename"] == "font.ttf"
    assert [s.codec for s in info.of_kind("subtitle")] == ["subrip"]
    assert sum(s.is_cover for s in info.streams) == 1


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mkv", "ffv1", "yuv444p10le"),
        ("a.mkv", "ffv1", "gray16le"),
        ("a.mkv", "ffv1", "gbrp10le"),
        ("a.mkv", "libx265", "yuv420p10le"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.avi", "rawvideo", "yuv420p"),
        ("a.mov", "prores_ks", "yuv422p10le"),
        ("a.ts", "mpeg2video", "yuv420p"),
        ("a.flv", "libx264", "yuv420p"),
        ("a.y4m", "rawvideo", "yuv420p"),
    ],
)
def test_formats_and_containers(tmp_path: Path, name: str, codec: str, pix_fmt: str) -> None:
    make_clip(tmp_path / name, codec=codec, pix_fmt=pix_fmt)
    (video,) = probe(str(tmp_path / name)).videos
    assert video.format.name == pix_fmt
    assert (video.width, video.height, video.frames) == (64, 48, 12)
    assert video.average_rate == 25
    assert not video.variable_rate


def test_colour_tags_as_they_are(tmp_path: Path) -> None:
    color = Color(Matrix.BT2020_NCL, Primaries.BT2020, Transfer.PQ, ColorRange.LIMITED)
    make_clip(tmp_path / "a.mp4", codec="libx265", pix_fmt="yuv420p10le", color=color)
    assert probe(str(tmp_path / "a.mp4")).videos[0].color == color


@pytest.mark.parametrize(
    ("matrix", "name"),
    [
        (Matrix.IPT_C2, "IPT-C2"),
        (Matrix.YCGCO_RE, "YCgCo-Re"),
        (Matrix.YCGCO_RO, "YCgCo-Ro"),
    ],
)
def test_the_newest_matrices_are_not_taken_for_untagged(
    tmp_path: Path, matrix: Matrix, name: str
) -> None:
    color = Color(matrix=matrix)
    make_clip(tmp_path / "a.mkv", codec="ffv1", pix_fmt="yuv444p10le", color=color)
    (video,) = probe(str(tmp_path / "a.mkv")).videos
    assert video.color.matrix is matrix
    with pytest.raises(InputError, match=f"colour matrix {name} is not supported"):
        decide_color(video, Request(source="a.mkv"), Notes())


def test_static_hdr_metadata(tmp_path: Path) -> None:
    x265 = (
        "lossless=1:log-level=none:hdr10=1:repeat-headers=1:max-cll=1000,400:"
        "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    )
    make_clip(
        tmp_path / "a.mkv",
        codec="libx265",
        pix_fmt="yuv420p10le",
        options={"x265-params": x265},
    )
    hdr = probe(str(tmp_path / "a.mkv")).videos[0].hdr
    assert hdr is not None
    assert hdr.primaries == (
        (Fraction(34, 50), Fraction(16, 50)),
        (Fraction(1325, 5000), Fraction(3450, 5000)),
        (Fraction(75, 500), Fraction(3, 50)),
        (Fraction(15635, 50000), Fraction(16450, 50000)),
    )
    assert (hdr.max_luminance, hdr.min_luminance) == (1000, Fraction(1, 200))
    assert (hdr.max_cll, hdr.max_fall) == (1000, 400)


def test_full_range_by_name_and_siting_by_codec(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8))
        out.mux(stream.encode(frame.reformat(format="yuvj420p")))
        out.mux(stream.encode(None))
    (video,) = probe(str(path)).videos
    assert (video.native_format, video.format.name) == ("yuvj420p", "yuv420p")
    assert video.color.range is ColorRange.FULL
    assert video.color.site is ChromaSite.CENTER


@pytest.mark.parametrize(("flag", "top_first"), [("tff=1", True), ("bff=1", False)])
def test_interlaced(tmp_path: Path, flag: str, top_first: bool) -> None:
    make_clip(tmp_path / "a.mp4", options={"x264-params": flag})
    (video,) = probe(str(tmp_path / "a.mp4")).videos
    assert video.interlaced
    assert video.top_field_first is top_first


def test_long_reordered_streams_are_not_mistaken_for_variable_rate(tmp_path: Path) -> None:
    """The sample ends in the middle of a group of pictures, where later packets fill gaps."""
    options = {"qp": "40", "bf": "8", "b_strategy": "0", "preset": "veryfast"}
    make_clip(
        tmp_path / "a.mp4",
        width=32,
        height=32,
        frames=300,
        rate=Fraction(30000, 1001),
        options=options,
    )
    (video,) = probe(str(tmp_path / "a.mp4")).videos
    assert not video.variable_rate
    assert video.average_rate == Fraction(30000, 1001)
    assert video.frames == 300


def test_a_single_image_is_a_video_of_one_frame(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(gradient_png())
    (video,) = probe(str(tmp_path / "a.png")).videos
    assert (video.width, video.height, video.format.name) == (32, 32, "gray")


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file") as caught:
        probe(str(tmp_path / "none.mp4"))
    assert caught.value.where == str(tmp_path / "none.mp4")
    assert caught.value.remedy


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="folder"):
        probe(str(tmp_path))


def test_empty_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="empty"):
        probe(str(write(tmp_path / "a.mp4", b"")))


def test_text_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="text file"):
        probe(str(write(tmp_path / "a.txt", b"hello world\n" * 200)))


def test_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a", b"b" * 1000)
    with pytest.raises(InputError, match="no valid media data"):
        probe(str(tmp_path / "a.zip"))


def test_noise_with_a_video_name(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(100_000)
    with pytest.raises(InputError, match="no valid media data"):
        probe(str(write(tmp_path / "a.mp4", noise)))


def test_mp4_without_index(tmp_path: Path) -> None:
    make_clip(tmp_path / "a.mp4")
    data = (tmp_path / "a.mp4").read_bytes()
    cut = write(tmp_path / "cut.mp4", data[: data.index(b"moov") - 4])
    with pytest.raises(InputError, match="moov") as caught:
        probe(str(cut))
    assert "untrunc" in caught.value.remedy


def test_sound_without_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 2048), np.int16), "s16", "stereo")
        frame.sample_rate = 48000
        out.mux(stream.encode(frame))
    with pytest.raises(InputError, match="no video stream, only audio"):
        probe(str(tmp_path / "a.mkv"))


def test_reference_files(reference: Path) -> None:
    """Size, format, rate, aspect and streams as ffprobe sees them."""
    facts = json.loads((reference / "facts.json").read_text())
    seen = 0
    for name, fact in facts.items():
        if fact.get("container") is None or not name.startswith(("clips/", "nasty/")):
            continue
        info = probe(str(reference / name))
        seen += 1
        assert info.container == fact["container"], name
        assert len(info.chapters) == fact["chapters"], name
        kinds = [s["codec_type"] for s in fact["streams"]]
        assert [s.kind for s in info.streams] == kinds, name
        video = info.videos[0]
        expected = fact["streams"][video.index]
        assert (video.width, video.height) == (expected["width"], expected["height"]), name
        assert video.codec == expected["codec_name"], name
        assert video.native_format == expected["pix_fmt"], name
        ratio = expected.get("sample_aspect_ratio", "1:1")
        assert video.sar == Fraction(ratio.replace(":", "/")), name
        if video.frames_exact:
            assert video.frames == fact["decoded_v0_frames"], name
        assert video.start is not None
        assert abs(video.start * video.time_base * 90000 - fact["pts90k"]["first"]) <= 1, name
    assert seen > 30


def test_reference_hdr_and_dolby_vision(reference: Path) -> None:
    hdr = probe(str(reference / "nasty/g10_hevc10_hdr10_opus.mkv")).videos[0].hdr
    assert hdr is not None
    assert (hdr.max_luminance, hdr.max_cll, hdr.max_fall) == (1000, 1000, 400)
    phone = probe(str(reference / "nasty/d18_phone_hlg_rot90.mp4")).videos[0]
    assert phone.dolby_vision
    assert phone.color.transfer is Transfer.HLG
    assert phone.display_matrix is not None

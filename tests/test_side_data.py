"""Frame side data that is left behind: named in the plan, unless nobody would miss it."""

from __future__ import annotations

import io
import struct
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from av.codec.context import Flags
from av.sidedata.sidedata import Type
from independent import ffmpeg
from media_factory import media, plan_for, video
from synth import make_clip

from pipelines.extract import extract
from pipelines.upscale import upscale
from vsr.errors import StrictError
from vsr.media.ebml import element
from vsr.media.probe import probe
from vsr.media.side_data import has_dolby_colors, side_data

# SEI messages of H.264 (ITU-T H.264, annex D): type, and payload.
_AMBIENT = (148, bytes.fromhex("000a0b0c 3d13 4042"))  # illuminance, chromaticity of the light
_CAPTIONS = (
    4,
    bytes.fromhex("b5 0031 47413934 03 41 ff fc 9420 ff"),
)  # ATSC A/53, one CEA-608 pair


def _with_sei(path: Path, kind: int, payload: bytes) -> Path:
    """A clip whose key frame has this message; x264 writes one about itself anyway."""
    clip = make_clip(path.with_suffix(".plain.ts"), frames=5)
    message = b"\0\0\1\x06" + bytes([kind, len(payload)]) + payload + b"\x80"
    with av.open(str(clip.path)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0], opaque=True)
        for packet in old.demux(video=0):
            if packet.size == 0:
                continue
            changed = av.Packet(bytes(packet).replace(b"\0\0\1\x65", message + b"\0\0\1\x65", 1))
            changed.pts, changed.dts, changed.time_base = packet.pts, packet.dts, packet.time_base
            changed.stream, changed.is_keyframe = stream, packet.is_keyframe
            new.mux(changed)
    return path


@pytest.mark.parametrize(("message", "kind", "said"), [
    (_AMBIENT, "AMBIENT_VIEWING_ENVIRONMENT", "ambient viewing environment"),
    (_CAPTIONS, "A53_CC", "closed captions"),
])  # fmt: skip
def test_what_frames_carry_is_named_when_it_is_lost(
    message: tuple[int, bytes], kind: str, said: str, tmp_path: Path
) -> None:
    source, out = _with_sei(tmp_path / "in.ts", *message), tmp_path / "out.mkv"
    types = probe(str(source)).videos[0].side_data
    assert set(types) == {kind.lower(), "sei_unregistered"}
    (sentence,) = upscale(source, out, 2, model="bicubic").given_up
    assert sentence.startswith(said)
    with av.open(str(out)) as file:
        found = {data.type.name for frame in file.decode(video=0) for data in frame.side_data}
    assert kind not in found


def _turned_photo(path: Path) -> Path:
    """A JPEG with EXIF tags, of which one says that it is to be turned by 90 degrees."""
    tags = struct.pack("<2sHIHHHII", b"II", 42, 8, 1, 0x112, 3, 1, 6) + b"\0\0\0\0"
    segment = b"\xff\xe1" + struct.pack(">H", 8 + len(tags)) + b"Exif\0\0" + tags
    frame = av.VideoFrame.from_ndarray(np.full((96, 64), 90, np.uint8), "yuvj420p")
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    jpeg = b"".join(bytes(p) for p in [*encoder.encode(frame), *encoder.encode(None)])
    path.write_bytes(jpeg[:2] + segment + jpeg[2:])
    return path


def test_types_newer_than_pyav_are_named_and_hide_no_others(tmp_path: Path) -> None:
    source, out = _turned_photo(tmp_path / "photo.jpg"), tmp_path / "out.mkv"
    found = probe(str(source)).videos[0]
    assert set(found.side_data) == {"exif", "displaymatrix"}
    assert found.display_matrix is not None
    (sentence,) = upscale(source, out, 2, model="bicubic").given_up
    assert sentence.startswith("EXIF tags")
    assert probe(str(out)).videos[0].display_matrix == found.display_matrix


def test_a_type_without_a_name_has_its_number() -> None:
    assert (Type(99).name, Type(99).value, Type(99) is Type(99)) == ("TYPE_99", 99, True)
    with pytest.raises(ValueError, match="no number"):
        Type("no number")


def _cropped(path: Path, codec: str = "libx264", sar: Fraction = Fraction(1)) -> Path:
    """Three frames of 64x48, of which the container hides 8 rows at the top, 6 at the bottom.

    And 5 columns on the left and 3 on the right.
    """
    # Only FFmpeg's Matroska reader sets that, so a stream of such a file is the template.
    picture = element(0xB0, 64) + element(0xBA, 48) + element(0x54BB, 8) + element(0x54AA, 6)
    picture += element(0x54CC, 5) + element(0x54DD, 3)
    track = (
        element(0xD7, 1) + element(0x73C5, 1) + element(0x83, 1) + element(0x86, "V_MPEG4/ISO/AVC")
    )
    tracks = element(0x1654AE6B, element(0xAE, track + element(0xE0, picture)))
    head = element(0x1A45DFA3, element(0x4282, "matroska"))
    body = element(0x1549A966, element(0x2AD7B1, 1_000_000)) + tracks
    file = io.BytesIO(head + element(0x18538067, body + element(0x1F43B675, element(0xE7, 0))))
    with av.open(file, "r", format="matroska") as template, av.open(str(path), "w") as new:
        stream = new.add_stream(codec, rate=25)
        BitStreamFilterContext("null", template.streams.video[0], stream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = sar
        stream.codec_context.time_base = Fraction(1, 25)
        stream.codec_context.flags |= Flags.frame_duration
        for number in range(3):
            frame = av.VideoFrame(64, 48, "yuv420p")
            frame.pts, frame.duration = number, 1
            new.mux(stream.encode(frame))
        new.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("name", "result", "codec"), [
    ("in.mkv", "out.mkv", "h264"),
    ("in.mkv", "out.mp4", "hevc"),
    ("in.mp4", "out.mov", "prores"),
    ("in.mp4", "out.mkv", "ffv1"),
    ("in.mp4", "out.webm", "vp9"),
])  # fmt: skip
def test_players_hide_the_same_borders_of_the_result(
    name: str, result: str, codec: str, tmp_path: Path
) -> None:
    source, out = _cropped(tmp_path / name), tmp_path / result
    shown = ffmpeg("-i", str(source), "-f", "rawvideo", "-pix_fmt", "gray", "-")
    assert len(shown) == 3 * (64 - 8) * (48 - 14)
    assert probe(str(source)).videos[0].crop == (8, 6, 5, 3)
    report = upscale(source, out, 2, model="bicubic", codec=codec, strict=True)
    assert report.warnings == ()
    video = probe(str(out)).videos[0]
    assert (video.width, video.height, video.crop) == (128, 96, (16, 12, 10, 6))
    shown = ffmpeg("-i", str(out), "-f", "rawvideo", "-pix_fmt", "gray", "-")
    assert len(shown) == 3 * (128 - 16) * (96 - 28)


@pytest.mark.parametrize(("result", "codec"), [("out.mkv", "ffv1"), ("out.webm", "vp9")])
def test_hidden_borders_and_the_shape_of_pixels_go_together(
    result: str, codec: str, tmp_path: Path
) -> None:
    source, out = _cropped(tmp_path / "in.mp4", sar=Fraction(16, 11)), tmp_path / result
    report = upscale(source, out, 2, model="bicubic", codec=codec)
    assert not any("borders" in said for said in report.given_up)
    video = probe(str(out)).videos[0]
    assert video.crop == (16, 12, 10, 6)
    assert float(video.sar) == pytest.approx(16 / 11, rel=1e-4)


def test_extracted_frames_keep_their_borders_hidden_in_clips_only(tmp_path: Path) -> None:
    source = _cropped(tmp_path / "in.mp4")
    for name in ("clip.mkv", "clip.mp4"):
        assert not any("orders" in said for said in extract(source, tmp_path / name).given_up)
        assert probe(str(tmp_path / name)).videos[0].crop == (8, 6, 5, 3)
    pictures = extract(source, tmp_path / "p_%d.png").given_up
    assert any("the borders are in the pictures" in said for said in pictures)


@pytest.mark.parametrize("name", ["in.mkv", "in.mp4", "in.avi"])
def test_a_whole_picture_is_not_called_cropped(name: str, tmp_path: Path) -> None:
    # 50 rows: H.264 itself codes 64 and crops them, which its decoder does.
    codec = "rawvideo" if name.endswith("avi") else "libx264"
    clip = make_clip(tmp_path / name, frames=3, width=66, height=50, codec=codec)
    found = probe(str(clip.path)).videos[0]
    assert (found.width, found.height, found.crop) == (66, 50, (0, 0, 0, 0))


def test_by_products_of_coding_are_no_loss(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mpg", codec="mpeg2video", frames=5)
    found = probe(str(clip.path)).videos[0]
    assert set(found.side_data) == {"gop_timecode", "panscan"}
    for kinds in (found.side_data, ("sei_unregistered", "motion_vectors", "displaymatrix")):
        assert plan_for(media(video(side_data=kinds)), strict=True).given_up == ()


def test_unknown_types_are_named_and_count_as_a_loss() -> None:
    info = media(video(side_data=("dovi_metadata", "something_new")))
    (sentence,) = plan_for(info).given_up
    assert sentence.startswith("something new metadata")
    with pytest.raises(StrictError, match="something new"):
        plan_for(info, strict=True)


class _Metadata:
    """Of the type and with the bytes of a frame's Dolby Vision metadata."""

    type = Type.DOVI_METADATA

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __bytes__(self) -> bytes:
        return self._content


def test_dolby_vision_s_own_colours_are_told_from_others(reference: Path) -> None:
    with av.open(str(reference / "nasty/d18_phone_hlg_rot90.mp4")) as container:
        frame = next(container.decode(video=0))
    [real] = [bytes(data) for data in side_data([frame]) if data.type is Type.DOVI_METADATA]
    (header,) = struct.unpack_from("N", real)
    # A phone's is profile 8: its base layer is HLG in ten bits of limited range.
    assert (real[header + 4], real[header + 10], real[header + 11]) == (1, 0, 10)
    assert not has_dolby_colors([frame])
    assert not has_dolby_colors([])

    def changed(profile: int, full: int) -> Any:
        content = bytearray(real)
        content[header + 4], content[header + 10] = profile, full
        return SimpleNamespace(side_data=[_Metadata(bytes(content))])

    assert has_dolby_colors([changed(0, 1)])
    assert not has_dolby_colors([changed(0, 0)])
    assert not has_dolby_colors([changed(1, 1)])

"""Frame side data that is left behind: named in the plan, unless nobody would miss it."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type
from media_factory import media, plan_for, video
from synth import make_clip

from pipelines.upscale import upscale
from vsr.errors import StrictError
from vsr.media.probe import probe

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

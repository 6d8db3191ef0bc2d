"""Streams whose colour tags change in the middle, as where broadcasts are spliced together."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from reading import Result, request
from synth import LOSSLESS, video_frame

from vsr.media.read.gpu.nvdec import NvdecReader
from vsr.media.read.pyav_reader import PyAVReader
from vsr.media.read.reader import ReadStats
from vsr.media.read.storage import HostStorage
from vsr.types import Color, ColorRange, Matrix, Primaries, Transfer, pixel_format

HD = Color(Matrix.BT709, range=ColorRange.LIMITED)
SD = Color(Matrix.SMPTE170M, range=ColorRange.LIMITED)
FULL = Color(Matrix.BT709, range=ColorRange.FULL)
PQ = Color(Matrix.BT2020_NCL, Primaries.BT2020, Transfer.PQ, ColorRange.LIMITED)
CONSTANT = Color(Matrix.BT2020_CL, range=ColorRange.LIMITED)
# Red's codes, as published (tests/test_color.py); in full range Cr would be 255.5.
# More than are looked at while probing.
COUNT = 9
RED = {HD: (63, 102, 240), SD: (81, 90, 240), FULL: (54, 99, 255)}


def flat(color: Color, codes: tuple[int, ...], size: tuple[int, int], name: str) -> bytes:
    """Frames of one colour as a raw H.264 stream."""
    context = av.CodecContext.create("libx264", "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height = size
    context.pix_fmt, context.time_base = name, Fraction(1, 25)
    context.options = LOSSLESS["libx264"]
    fmt = pixel_format(name)
    dtype = np.uint8 if fmt.bits == 8 else np.uint16
    planes = [np.full(fmt.plane_size(i, *size), code, dtype=dtype) for i, code in enumerate(codes)]
    data = b""
    for pts in range(COUNT):
        frame = video_frame(planes, name)
        frame.pts = pts
        for target in (context, frame):
            target.colorspace, target.color_primaries = int(color.matrix), int(color.primaries)
            target.color_trc, target.color_range = int(color.transfer), int(color.range)
        data += b"".join(bytes(packet) for packet in context.encode(frame))
    return data + b"".join(bytes(packet) for packet in context.encode(None))


def spliced(
    folder: Path, *parts: tuple[Color, tuple[int, ...], tuple[int, int]], name: str = "yuv420p"
) -> Path:
    path = folder / "spliced.h264"
    path.write_bytes(b"".join(flat(*part, name) for part in parts))
    return path


def codes(result: Result) -> list[tuple[int, ...]]:
    """The codes of each frame, which must be flat."""
    assert all(plane.min() == plane.max() for frame in result.frames for plane in frame)
    return [tuple(int(plane[0, 0]) for plane in frame) for frame in result.frames]


def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """``nvdec`` with a decoder and memory of the CPU, whose surfaces are semi-planar, too."""

    class Surfaces:
        def __init__(self, decoder: Any) -> None:
            self._decoder = decoder

        def decode(self, packet: Any) -> list[av.VideoFrame]:
            surfaces = []
            for frame in self._decoder.decode(packet):
                luma, u, v = (
                    np.frombuffer(memoryview(p), np.uint8).reshape(p.height, -1)
                    for p in frame.planes
                )
                width = frame.width
                pairs = np.stack([u[:, : width // 2], v[:, : width // 2]], axis=-1).reshape(
                    -1, width
                )
                surface = av.VideoFrame.from_ndarray(
                    np.concatenate([luma[:, :width], pairs]), "nv12"
                )
                for tag in (
                    "pts",
                    "dts",
                    "colorspace",
                    "color_range",
                    "color_primaries",
                    "color_trc",
                ):
                    setattr(surface, tag, getattr(frame, tag))
                surfaces.append(surface)
            return surfaces

    def source(self: NvdecReader, threads: str) -> Any:
        container, stream, decoder = PyAVReader._source(self, threads)
        return container, stream, Surfaces(decoder)

    monkeypatch.setattr(NvdecReader, "_source", source)
    monkeypatch.setattr(NvdecReader, "available", lambda: None)
    monkeypatch.setattr(NvdecReader, "problem", lambda _: None)


@pytest.mark.parametrize("reader", ["pyav", "nvdec"])
@pytest.mark.parametrize("first", [HD, SD, FULL])
@pytest.mark.parametrize("then", [HD, SD, FULL])
def test_red_stays_red(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str, first: Color, then: Color
) -> None:
    if reader == "nvdec":
        on_the_cpu(monkeypatch)
    size = (64, 48)
    path = spliced(tmp_path, (first, RED[first], size), (then, RED[then], size))
    req = request(path, batch=4)
    assert (req.video.color.matrix, req.video.color.range) == (first.matrix, first.range)
    result = Result(req, reader)
    seen = codes(result)
    assert seen[:COUNT] == [RED[first]] * COUNT
    # Codes are rounded once in the file already.
    assert np.abs(np.subtract(seen[COUNT:], [RED[first]] * COUNT)).max() <= (
        0 if then == first else 1
    )
    assert result.stats.recolored == (0 if then == first else COUNT)
    told = f"{COUNT} frames are tagged with another colour matrix or range"
    assert any(told in warning for warning in result.stats.warnings) == (then != first)
    assert result.stats.miscolored == result.stats.scaled == 0


def test_frames_that_are_scaled_are_converted_too(tmp_path: Path) -> None:
    path = spliced(tmp_path, (HD, RED[HD], (64, 48)), (SD, RED[SD], (32, 24)))
    result = Result(request(path, batch=4, on_resize="scale"))
    assert np.abs(np.subtract(codes(result), RED[HD])).max() <= 1
    assert (result.stats.scaled, result.stats.recolored) == (COUNT, COUNT)


def test_what_somebody_said_against_the_tags_holds_for_all_frames(tmp_path: Path) -> None:
    size = (64, 48)
    path = spliced(tmp_path, (SD, RED[SD], size), (FULL, RED[FULL], size))
    said = Color(Matrix.BT2020_NCL, range=ColorRange.LIMITED)
    result = Result(request(path, batch=4, color=said))
    # The range is as tagged at first, so that the change of it counts.
    expected = [
        round(16 + 219 * RED[FULL][0] / 255),
        *(round(128 + 224 * (c - 128) / 255) for c in RED[FULL][1:]),
    ]
    assert codes(result)[:COUNT] == [RED[SD]] * COUNT
    assert np.abs(np.subtract(codes(result)[COUNT:], expected)).max() <= 1
    said = Color(Matrix.BT2020_NCL, range=ColorRange.FULL)
    result = Result(request(path, batch=4, color=said))
    assert codes(result) == [RED[SD]] * COUNT + [RED[FULL]] * COUNT
    assert result.stats.recolored == 0


def test_a_stream_that_begins_untagged_is_held_to_what_was_decided(tmp_path: Path) -> None:
    size = (64, 48)
    path = spliced(tmp_path, (Color(), RED[SD], size), (HD, RED[HD], size))
    result = Result(request(path, batch=4, color=SD))
    assert np.abs(np.subtract(codes(result), RED[SD])).max() <= 1
    assert result.stats.recolored == COUNT
    # Nobody has decided anything: the samples are handed on as they are, and that is said.
    bare = Result(request(path, batch=4))
    assert codes(bare) == [RED[SD]] * COUNT + [RED[HD]] * COUNT
    assert (bare.stats.recolored, bare.stats.miscolored) == (0, COUNT)


@pytest.mark.parametrize("then", [PQ, CONSTANT])
def test_what_cannot_be_converted_is_named(tmp_path: Path, then: Color) -> None:
    size, grey = (64, 48), (500, 512, 512)
    path = spliced(tmp_path, (HD, grey, size), (then, grey, size), name="yuv420p10le")
    result = Result(request(path, batch=4))
    assert codes(result) == [grey] * (2 * COUNT)
    assert result.stats.miscolored == COUNT
    (told,) = [w for w in result.stats.warnings if "cannot be converted" in w]
    assert told.startswith(
        f"{COUNT} frames are tagged with another transfer, other primaries or a matrix"
    )


def test_the_two_lines_of_bt601_are_one(tmp_path: Path) -> None:
    size, other = (64, 48), Color(Matrix.BT470BG, range=ColorRange.LIMITED)
    path = spliced(tmp_path, (SD, RED[SD], size), (other, RED[SD], size))
    result = Result(request(path, batch=4))
    assert codes(result) == [RED[SD]] * (2 * COUNT)
    assert result.stats.recolored == result.stats.miscolored == 0


def test_deinterlaced_frames_keep_their_tags(tmp_path: Path) -> None:
    size = (64, 48)
    path = spliced(tmp_path, (HD, RED[HD], size), (SD, RED[SD], size))
    result = Result(request(path, batch=4, deinterlace=True, every_frame=True))
    # bwdif looks at the neighbours in time, so that frames next to the splice may mix.
    assert result.stats.recolored == COUNT
    assert np.abs(np.subtract(codes(result), RED[HD])).max() <= 1


@pytest.mark.parametrize("name", ["gbrp", "rgb24", "gbrpf32le", "gray", "yuv444p10le"])
def test_another_format_is_brought_to_the_streams(tmp_path: Path, name: str) -> None:
    """Whatever a decoder may give in the middle: red, or its luma where there is only that."""
    path = spliced(tmp_path, (HD, RED[HD], (64, 48)))
    req = request(path, batch=1, on_resize="scale")
    stats = ReadStats()
    storage = HostStorage(req, stats)
    for at, size in enumerate([(64, 48), (48, 40)]):
        storage.put(red(name, size), 0, lambda: "here")
        planes, _ = storage.take(1)
        expected = RED[HD] if name != "gray" else (RED[HD][0], 128, 128)
        got = [int(plane.double().mean().round()) for plane in planes]
        assert np.abs(np.subtract(got, expected)).max() <= 1
        assert all(int(plane.max()) - int(plane.min()) <= 1 for plane in planes)
        assert stats.scaled == at + 1


def red(name: str, size: tuple[int, int]) -> av.VideoFrame:
    """Red in the format ``name``."""
    width, height = size
    if name == "rgb24":
        array = np.zeros((height, width, 3), np.uint8)
        array[..., 0] = 255
        return av.VideoFrame.from_ndarray(array, format=name)
    if name == "gbrpf32le":
        array = np.zeros((height, width, 3), np.float32)
        array[..., 0] = 1
        return av.VideoFrame.from_ndarray(array, format=name)
    fmt = pixel_format(name)
    codes = {"gbrp": (0, 0, 255), "gray": RED[HD][:1]}.get(name, tuple(4 * c for c in RED[HD]))
    dtype = np.uint8 if fmt.bits == 8 else np.uint16
    planes = [np.full(fmt.plane_size(i, *size), c, dtype) for i, c in enumerate(codes)]
    return video_frame(planes, name)

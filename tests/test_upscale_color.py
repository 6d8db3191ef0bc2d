"""Colour charts through a whole upscale: every patch comes out as the standard says."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from synth import make_clip, video_frame

from pipelines.upscale import upscale
from vsr.types import ChromaSite, Color, ColorRange, Matrix, Primaries, Transfer, pixel_format

#: Side of a patch in luma samples of the source.
PATCH = 32
#: R'G'B' of the patches, 0..1: EBU bars at 100% and 75%, greys, and a skin tone.
PATCHES = [
    *((1, 1, 1), (1, 1, 0), (0, 1, 1), (0, 1, 0), (1, 0, 1), (1, 0, 0), (0, 0, 1), (0, 0, 0)),
    *((0.75, 0.75, 0), (0, 0.75, 0.75), (0.75, 0, 0.75), (0.75, 0, 0), (0, 0, 0.75)),
    *((0.5, 0.5, 0.5), (0.18, 0.18, 0.18), (0.77, 0.59, 0.5)),
]

#: Kr and Kb of ITU-R BT.709, BT.601 and BT.2020.
WEIGHTS = {
    Matrix.BT709: (0.2126, 0.0722),
    Matrix.SMPTE170M: (0.299, 0.114),
    Matrix.BT2020_NCL: (0.2627, 0.0593),
    Matrix.FCC: (0.3, 0.11),
}


def exact_codes(
    rgb: tuple[float, float, float], matrix: Matrix, full: bool, bits: int
) -> list[float]:
    """Y, Cb, Cr before rounding, by the equations of BT.709, section 3 (BT.601, BT.2020 alike)."""
    kr, kb = WEIGHTS[matrix]
    r, g, b = rgb
    y = kr * r + (1 - kr - kb) * g + kb * b
    cb, cr = (b - y) / (2 * (1 - kb)), (r - y) / (2 * (1 - kr))
    unit = 2 ** (bits - 8)
    if full:
        top = 2**bits - 1
        return [top * y, top * cb + 128 * unit, top * cr + 128 * unit]
    return [(219 * y + 16) * unit, (224 * cb + 128) * unit, (224 * cr + 128) * unit]


def chart(path: Path, name: str, color: Color) -> NDArray[np.float64]:
    """Write three frames of the chart losslessly; the exact codes, ``(patches, 3)``."""
    fmt = pixel_format(name)
    full = color.range is ColorRange.FULL
    codes = np.array([exact_codes(rgb, color.matrix, full, fmt.bits) for rgb in PATCHES])
    side = 4 * PATCH
    planes = []
    for plane in range(3):
        height, width = fmt.plane_size(plane, side, side)
        # Full-range blue is 255.5 by the equations; the largest code is what standards store.
        grid = np.round(codes[:, plane]).clip(0, 2**fmt.bits - 1).reshape(4, 4)
        dtype = np.uint8 if fmt.bits == 8 else np.uint16
        planes.append(np.kron(grid, np.ones((height // 4, width // 4))).astype(dtype))
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = side, side, name
        context = stream.codec_context
        context.colorspace, context.color_range = int(color.matrix), int(color.range)
        context.color_primaries, context.color_trc = int(color.primaries), int(color.transfer)
        for index in range(3):
            frame = video_frame(planes, name)
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return codes


def planes_of(frame: av.VideoFrame) -> list[NDArray[np.float64]]:
    fmt = pixel_format(frame.format.name.replace("yuvj", "yuv"))
    result = []
    for index, plane in enumerate(frame.planes):
        height, width = fmt.plane_size(index, frame.width, frame.height)
        dtype = np.uint8 if fmt.bits == 8 else np.uint16
        rows = np.frombuffer(memoryview(plane), dtype).reshape(
            -1, plane.line_size // dtype().nbytes
        )
        result.append(rows[:height, :width].astype(np.float64))
    return result


@pytest.mark.parametrize("layout", ["420", "422", "444"])
@pytest.mark.parametrize(
    ("depth", "matrix", "span"),
    [
        ("p", Matrix.BT709, ColorRange.LIMITED),
        ("p", Matrix.SMPTE170M, ColorRange.LIMITED),
        ("p", Matrix.BT709, ColorRange.FULL),
        ("p10le", Matrix.BT2020_NCL, ColorRange.LIMITED),
        ("p10le", Matrix.BT709, ColorRange.LIMITED),
    ],
    ids=["bt709", "bt601", "full", "bt2020-10", "bt709-10"],
)
def test_patches_stay_within_a_code(
    tmp_path: Path, layout: str, depth: str, matrix: Matrix, span: ColorRange
) -> None:
    name = f"yuv{layout}{depth}"
    color = Color(matrix, Primaries.BT709, Transfer.BT709, span, ChromaSite.LEFT)
    source, result = tmp_path / "chart.mkv", tmp_path / "result.mkv"
    expected = chart(source, name, color)
    report = upscale(source, result, 2, model="bicubic", codec="ffv1")
    assert report.frames_out == 3
    assert report.given_up == ()
    with av.open(str(result)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        assert stream.codec_context.colorspace == matrix
        assert stream.codec_context.color_range == span
    assert len(frames) == 3
    for frame in frames:
        assert (frame.width, frame.height) == (8 * PATCH, 8 * PATCH)
        for plane, samples in enumerate(planes_of(frame)):
            tall, wide = samples.shape[0] // 4, samples.shape[1] // 4
            for index in range(len(PATCHES)):
                row, column = divmod(index, 4)
                patch = samples[row * tall : (row + 1) * tall, column * wide : (column + 1) * wide]
                # Beside another colour, interpolation rings; the middle of a patch is flat.
                middle = patch[tall // 4 : -tall // 4, wide // 4 : -wide // 4]
                off = np.abs(middle - expected[index, plane]).max()
                assert off <= 1, f"patch {index} of plane {plane} is off by {off}"


def test_colours_stay_where_the_codec_has_no_code_for_their_matrix(tmp_path: Path) -> None:
    source, result = tmp_path / "chart.mkv", tmp_path / "result.webm"
    color = Color(Matrix.FCC, Primaries.BT709, Transfer.BT709, ColorRange.LIMITED)
    chart(source, "yuv444p", color)
    exactly = {"quality": 0, "options": (("lossless", "1"),)}
    report = upscale(source, result, 2, model="bicubic", codec="vp9", strict=True, **exactly)
    assert report.given_up == ()
    with av.open(str(result)) as container:
        frame = next(container.decode(video=0))
    assert frame.colorspace == Matrix.SMPTE170M
    for plane, samples in enumerate(planes_of(frame)):
        for index, rgb in enumerate(PATCHES):
            row, column = (2 * PATCH * at + PATCH for at in divmod(index, 4))
            expected = exact_codes(rgb, Matrix.SMPTE170M, False, 8)[plane]
            assert abs(samples[row, column] - expected) <= 1.5


@pytest.mark.parametrize(
    ("matrix", "primaries", "transfer", "written"),
    [
        (Matrix.SMPTE170M, 2, 2, (2, 2, 6)),
        (Matrix.BT470BG, 5, 6, (5, 6, 6)),
        (Matrix.BT709, 1, 1, (1, 1, 1)),
    ],
)
def test_prores_says_its_colours_in_frames_and_file(
    tmp_path: Path,
    matrix: Matrix,
    primaries: int,
    transfer: int,
    written: tuple[int, int, int],
) -> None:
    source, result = tmp_path / "in.mkv", tmp_path / "out.mov"
    tags = Color(matrix, Primaries(primaries), Transfer(transfer), ColorRange.LIMITED)
    make_clip(source, frames=2, codec="ffv1", color=tags)
    report = upscale(source, result, 2, model="bicubic", codec="prores", strict=True)
    assert report.given_up == ()
    # QuickTime's colour tag: primaries, transfer and matrix in two bytes each (nclc).
    data = result.read_bytes()
    at = data.index(b"colrnclc") + 8
    assert tuple(data[at + 1 : at + 6 : 2]) == written
    # In the frame's header (SMPTE RDD 36, 5.1.1), the same three from its byte 14 on.
    with av.open(str(result)) as container:
        packet = bytes(next(container.demux(video=0)))
    header = packet[packet.index(b"icpf") + 4 :]
    assert tuple(header[14:17]) == written


def test_grey_plays_as_420_with_neutral_chroma(tmp_path: Path) -> None:
    source, result = tmp_path / "in.mkv", tmp_path / "out.mp4"
    make_clip(source, frames=2, codec="ffv1", pix_fmt="gray")
    report = upscale(source, result, 2, model="bicubic", codec="hevc", strict=True)
    assert report.given_up == ()
    with av.open(str(result)) as container:
        # Main, not the range extensions that 4:0:0 belongs to.
        assert container.streams.video[0].codec_context.profile == "Main"
        for frame in container.decode(video=0):
            assert frame.format.name == "yuv420p"
            for chroma in planes_of(frame)[1:]:
                assert (chroma == 128).all()


def test_untagged_sd_is_tagged_as_what_it_was_read_as(tmp_path: Path) -> None:
    source, result = tmp_path / "chart.mkv", tmp_path / "result.mkv"
    chart(source, "yuv420p", Color(Matrix.SMPTE170M))
    # The chart's own tag is removed: what is left is an ordinary untagged SD file.
    bare = tmp_path / "bare.mkv"
    with av.open(str(source)) as container, av.open(str(bare), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 4 * PATCH, 4 * PATCH, "yuv420p"
        for frame in container.decode(video=0):
            plain = video_frame([p.astype(np.uint8) for p in planes_of(frame)], "yuv420p")
            plain.pts, plain.time_base = frame.pts, frame.time_base
            out.mux(stream.encode(plain))
        out.mux(stream.encode(None))
    upscale(bare, result, 2, model="bicubic", codec="h264")
    with av.open(str(result)) as container:
        context = container.streams.video[0].codec_context
        assert context.colorspace == Matrix.SMPTE170M
        assert context.color_range == ColorRange.LIMITED


def test_alpha_is_upscaled_where_the_codec_carries_it(tmp_path: Path) -> None:
    source, result = tmp_path / "alpha.mkv", tmp_path / "result.mkv"
    height = width = 32
    luma = np.full((height, width), 100, np.uint8)
    chroma = np.full((height, width), 128, np.uint8)
    mask = np.zeros((height, width), np.uint8)
    mask[:, width // 2 :] = 255
    with av.open(str(source), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuva444p"
        frame = video_frame([luma, chroma, chroma, mask], "yuva444p")
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    upscale(source, result, 2, model="bicubic", codec="ffv1")
    with av.open(str(result)) as container:
        (large,) = container.decode(video=0)
        alpha = planes_of(large)[3]
    assert alpha.shape == (2 * height, 2 * width)
    assert (alpha[:, : width - 4] == 0).all()
    assert (alpha[:, width + 4 :] == 255).all()

    lossy = upscale(source, tmp_path / "result.mp4", 2, model="bicubic", codec="h264")
    assert any("alpha" in sentence for sentence in lossy.given_up)


def test_alpha_of_prores_is_kept_without_being_asked_for(tmp_path: Path) -> None:
    source, result = tmp_path / "alpha.mov", tmp_path / "result.mov"
    height = width = 64
    grey = np.full((height, width), 512, np.uint16)
    mask = np.zeros((height, width), np.uint16)
    mask[:, width // 2 :] = 1023
    with av.open(str(source), "w") as out:
        stream = out.add_stream("prores_ks", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuva444p10le"
        frame = video_frame([grey, grey, grey, mask], "yuva444p10le")
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    upscale(source, result, 2, model="bicubic")
    with av.open(str(result)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.codec_tag) == ("prores", "ap4h")
        (large,) = container.decode(video=0)
        assert large.format.name == "yuva444p12le"
        alpha = planes_of(large)[3]
    assert alpha.shape == (2 * height, 2 * width)
    assert (alpha[:, : width - 4] == 0).all()
    assert (alpha[:, width + 4 :] == 4095).all()


@pytest.mark.parametrize("codec", ["ffv1", "hevc", "h264", "vp9"])
def test_black_and_white_of_limited_rgb_stay_what_they_are(tmp_path: Path, codec: str) -> None:
    """Codes 16 and 235, which a file tags as limited; one half of the picture each."""
    codes = np.full((48, 64), 16, np.uint8)
    codes[:, 32:] = 235
    source, result = tmp_path / "a.mkv", tmp_path / "result.mkv"
    with av.open(str(source), "w") as out:
        stream = out.add_stream("libx264rgb", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb24"
        frame = av.VideoFrame.from_ndarray(np.stack([codes] * 3, axis=-1), format="rgb24")
        for target in (stream.codec_context, frame):
            target.colorspace, target.color_range = int(Matrix.RGB), int(ColorRange.LIMITED)
        for index in range(3):
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    report = upscale(source, result, 2, model="bicubic", codec=codec)
    assert report.given_up == ()
    with av.open(str(result)) as container:
        frames = list(container.decode(container.streams.video[0]))
    assert len(frames) == 3
    for frame in frames:
        # Without a matrix of its own, the range's tag alone says what codes mean.
        assert frame.color_range == ColorRange.LIMITED
        assert (codec == "ffv1") == frame.format.is_rgb
        luma = packed_blue(frame) if frame.format.is_rgb else planes_of(frame)[0]
        assert np.abs(luma[:, :48] - 16.0).max() <= (0 if codec == "ffv1" else 2)
        assert np.abs(luma[:, -48:] - 235.0).max() <= (0 if codec == "ffv1" else 2)


def packed_blue(frame: av.VideoFrame) -> NDArray[np.float64]:
    """The blue of ``bgr0``, which is what FFV1 gives for 8-bit RGB."""
    assert frame.format.name == "bgr0"
    rows = np.frombuffer(memoryview(frame.planes[0]), np.uint8).reshape(frame.height, -1)
    return rows[:, : 4 * frame.width : 4].astype(np.float64)

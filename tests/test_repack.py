"""Every native format's samples arrive unchanged, checked against swscale and by hand."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from synth import picture, video_frame

from vsr.media.read.repack import Repack, native_range, repack_for
from vsr.types import PIXEL_FORMATS, ColorRange

# Formats that swscale can write from the planar format without touching a sample.
SHUFFLED = [
    "nv12", "nv21", "nv16", "nv24", "nv42", "p010le", "p012le", "p016le", "p210le", "p212le",
    "p216le", "p410le", "p412le", "nv20le", "yuyv422", "uyvy422", "yvyu422", "y210le",
    "y212le", "y216le", "vyu444", "vuyx", "vuya", "ayuv", "uyva", "ayuv64le", "xv30le", "v30xle",
    "xv36le", "xv48le", "rgb24", "bgr24", "rgba", "bgra", "argb", "abgr", "rgb0", "bgr0", "0rgb",
    "0bgr", "rgb48le", "bgr48le", "rgba64le", "bgra64le", "x2rgb10le", "x2bgr10le",
    "yuv444p10msble", "yuv444p12msble", "yuv420p10be", "yuv422p12be", "yuv444p16be", "p010be",
    "rgb48be", "bgra64be", "gray16be", "gbrp12be", "xv36be",
]  # fmt: skip

# How swscale widens 1 to 6 bits is not always by repetition, so these are computed here:
# the bits of a word from the top, and what each field is.
BITFIELDS = {
    "rgb8": "rrrgggbb", "bgr8": "bbgggrrr",
    "rgb4_byte": "xxxxrggb", "bgr4_byte": "xxxxbggr",
    "rgb444le": "xxxxrrrrggggbbbb", "bgr444le": "xxxxbbbbggggrrrr",
    "rgb555le": "xrrrrrgggggbbbbb", "bgr555le": "xbbbbbgggggrrrrr",
    "rgb565le": "rrrrrggggggbbbbb", "bgr565le": "bbbbbggggggrrrrr",
    "rgb565be": "rrrrrggggggbbbbb",
}  # fmt: skip


def unpack(repack: Repack, frame: av.VideoFrame) -> list[NDArray[Any]]:
    fmt = repack.format
    dtype = np.uint8 if fmt.bits <= 8 else np.uint16
    sizes = [fmt.plane_size(i, frame.width, frame.height) for i in range(fmt.planes)]
    planes = [np.full(size, 7, dtype) for size in sizes]
    repack(frame, planes)
    return planes


def fill(frame: av.VideoFrame, plane: int, rows: NDArray[np.uint8]) -> None:
    target = frame.planes[plane]
    data = np.frombuffer(memoryview(target), np.uint8).reshape(-1, target.line_size)
    data[: rows.shape[0], : rows.shape[1]] = rows


@pytest.mark.parametrize("name", sorted(PIXEL_FORMATS))
def test_planar_formats_arrive_as_they_are(name: str) -> None:
    fmt = PIXEL_FORMATS[name]
    planes = picture(3, fmt, 37, 21)
    repack = repack_for(name)
    assert repack is not None
    assert repack.format == fmt
    for got, expected in zip(unpack(repack, video_frame(planes, name)), planes, strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("size", [(38, 22), (37, 21)], ids=["even", "odd"])
@pytest.mark.parametrize("name", SHUFFLED)
def test_shuffled_formats_agree_with_swscale(name: str, size: tuple[int, int]) -> None:
    if name in ("p010le", "p010be", "p016le") and size == (37, 21):
        pytest.skip("swscale leaves out the last chroma column of odd pictures")
    repack = repack_for(name)
    assert repack is not None
    planes = picture(5, repack.format, *size)
    native = video_frame(planes, repack.format.name).reformat(format=name)
    assert native.format.name == name
    for got, expected in zip(unpack(repack, native), planes, strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", ["p010le", "p016le", "nv12"])
def test_odd_semi_planar_sizes_keep_the_last_chroma_sample(name: str) -> None:
    repack = repack_for(name)
    assert repack is not None
    luma, u, v = picture(1, repack.format, 37, 21)
    shift = {"p010le": 6}.get(name, 0)
    frame = av.VideoFrame(37, 21, name)
    fill(frame, 0, (luma << shift).view(np.uint8).reshape(21, -1))
    chroma = np.stack([u << shift, v << shift], axis=-1)
    fill(frame, 1, np.ascontiguousarray(chroma).view(np.uint8).reshape(11, -1))
    for got, expected in zip(unpack(repack, frame), (luma, u, v), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("size", [(38, 22), (37, 21)], ids=["even", "odd"])
def test_p416_by_hand(size: tuple[int, int]) -> None:
    # swscale, which checks the others, now and then leaves samples of this one unwritten.
    repack = repack_for("p416le")
    assert repack is not None
    luma, u, v = picture(1, repack.format, *size)
    frame = av.VideoFrame(*size, "p416le")
    chroma = np.stack([u, v], axis=-1)
    for plane, samples in enumerate((luma, chroma)):
        fill(frame, plane, np.ascontiguousarray(samples).view(np.uint8).reshape(size[1], -1))
    for got, expected in zip(unpack(repack, frame), (luma, u, v), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", sorted(BITFIELDS))
def test_bit_fields_widen_by_repetition_and_lose_nothing(name: str) -> None:
    layout = BITFIELDS[name]
    dtype = "u1" if len(layout) == 8 else (">u2" if name.endswith("be") else "<u2")
    words = np.arange(1 << len(layout), dtype=np.int64).reshape(16, -1)
    frame = av.VideoFrame(words.shape[1], 16, name)
    fill(frame, 0, np.ascontiguousarray(words.astype(dtype)).view(np.uint8).reshape(16, -1))
    repack = repack_for(name)
    assert repack is not None
    for got, letter in zip(unpack(repack, frame), "gbr", strict=True):
        width = layout.count(letter)
        field = (words >> (len(layout) - 1 - layout.rindex(letter))) & ((1 << width) - 1)
        bits = np.vectorize(lambda value, w=width: (format(value, f"0{w}b") * 8)[:8])(field)
        np.testing.assert_array_equal(got, np.vectorize(lambda text: int(text, 2))(bits))
        np.testing.assert_array_equal(got >> (8 - width), field)


def test_palette_indices_become_their_colours() -> None:
    rng = np.random.default_rng(1)
    indices = rng.integers(0, 256, (21, 37), dtype=np.uint8)
    palette = rng.integers(0, 1 << 32, 256, dtype=np.uint32)
    frame = av.VideoFrame(37, 21, "pal8")
    fill(frame, 0, indices)
    np.frombuffer(memoryview(frame.planes[1]), np.uint32)[:256] = palette
    repack = repack_for("pal8")
    assert repack is not None
    assert repack.format.name == "gbrap"
    g, b, r, a = (plane.astype(np.uint32) for plane in unpack(repack, frame))
    np.testing.assert_array_equal(a << 24 | r << 16 | g << 8 | b, palette[indices])


@pytest.mark.parametrize(("name", "one"), [("monob", 255), ("monow", 0)])
def test_one_bit_pixels(name: str, one: int) -> None:
    bits = np.random.default_rng(2).integers(0, 2, (9, 21), dtype=np.uint8)
    frame = av.VideoFrame(21, 9, name)
    fill(frame, 0, np.packbits(bits, axis=1))
    repack = repack_for(name)
    assert repack is not None
    np.testing.assert_array_equal(unpack(repack, frame)[0], np.where(bits, one, 255 - one))
    assert native_range(name) is ColorRange.FULL


@pytest.mark.parametrize(
    ("name", "dtype", "neutral"),
    [("ya8", "u1", 128), ("ya16le", "<u2", 1 << 15), ("ya16be", ">u2", 1 << 15)],
)
def test_grey_with_alpha_gets_neutral_chroma(name: str, dtype: str, neutral: int) -> None:
    pairs = np.random.default_rng(3).integers(0, 256, (9, 21, 2)).astype(dtype)
    frame = av.VideoFrame(21, 9, name)
    fill(frame, 0, np.ascontiguousarray(pairs).view(np.uint8).reshape(9, -1))
    repack = repack_for(name)
    assert repack is not None
    y, u, v, a = unpack(repack, frame)
    np.testing.assert_array_equal(y, pairs[..., 0])
    np.testing.assert_array_equal(a, pairs[..., 1])
    assert (u == neutral).all()
    assert (v == neutral).all()


@pytest.mark.parametrize("digits", ["411", "420", "422", "440", "444"])
def test_full_range_names_are_the_same_planes(digits: str) -> None:
    repack = repack_for(f"yuvj{digits}p")
    assert repack is not None
    assert repack.format.name == f"yuv{digits}p"
    planes = picture(2, repack.format, 37, 21)
    for got, expected in zip(
        unpack(repack, video_frame(planes, f"yuvj{digits}p")), planes, strict=True
    ):
        np.testing.assert_array_equal(got, expected)
    assert native_range(f"yuvj{digits}p") is ColorRange.FULL
    assert native_range(f"yuv{digits}p") is ColorRange.UNSPECIFIED


@given(
    name=st.sampled_from(["nv12", "yuyv422", "rgb24", "yuv420p10le", "yuv410p", "yuv411p", "gbrp"]),
    width=st.integers(1, 70),
    height=st.integers(1, 40),
)
@settings(max_examples=60, deadline=None)
def test_any_size(name: str, width: int, height: int) -> None:
    """Planes of every size come out at the size that the format's row says, all samples written."""
    repack = repack_for(name)
    assert repack is not None
    frame = av.VideoFrame(width, height, name)
    for plane in range(len(frame.planes)):
        np.frombuffer(memoryview(frame.planes[plane]), np.uint8)[:] = 1
    expected = 257 if repack.format.bits > 8 else 1
    for index, plane in enumerate(unpack(repack, frame)):
        assert plane.shape == repack.format.plane_size(index, width, height)
        assert (plane == expected).all()


@pytest.mark.parametrize("name", ["xyz12le", "bayer_rggb8", "gbrpf32le", "cuda"])
def test_formats_whose_samples_mean_something_else_are_refused(name: str) -> None:
    assert repack_for(name) is None

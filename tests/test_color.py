"""Planes to RGB and back: known code values, exact round trips, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import product

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vsr.errors import InputError, UsageError
from vsr.media.color import batch_to_rgb, from_rgb, to_rgb
from vsr.media.color.matrix import MATRICES
from vsr.types import (
    PIXEL_FORMATS,
    ChromaSite,
    Color,
    ColorRange,
    FrameBatch,
    Matrix,
    PixelFormat,
    pixel_format,
)

_HD = Color(matrix=Matrix.BT709, range=ColorRange.LIMITED, site=ChromaSite.LEFT)
_SD = Color(matrix=Matrix.SMPTE170M, range=ColorRange.LIMITED, site=ChromaSite.LEFT)
_UHD = Color(matrix=Matrix.BT2020_NCL, range=ColorRange.LIMITED, site=ChromaSite.TOPLEFT)
_JPEG = Color(matrix=Matrix.BT470BG, range=ColorRange.FULL, site=ChromaSite.CENTER)

# White, yellow, cyan, green, magenta, red, blue, black as (R, G, B).
_BARS = ((1, 1, 1), (1, 1, 0), (0, 1, 1), (0, 1, 0), (1, 0, 1), (1, 0, 0), (0, 0, 1), (0, 0, 0))

# (color, bits, amplitude) -> (Y, Cb, Cr) of the bars, as published.
_KNOWN = {
    "BT.709, 100%, 8 bits": (
        *(_HD, 8, 1.0),
        ((235, 128, 128), (219, 16, 138), (188, 154, 16), (173, 42, 26)),
        ((78, 214, 230), (63, 102, 240), (32, 240, 118), (16, 128, 128)),
    ),
    # SMPTE RP 219, HD colour bars.
    "BT.709, 75%, 10 bits": (
        *(_HD, 10, 0.75),
        ((721, 512, 512), (674, 176, 543), (581, 589, 176), (534, 253, 207)),
        ((251, 771, 817), (204, 435, 848), (111, 848, 481), (64, 512, 512)),
    ),
    "BT.601, 100%, 8 bits": (
        *(_SD, 8, 1.0),
        ((235, 128, 128), (210, 16, 146), (170, 166, 16), (145, 54, 34)),
        ((106, 202, 222), (81, 90, 240), (41, 240, 110), (16, 128, 128)),
    ),
    # SMPTE EG 1, SD colour bars.
    "BT.601, 75%, 8 bits": (
        *(_SD, 8, 0.75),
        ((180, 128, 128), (162, 44, 142), (131, 156, 44), (112, 72, 58)),
        ((84, 184, 198), (65, 100, 212), (35, 212, 114), (16, 128, 128)),
    ),
    # JFIF; Cr of red and Cb of blue would be 255.5 and are clamped. Cb of yellow and Cr of cyan
    # are 0.5 exactly: float32 decides, so nothing is said about them.
    "BT.601, full range": (
        *(_JPEG, 8, 1.0),
        ((255, 128, 128), (226, None, 149), (179, 171, None), (150, 44, 21)),
        ((105, 212, 235), (76, 85, 255), (29, 255, 107), (0, 128, 128)),
    ),
    "BT.2020, 100%, 10 bits": (
        *(_UHD, 10, 1.0),
        ((940, 512, 512), (888, 64, 548), (710, 637, 64), (658, 189, 100)),
        ((346, 835, 924), (294, 387, 960), (116, 960, 476), (64, 512, 512)),
    ),
}


def _dtype(bits: int) -> torch.dtype:
    return torch.uint8 if bits <= 8 else torch.uint16


def _codes(fmt: PixelFormat, height: int, width: int, seed: int, count: int = 1) -> list[Tensor]:
    """Random codes of the whole range; at 4:4:4 the first are all combinations of corners."""
    generator = torch.Generator().manual_seed(seed)
    planes = [
        torch.randint(
            0, 2**fmt.bits, (count, *fmt.plane_size(p, width, height)), generator=generator
        )
        for p in range(fmt.planes)
    ]
    top = 2**fmt.bits - 1
    corners = torch.tensor(list(product((0, 1, top // 2, top // 2 + 1, top), repeat=3)))
    if all(plane[0].numel() >= len(corners) for plane in planes):
        for plane, values in zip(planes, corners.t(), strict=False):
            plane.view(count, -1)[0, : len(values)] = values
    return [plane.to(_dtype(fmt.bits)) for plane in planes]


def _equal(a: tuple[Tensor, ...] | list[Tensor], b: tuple[Tensor, ...] | list[Tensor]) -> bool:
    return all(x.dtype == y.dtype and torch.equal(x, y) for x, y in zip(a, b, strict=True))


def _error(a: tuple[Tensor, ...] | list[Tensor], b: tuple[Tensor, ...] | list[Tensor]) -> int:
    return max(
        int((x.int() - y.int()).abs().max()) if x.numel() else 0 for x, y in zip(a, b, strict=True)
    )


@pytest.mark.parametrize("name", _KNOWN)
def test_colour_bars_have_their_published_codes(name: str) -> None:
    color, bits, amplitude, *codes = _KNOWN[name]
    wanted = [code for half in codes for code in half]
    fmt = pixel_format("yuv444p" if bits == 8 else f"yuv444p{bits}le")
    rgb = torch.tensor(_BARS, dtype=torch.float32).t().reshape(1, 3, 1, 8) * 255 * amplitude
    planes = from_rgb(rgb, None, fmt, color)
    for bar, expected in enumerate(wanted):
        got = [int(plane[0, 0, bar]) for plane in planes]
        assert all(w is None or w == g for w, g in zip(expected, got, strict=True)), (bar, got)
    if color.range is ColorRange.LIMITED:
        back, alpha = to_rgb(planes, fmt, color)
        assert alpha is None
        # Half a code of luma and of chroma, each with its largest gain.
        assert (back - rgb).abs().max() < (1.2 + 2.2) * 0.5 / 2 ** (bits - 8)


@pytest.mark.parametrize("matrix", MATRICES)
def test_white_black_and_grey_have_no_colour(matrix: Matrix) -> None:
    fmt = pixel_format("yuv444p10le")
    grey = torch.tensor([0.0, 100.0, 255.0]).view(1, 1, 1, 3).expand(1, 3, 1, 3)
    y, *chroma = from_rgb(grey, None, fmt, Color(matrix=matrix, range=ColorRange.LIMITED))
    assert y[0, 0].tolist() == [64, 64 + round(876 * 100 / 255), 940]
    assert all((plane == 512).all() for plane in chroma)


def test_ycgco_follows_h273() -> None:
    # H.273: from limited-range R, G, B codes (235, 16, 16), so chroma spans 219 codes, not 224.
    color = Color(matrix=Matrix.YCGCO, range=ColorRange.LIMITED)
    red = torch.tensor([255.0, 0.0, 0.0]).view(1, 3, 1, 1)
    codes = [int(p) for p in from_rgb(red, None, pixel_format("yuv444p"), color)]
    assert codes == [71, 73, 238]  # 70.75, 128 - 54.75, 128 + 109.5 rounded up


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(
        [f.name for f in PIXEL_FORMATS.values() if f.log2_chroma_w == f.log2_chroma_h == 0]
    ),
    matrix=st.sampled_from([*MATRICES, Matrix.RGB]),
    color_range=st.sampled_from([ColorRange.LIMITED, ColorRange.FULL]),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    seed=st.integers(0, 2**31),
)
def test_whole_chroma_comes_back_exactly(
    name: str, matrix: Matrix, color_range: ColorRange, size: tuple[int, int], seed: int
) -> None:
    fmt = pixel_format(name)
    color = Color(matrix=matrix, range=color_range)
    planes = _codes(fmt, *size, seed, count=2)
    assert _equal(from_rgb(*to_rgb(planes, fmt, color), fmt, color), planes)


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("color_range", [ColorRange.LIMITED, ColorRange.FULL])
def test_every_third_8_bit_triple_comes_back_exactly(
    matrix: Matrix, color_range: ColorRange
) -> None:
    axis = torch.arange(0, 256, 3, dtype=torch.uint8)
    planes = [axis_values.reshape(1, len(axis), -1) for axis_values in torch.meshgrid(axis, axis, axis, indexing="ij")]  # fmt: skip  # noqa: E501
    fmt, color = pixel_format("yuv444p"), Color(matrix=matrix, range=color_range)
    assert _equal(from_rgb(*to_rgb(planes, fmt, color), fmt, color), planes)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(
        [f.name for f in PIXEL_FORMATS.values() if f.log2_chroma_w or f.log2_chroma_h]
    ),
    color=st.sampled_from([_HD, _SD, _UHD, _JPEG]),
    size=st.tuples(st.integers(1, 400), st.integers(1, 400)),
    seed=st.integers(0, 2**31),
)
def test_subsampled_chroma_comes_back(
    name: str, color: Color, size: tuple[int, int], seed: int
) -> None:
    fmt = pixel_format(name)
    planes = _codes(fmt, *size, seed)
    back = from_rgb(*to_rgb(planes, fmt, color), fmt, color)
    # Noise over the whole range is the worst case; the filter's band is cut where 1e-5 is left.
    assert _error(back, planes) <= (0 if fmt.bits <= 12 else 2)


@pytest.mark.parametrize(("matrix", "space"), [(Matrix.BT709, 1), (Matrix.SMPTE170M, 5)])
@pytest.mark.parametrize("color_range", [ColorRange.LIMITED, ColorRange.FULL])
def test_agrees_with_swscale(matrix: Matrix, space: int, color_range: ColorRange) -> None:
    fmt, color = pixel_format("yuv444p"), Color(matrix=matrix, range=color_range)
    planes = _codes(fmt, 64, 64, seed=1)
    if color_range is ColorRange.LIMITED:  # swscale wraps around on codes outside
        planes = [plane.clamp(16, 235) for plane in planes]
    frame = av.VideoFrame.from_ndarray(torch.cat(planes).numpy(), format="yuv444p")
    theirs = frame.reformat(
        format="rgb24",
        src_colorspace=space,
        src_color_range=int(color_range),
        dst_color_range=int(ColorRange.FULL),
    ).to_ndarray()
    ours, _ = to_rgb(planes, fmt, color)
    off = np.abs(ours[0].clamp(0, 255).permute(1, 2, 0).numpy() - theirs)
    # Half a code of rounding, and a little of swscale's own.
    assert off.max() <= 0.52


def test_depths_convert_exactly() -> None:
    eight, ten = pixel_format("yuva444p"), pixel_format("yuva444p10le")
    planes = _codes(eight, 20, 20, seed=2)
    *colour, alpha = from_rgb(*to_rgb(planes, eight, _HD), ten, _HD)
    assert all(torch.equal(b.int(), a.int() * 4) for a, b in zip(planes, colour, strict=False))
    # Alpha is always full range: 255 becomes 1023, so the factor is not 4.
    wanted = [round(Fraction(code * 1023, 255)) for code in planes[3].flatten().tolist()]
    assert alpha.flatten().tolist() == wanted


def test_lower_depth_rounds() -> None:
    ten, eight = pixel_format("gray10le"), pixel_format("gray")
    y = torch.arange(1024, dtype=torch.int32).to(torch.uint16).view(1, 32, 32)
    (low,) = from_rgb(*to_rgb([y], ten, _HD), eight, _HD)
    # Codes halfway between two may go either way: float32 decides.
    assert (low.int().flatten() * 4 - torch.arange(1024)).abs()[:1022].max() <= 2
    assert low.flatten()[-3:].tolist() == [255, 255, 255]


def test_grey_is_luma_and_equal_channels() -> None:
    y = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    grey = pixel_format("gray")
    rgb, _ = to_rgb([y], grey, _HD)
    assert torch.equal(rgb[:, 0], rgb[:, 1])
    assert torch.equal(rgb[:, 0], rgb[:, 2])
    colour = torch.rand(1, 3, 8, 8) * 255
    (luma,) = from_rgb(colour, None, grey, _HD)
    assert torch.equal(luma, from_rgb(colour, None, pixel_format("yuv444p"), _HD)[0])


def test_rgb_is_full_range_unless_tagged() -> None:
    fmt = pixel_format("gbrp")
    planes = [torch.full((1, 1, 1), code, dtype=torch.uint8) for code in (16, 100, 235)]
    assert to_rgb(planes, fmt, Color())[0].flatten().tolist() == pytest.approx([235, 16, 100])
    limited, _ = to_rgb(planes, fmt, Color(range=ColorRange.LIMITED))
    assert limited.flatten().tolist() == pytest.approx([255, 0, 84 / 219 * 255], abs=1e-4)


def test_identity_matrix_in_a_yuv_format_is_rgb() -> None:
    color = Color(matrix=Matrix.RGB, range=ColorRange.FULL)
    planes = _codes(pixel_format("gbrp"), 12, 12, seed=3)
    ours, _ = to_rgb(planes, pixel_format("yuv444p"), color)
    assert torch.equal(ours, to_rgb(planes, pixel_format("gbrp"), color)[0])


def test_out_of_range_rgb_is_clamped_and_headroom_kept() -> None:
    rgb = torch.tensor([300.0, -50.0, 1e9]).view(1, 3, 1, 1)
    green, blue, red = from_rgb(rgb, None, pixel_format("gbrp"), Color())
    assert (int(green), int(blue), int(red)) == (0, 255, 255)
    (y,) = from_rgb(torch.full((1, 3, 1, 1), 270.0), None, pixel_format("gray"), _HD)
    assert int(y) == 16 + round(219 * 270 / 255)


def test_alpha_is_made_dropped_and_carried() -> None:
    with_alpha, without = pixel_format("gbrap"), pixel_format("gbrp")
    planes = _codes(with_alpha, 12, 14, seed=4)
    rgb, alpha = to_rgb(planes, with_alpha, Color())
    assert alpha is not None
    assert alpha.shape == (1, 1, 12, 14)
    assert _equal(from_rgb(rgb, alpha, without, Color()), planes[:3])
    carried = from_rgb(rgb, alpha, pixel_format("yuva420p"), _HD)
    assert torch.equal(carried[3], planes[3])
    opaque = from_rgb(rgb, None, pixel_format("yuva444p10le"), _HD)[3]
    assert (opaque == 1023).all()


def test_inputs_are_left_alone_and_any_layout_will_do() -> None:
    for name in ("yuva444p", "yuva420p", "gbrap", "gray"):
        fmt = pixel_format(name)
        rgb = torch.rand(2, 3, 12, 14) * 255
        alpha = torch.rand(2, 1, 12, 14) * 255
        before = rgb.clone(), alpha.clone()
        planes = from_rgb(rgb, alpha, fmt, _HD)
        assert torch.equal(rgb, before[0])
        assert torch.equal(alpha, before[1])
        layouts = (
            rgb.to(memory_format=torch.channels_last),
            rgb.transpose(2, 3).contiguous().transpose(2, 3),
        )
        for other in layouts:
            same = from_rgb(other, alpha, fmt, _HD)
            assert _error(same, planes) <= 1  # sums may be taken in another order
            assert all(plane.is_contiguous() for plane in same)


def test_a_batch_converts_with_its_own_colour() -> None:
    fmt = pixel_format("yuv420p")
    planes = tuple(_codes(fmt, 10, 10, seed=5, count=3))
    batch = FrameBatch(planes, fmt, 10, 10, _SD, (0, 1, 2), (1, 1, 1), Fraction(1, 25))
    assert torch.equal(batch_to_rgb(batch)[0], to_rgb(planes, fmt, _SD)[0])
    waited = []

    class _OnTheirWay:
        def synchronize(self) -> None:
            waited.append(1)

    # Planes that somebody has moved to the CPU, with what they are awaited by.
    late = replace(batch, ready=_OnTheirWay())
    assert torch.equal(batch_to_rgb(late)[0], batch_to_rgb(batch)[0])
    assert waited == [1]


@pytest.mark.parametrize(
    ("name", "color", "said"),
    [
        ("yuv444p", replace(_HD, matrix=Matrix.UNSPECIFIED), "UNSPECIFIED"),
        ("yuv444p", replace(_HD, matrix=Matrix.ICTCP), "ICTCP"),
        ("yuv420p", replace(_HD, matrix=Matrix.RGB), "RGB"),
        ("yuv444p", replace(_HD, range=ColorRange.UNSPECIFIED), "range"),
        ("yuv420p", replace(_HD, site=ChromaSite.UNSPECIFIED), "siting"),
    ],
)
def test_what_is_undecided_is_refused(name: str, color: Color, said: str) -> None:
    fmt = pixel_format(name)
    with pytest.raises(InputError, match=said) as caught:
        to_rgb(_codes(fmt, 4, 4, seed=6), fmt, color)
    assert caught.value.where.startswith("color.")
    assert caught.value.remedy
    with pytest.raises(InputError, match=said):
        from_rgb(torch.zeros(1, 3, 4, 4), None, fmt, color)


def test_planes_of_the_wrong_size_are_refused() -> None:
    planes = _codes(pixel_format("yuv444p"), 6, 6, seed=7)
    with pytest.raises(UsageError, match="yuv420p"):
        to_rgb(planes, pixel_format("yuv420p"), _HD)


@pytest.mark.cuda
@pytest.mark.parametrize("name", ["yuv444p", "yuv420p10le", "yuva422p", "gbrap12le", "gray16le"])
def test_cuda_agrees_with_the_cpu(name: str) -> None:
    fmt = pixel_format(name)
    planes = _codes(fmt, 270, 482, seed=8, count=2)
    there = [plane.cuda() for plane in planes]
    rgb, alpha = to_rgb(planes, fmt, _HD)
    rgb_there, alpha_there = to_rgb(there, fmt, _HD)
    assert (rgb_there.cpu() - rgb).abs().max() < 1e-2
    back = from_rgb(rgb_there, alpha_there, fmt, _HD)
    assert _error([plane.cpu() for plane in back], planes) <= (0 if fmt.bits <= 12 else 1)
    assert (alpha is None) == (alpha_there is None)

"""Chroma resampling: phase at every siting, constants, edges, aliasing."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vsr.media.color import chroma
from vsr.media.color.chroma import downsample, upsample
from vsr.types import ChromaSite, PixelFormat, pixel_format

_FORMATS = ["yuv420p", "yuv422p", "yuv440p", "yuv411p", "yuv410p"]
_SITES = [ChromaSite.LEFT, ChromaSite.CENTER, ChromaSite.TOPLEFT]
_TALL, _WIDE = 331, 347


def _offsets(fmt: PixelFormat, site: ChromaSite) -> tuple[float, float]:
    """Luma position (x, y) of the first chroma sample, by the definition of the sites."""
    middle_x, middle_y = ((1 << n) / 2 - 0.5 for n in (fmt.log2_chroma_w, fmt.log2_chroma_h))
    return {
        ChromaSite.LEFT: (0.0, middle_y),
        ChromaSite.CENTER: (middle_x, middle_y),
        ChromaSite.TOPLEFT: (0.0, 0.0),
    }[site]


def _ramps(fmt: PixelFormat, site: ChromaSite) -> tuple[torch.Tensor, torch.Tensor]:
    """One and the same plane ``x / 2 - y / 4``, at chroma's positions and at luma's."""
    offset_x, offset_y = _offsets(fmt, site)
    height, width = fmt.plane_size(1, _WIDE, _TALL)
    x = (torch.arange(width) * (1 << fmt.log2_chroma_w) + offset_x) / 2
    y = (torch.arange(height) * (1 << fmt.log2_chroma_h) + offset_y) / 4
    at_luma = torch.arange(_WIDE) / 2 - (torch.arange(_TALL) / 4)[:, None]
    return x - y[:, None], at_luma


@pytest.mark.parametrize("name", _FORMATS)
@pytest.mark.parametrize("site", _SITES)
def test_a_ramp_lands_on_its_luma_positions(name: str, site: ChromaSite) -> None:
    fmt = pixel_format(name)
    at_chroma, at_luma = _ramps(fmt, site)
    full = upsample(at_chroma, fmt, site, (_TALL, _WIDE))
    inner = (slice(12, -12), slice(12, -12))
    assert (full - at_luma)[inner].abs().max() < 1e-3
    low = downsample(at_luma.contiguous(), fmt, site)
    assert low.shape == at_chroma.shape
    assert (low - at_chroma)[12:-12, 12:-12].abs().max() < 2e-3


def test_sites_differ_by_half_a_sample() -> None:
    fmt = pixel_format("yuv420p")
    at_chroma, at_luma = _ramps(fmt, ChromaSite.LEFT)
    wrong = upsample(at_chroma, fmt, ChromaSite.CENTER, (_TALL, _WIDE)) - at_luma
    # Read as centred, everything is half a luma sample too far right: 0.5 * slope 1/2 too small.
    assert wrong[50:-50, 50:-50].mean() == pytest.approx(-0.25, abs=1e-3)


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(_FORMATS),
    site=st.sampled_from(_SITES),
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    value=st.integers(-128, 128),
)
def test_a_constant_stays_constant_at_any_size(
    name: str, site: ChromaSite, height: int, width: int, value: int
) -> None:
    fmt = pixel_format(name)
    low = torch.full((2, *fmt.plane_size(1, width, height)), float(value))
    full = upsample(low, fmt, site, (height, width))
    assert full.shape == (2, height, width)
    assert (full - value).abs().max() <= abs(value) * 1e-6
    back = downsample(full, fmt, site)
    assert back.shape == low.shape
    assert (back - value).abs().max() <= abs(value) * 2e-6
    assert not downsample(torch.zeros_like(full), fmt, site).any()


@pytest.mark.parametrize("size", [(90, 150), (331, 347), (360, 642)])
@pytest.mark.parametrize("site", _SITES)
def test_pieces_equal_one_whole_map(size: tuple[int, int], site: ChromaSite) -> None:
    # Rows and columns are independent, so a picture cropped well away from a place agrees there.
    fmt = pixel_format("yuv420p")
    height, width = size
    picture = torch.randn(height, width, generator=torch.Generator().manual_seed(0))
    low = downsample(picture, fmt, site)
    cut_h, cut_w = height // 4 * 2, width // 4 * 2
    part = downsample(picture[:cut_h, :cut_w].contiguous(), fmt, site)
    safe_h, safe_w = max(0, part.shape[0] - 22), max(0, part.shape[1] - 22)
    assert torch.allclose(low[:safe_h, :safe_w], part[:safe_h, :safe_w], atol=2e-4)


@pytest.mark.parametrize("site", _SITES)
def test_fine_detail_does_not_alias(site: ChromaSite) -> None:
    # 0.44 cycles per luma sample would show as 0.12 per chroma sample; plain decimation keeps all.
    fmt = pixel_format("yuv422p")
    wave = torch.cos(2 * math.pi * 0.44 * torch.arange(600)).expand(4, 600).contiguous()
    low = downsample(wave, fmt, site)[:, 20:-20]
    assert low.abs().max() < 0.05


@pytest.mark.parametrize("site", _SITES)
def test_smooth_waves_keep_their_height(site: ChromaSite) -> None:
    fmt = pixel_format("yuv422p")
    wave = torch.cos(2 * math.pi * 0.05 * torch.arange(600)).expand(4, 600).contiguous()
    again = upsample(downsample(wave, fmt, site), fmt, site, (4, 600))
    assert (again - wave)[:, 20:-20].abs().max() < 0.01


def test_nothing_subsampled_is_passed_through() -> None:
    fmt = pixel_format("yuv444p")
    plane = torch.rand(1, 5, 7)
    assert upsample(plane, fmt, ChromaSite.UNSPECIFIED, (5, 7)) is plane
    assert downsample(plane, fmt, ChromaSite.UNSPECIFIED) is plane


@pytest.mark.parametrize("site", _SITES)
@pytest.mark.parametrize("name", _FORMATS)
@pytest.mark.parametrize("size", [(131, 347), (9, 14), (300, 64)])
def test_repetitions_in_one_call_are_those_one_by_one(
    name: str, site: ChromaSite, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU."""
    fmt, (height, width) = pixel_format(name), size
    # A view with other strides than its size suggests, as a channel of a batch is.
    full = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(7))[:, 1] * 255
    plain = downsample(full, fmt, site)
    back = upsample(plain, fmt, site, size)
    monkeypatch.setattr(chroma, "_apply", partial(chroma._apply, together=True))
    torch.testing.assert_close(downsample(full, fmt, site), plain, rtol=0, atol=1e-4)
    torch.testing.assert_close(upsample(plain, fmt, site, size), back, rtol=0, atol=1e-4)

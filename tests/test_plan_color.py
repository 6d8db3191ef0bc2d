"""How samples are read and how the result is tagged."""

from __future__ import annotations

from typing import Any

import pytest
from media_factory import HDR10, media, plan_for, video, why

from vsr.errors import InputError, StrictError, UsageError
from vsr.media.codecs import CODECS
from vsr.plan.color import result_tags
from vsr.plan.notes import Notes
from vsr.types import ChromaSite, Color, ColorRange, Matrix, Primaries, Transfer

PQ = Color(Matrix.BT2020_NCL, Primaries.BT2020, Transfer.PQ, ColorRange.LIMITED)


@pytest.mark.parametrize(
    ("size", "tags", "matrix"),
    [
        ((720, 480), Color(), Matrix.SMPTE170M),
        ((720, 576), Color(), Matrix.BT470BG),
        ((352, 288), Color(), Matrix.BT470BG),
        ((1278, 719), Color(), Matrix.SMPTE170M),
        ((960, 720), Color(), Matrix.BT709),
        ((1280, 544), Color(), Matrix.BT709),
        ((1920, 1080), Color(matrix=Matrix.SMPTE170M), Matrix.SMPTE170M),
        ((720, 480), Color(matrix=Matrix.BT709), Matrix.BT709),
        ((720, 480), Color(primaries=Primaries.BT709), Matrix.BT709),
        ((720, 480), Color(primaries=Primaries.BT2020), Matrix.BT2020_NCL),
        ((720, 480), Color(transfer=Transfer.HLG), Matrix.BT2020_NCL),
        ((720, 480), Color(matrix=Matrix.RGB), Matrix.SMPTE170M),
    ],
)
def test_matrix(size: tuple[int, int], tags: Color, matrix: Matrix) -> None:
    plan = plan_for(media(video(width=size[0], height=size[1], color=tags)))
    assert plan.color.matrix is matrix
    assert plan.encode.tags.matrix is matrix
    assert (plan.color.primaries, plan.color.transfer) == (tags.primaries, tags.transfer)


def test_an_enlarged_untagged_sd_source_says_what_it_is() -> None:
    # 480 lines become 960: a player would take an untagged result for BT.709.
    plan = plan_for(media(video(height=480, width=854)))
    assert plan.height == 960
    assert plan.encode.tags == Color(
        Matrix.SMPTE170M, range=ColorRange.LIMITED, site=ChromaSite.LEFT
    )
    assert "854x480 is SD" in why(plan, "colour")


@pytest.mark.parametrize(
    ("facts", "span"),
    [
        ({}, ColorRange.LIMITED),
        ({"color": Color(range=ColorRange.FULL)}, ColorRange.FULL),
        ({"fmt": "gray"}, ColorRange.LIMITED),
        ({"fmt": "gray", "codec": "mjpeg"}, ColorRange.FULL),
        ({"fmt": "gray", "codec": "png"}, ColorRange.FULL),
        ({"fmt": "gbrp"}, ColorRange.FULL),
        ({"fmt": "gbrp", "color": Color(Matrix.RGB, range=ColorRange.FULL)}, ColorRange.FULL),
        ({"fmt": "gbrp", "color": Color(Matrix.RGB, range=ColorRange.LIMITED)}, ColorRange.LIMITED),
    ],
)
def test_range(facts: dict[str, Any], span: ColorRange) -> None:
    assert plan_for(media(video(**facts))).color.range is span


@pytest.mark.parametrize(
    ("facts", "read", "written"),
    [
        ({}, ChromaSite.LEFT, ChromaSite.LEFT),
        ({"codec": "mpeg1video"}, ChromaSite.CENTER, ChromaSite.LEFT),
        ({"codec": "mjpeg"}, ChromaSite.CENTER, ChromaSite.LEFT),
        ({"codec": "dvvideo"}, ChromaSite.TOPLEFT, ChromaSite.LEFT),
        ({"color": PQ}, ChromaSite.TOPLEFT, ChromaSite.TOPLEFT),
        ({"color": Color(site=ChromaSite.CENTER)}, ChromaSite.CENTER, ChromaSite.LEFT),
    ],
)
def test_chroma_site(facts: dict[str, Any], read: ChromaSite, written: ChromaSite) -> None:
    plan = plan_for(media(video(**facts)))
    assert plan.color.site is read
    assert plan.encode.tags.site is written


def test_what_is_asked_for_beats_the_tags() -> None:
    tagged = Color(Matrix.BT709, range=ColorRange.LIMITED, site=ChromaSite.LEFT)
    plan = plan_for(
        media(video(color=tagged)),
        matrix=Matrix.SMPTE170M,
        range=ColorRange.FULL,
        site=ChromaSite.CENTER,
    )
    assert (plan.color.matrix, plan.color.range) == (Matrix.SMPTE170M, ColorRange.FULL)
    assert plan.color.site is ChromaSite.CENTER
    assert plan.encode.tags.matrix is Matrix.SMPTE170M
    with pytest.raises(UsageError, match="RGB"):
        plan_for(media(video(fmt="gbrp")), matrix=Matrix.BT709)


@pytest.mark.parametrize(
    "matrix",
    [
        *(Matrix.BT2020_CL, Matrix.ICTCP, Matrix.SMPTE2085, Matrix.CHROMA_DERIVED_NCL),
        *(Matrix.IPT_C2, Matrix.YCGCO_RE, Matrix.YCGCO_RO),
    ],
)
def test_matrices_that_are_no_matrices_are_refused_with_a_way_out(matrix: Matrix) -> None:
    info = media(video(color=Color(matrix=matrix)))
    with pytest.raises(InputError, match="--color-matrix"):
        plan_for(info)
    assert plan_for(info, matrix=Matrix.BT2020_NCL).color.matrix is Matrix.BT2020_NCL


def test_rgb_becomes_bt709_limited_in_yuv_codecs_and_stays_rgb_in_ffv1() -> None:
    info = media(video(fmt="gbrp"))
    tags = plan_for(info).encode.tags
    assert (tags.matrix, tags.range) == (Matrix.BT709, ColorRange.LIMITED)
    tags = plan_for(info, "o.mkv", codec="ffv1").encode.tags
    assert (tags.matrix, tags.range) == (Matrix.RGB, ColorRange.FULL)


def test_limited_rgb_stays_so_where_the_codec_can_say_it() -> None:
    info = media(video(fmt="gbrp", color=Color(Matrix.RGB, range=ColorRange.LIMITED)))
    plan = plan_for(info, "o.mkv", codec="ffv1")
    assert (plan.color.range, plan.encode.tags.range) == (ColorRange.LIMITED,) * 2
    rgb = info.videos[0].format
    for codec, span in (("hevc", ColorRange.LIMITED), ("vp9", ColorRange.FULL)):
        tags = result_tags(plan.color, rgb, rgb, CODECS[codec], Notes())
        assert (tags.matrix, tags.range) == (Matrix.RGB, span)
    assert plan_for(info).encode.tags.matrix is Matrix.BT709
    # Whether tagged or not, somebody may know better.
    assert plan_for(info, range=ColorRange.FULL).color.range is ColorRange.FULL
    asked = plan_for(media(video(fmt="gbrp")), "o.mkv", codec="ffv1", range=ColorRange.LIMITED)
    assert (asked.color.range, asked.encode.tags.range) == (ColorRange.LIMITED,) * 2


def test_prores_is_written_in_limited_range() -> None:
    info = media(video(color=Color(range=ColorRange.FULL)))
    plan = plan_for(info, "o.mov", codec="prores")
    assert plan.color.range is ColorRange.FULL
    assert plan.encode.tags.range is ColorRange.LIMITED
    assert plan_for(info).encode.tags.range is ColorRange.FULL


@pytest.mark.parametrize(
    ("codec", "read", "written"),
    [
        ("vp9", Matrix.FCC, Matrix.SMPTE170M),
        ("vp9", Matrix.YCGCO, Matrix.BT709),
        ("vp9", Matrix.SMPTE240M, Matrix.SMPTE240M),
        ("vp9", Matrix.BT470BG, Matrix.BT470BG),
        ("prores", Matrix.BT470BG, Matrix.SMPTE170M),
        ("prores", Matrix.SMPTE240M, Matrix.BT709),
        ("prores", Matrix.BT2020_NCL, Matrix.BT2020_NCL),
        ("h264", Matrix.YCGCO, Matrix.YCGCO),
    ],
)
def test_a_matrix_that_a_codec_has_no_code_for(codec: str, read: Matrix, written: Matrix) -> None:
    info = media(video(color=Color(matrix=read, range=ColorRange.LIMITED)))
    plan = plan_for(info, "o.mkv", codec=codec, strict=True)
    assert (plan.color.matrix, plan.encode.tags.matrix) == (read, written)
    said = [r for r in plan.reasons if r.topic == "result colour"]
    # BT.601 has two tags for the same equations.
    same = {read, written} == {Matrix.BT470BG, Matrix.SMPTE170M}
    assert bool(said) == (read is not written and not same)
    if said:
        assert said[0].why.startswith(f"{codec} has no code for ")


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_primaries_that_an_encoder_has_no_word_for(codec: str) -> None:
    info = media(video(color=Color(primaries=Primaries.EBU3213)))
    plan = plan_for(info, codec=codec)
    assert plan.encode.tags.primaries is Primaries.UNSPECIFIED
    assert ["EBU3213" in sentence for sentence in plan.given_up] == [True]
    with pytest.raises(StrictError, match="EBU3213"):
        plan_for(info, codec=codec, strict=True)
    assert plan_for(info, codec="av1").encode.tags.primaries is Primaries.EBU3213


def test_hdr10_reaches_encoders_that_take_it() -> None:
    info = media(video(fmt="yuv420p10le", color=PQ, hdr=HDR10))
    plan = plan_for(info)
    assert (plan.encode.name, plan.encode.hdr, plan.encode.hdr_param) == (
        "hevc",
        HDR10,
        "x265-params",
    )
    assert plan.encode.tags.transfer is Transfer.PQ
    assert not plan.given_up
    plan = plan_for(info, "o.webm")
    assert (plan.encode.name, plan.encode.hdr) == ("av1", HDR10)


def test_hdr10_is_given_up_aloud_where_the_encoder_was_asked_for() -> None:
    info = media(video(fmt="yuv420p10le", color=PQ, hdr=HDR10))
    plan = plan_for(info, codec="vp9")
    assert plan.encode.hdr is None
    assert any("--codec hevc" in sentence for sentence in plan.given_up)
    assert plan.encode.tags.transfer is Transfer.PQ


def test_hlg_goes_to_hevc_and_keeps_its_tags() -> None:
    tags = Color(Matrix.BT2020_NCL, Primaries.BT2020, Transfer.HLG, ColorRange.LIMITED)
    plan = plan_for(media(video(fmt="yuv420p10le", color=tags)))
    assert plan.encode.name == "hevc"
    assert plan.encode.tags.transfer is Transfer.HLG
    assert not plan.given_up


def test_colours_that_only_dolby_vision_makes_right_are_refused_with_a_way_out() -> None:
    tags = Color(range=ColorRange.FULL)
    info = media(video(fmt="yuv420p10le", color=tags, dolby_vision=True, dolby_colors=True))
    with pytest.raises(InputError, match="Dolby Vision's own") as caught:
        plan_for(info)
    assert "libplacebo" in caught.value.remedy
    plan = plan_for(info, matrix=Matrix.BT2020_NCL)
    assert plan.color.matrix is Matrix.BT2020_NCL
    assert any("Dolby Vision" in sentence for sentence in plan.given_up)
    assert plan_for(media(video(fmt="yuv420p10le", color=tags, dolby_vision=True)))

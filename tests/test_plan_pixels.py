"""Which codec and pixel format a source gets, and what is said to be lost."""

from __future__ import annotations

from fractions import Fraction

import pytest
from media_factory import media, plan_for, video, why

from vsr.errors import OutputError, StrictError, UsageError
from vsr.preset import Preset


@pytest.mark.parametrize(
    ("source", "codec", "result", "lost"),
    [
        ("yuv420p", "h264", "yuv420p", ""),
        ("yuv422p", "h264", "yuv422p", ""),
        ("yuv411p", "h264", "yuv422p", ""),
        ("yuv440p", "h264", "yuv444p", ""),
        ("yuv420p9le", "h264", "yuv420p10le", ""),
        ("yuv420p12le", "h264", "yuv420p10le", "12 bits become 10"),
        ("yuv420p12le", "hevc", "yuv420p12le", ""),
        ("yuv444p", "av1", "yuv420p", "4:4:4 becomes 4:2:0"),
        ("gray", "h264", "yuv420p", ""),
        ("gray", "hevc", "yuv420p", ""),
        ("gray", "ffv1", "gray", ""),
        ("gray", "av1", "yuv420p", ""),
        ("gray16le", "hevc", "yuv420p12le", "16 bits become 12"),
        ("gbrp", "h264", "yuv444p", ""),
        ("gbrp", "hevc", "yuv444p", ""),
        ("gbrp", "ffv1", "gbrp", ""),
        ("gbrap16le", "ffv1", "gbrap16le", ""),
        ("gbrap", "h264", "yuv444p", "alpha channel"),
        ("yuva420p", "vp9", "yuva420p", ""),
        ("yuva444p10le", "vp9", "yuva420p", "10 bits become 8"),
        ("yuv420p", "prores", "yuv422p10le", ""),
        ("yuva420p", "prores", "yuva444p10le", ""),
        ("yuv420p10le", "hevc_nvenc", "yuv420p10le", ""),
    ],
)
def test_the_format_that_loses_least(source: str, codec: str, result: str, lost: str) -> None:
    plan = plan_for(media(video(fmt=source)), "out.mkv", codec=codec)
    assert plan.encode.format.name == result
    assert lost in "\n".join(plan.given_up)
    assert bool(plan.given_up) == bool(lost)
    if result != source:
        assert why(plan, "pixel format")


def test_grey_gets_neutral_chroma_where_players_expect_some() -> None:
    info = media(video(fmt="gray"))
    for codec in ("h264", "hevc"):
        plan = plan_for(info, "o.mkv", codec=codec)
        assert why(plan, "pixel format") == (
            f"yuv420p: the source is grey, and few players take {codec} without chroma: it is "
            "neutral; --pix-fmt gray leaves it out"
        )
        assert plan_for(info, "o.mkv", codec=codec, pix_fmt="gray").encode.format.name == "gray"
    # Every third size is odd.
    odd = media(video(fmt="gray", width=101, height=99))
    assert plan_for(odd, scale=3).encode.format.name == "yuv444p"


def test_what_grey_without_chroma_lacks_is_known_before_it_is_encoded() -> None:
    info = media(video(fmt="gray"))
    for ending, lost in (("mp4", 1), ("mov", 1), ("mkv", 0)):
        plan = plan_for(info, f"o.{ending}", codec="h264", pix_fmt="gray")
        assert len(plan.given_up) == lost
    with pytest.raises(StrictError, match="colour range of grey"):
        plan_for(info, codec="h264", pix_fmt="gray", strict=True)


def test_losses_name_the_codecs_that_keep_it() -> None:
    plan = plan_for(media(video(fmt="yuva444p10le")), "out.mkv", codec="h264")
    assert plan.given_up == (
        "alpha channel: h264 in .mkv has none. Kept by --codec vp9 (.webm, .mkv), "
        "--codec prores (.mov, .mkv), --codec ffv1 (.mkv).",
    )


def test_mp4_has_no_place_for_vp9s_alpha() -> None:
    plan = plan_for(media(video(fmt="yuva420p")), "out.mp4", codec="vp9")
    assert plan.encode.format.name == "yuv420p"
    assert "alpha channel" in plan.given_up[0]


def test_formats_and_depths_asked_for() -> None:
    plan = plan_for(media(video(fmt="yuv444p")), pix_fmt="yuv420p")
    assert (plan.encode.format.name, plan.given_up) == ("yuv420p", ())
    assert why(plan, "pixel format") == "yuv420p: asked for (the source is yuv444p)"
    plan = plan_for(preset=Preset(codec="hevc", bit_depth=10))
    assert (plan.encode.format.name, plan.given_up) == ("yuv420p10le", ())
    with pytest.raises(UsageError, match="no format with 12 bits"):
        plan_for(preset=Preset(codec="h264", bit_depth=12))


@pytest.mark.parametrize(
    ("facts", "destination", "codec"),
    [
        ({}, "o.mp4", "h264"),
        ({}, "o.webm", "vp9"),
        ({"fmt": "yuv420p10le"}, "o.mp4", "hevc"),
        ({"fmt": "yuv420p10le"}, "o.webm", "av1"),
        ({"width": 1920, "height": 1080}, "o.mp4", "h264"),
        ({"width": 2050, "height": 1080}, "o.mp4", "hevc"),
        ({"width": 2048, "height": 1536}, "o.mp4", "hevc"),
        ({"width": 1920, "height": 1080, "average_rate": Fraction(60)}, "o.mp4", "h264"),
        ({"width": 1920, "height": 1080, "average_rate": Fraction(120)}, "o.mp4", "hevc"),
        ({"fmt": "yuv444p12le"}, "o.webm", "vp9"),
        # Alpha is worth more than bits.
        ({"fmt": "yuva444p10le"}, "o.webm", "vp9"),
        ({"fmt": "yuva420p10le", "codec": "vp9"}, "o.mkv", "vp9"),
        ({"fmt": "yuva444p12le", "codec": "prores"}, "o.mov", "prores"),
        ({"fmt": "yuv444p12le", "codec": "prores"}, "o.mkv", "prores"),
    ],
)
def test_the_codec_that_suits_container_and_source(
    facts: dict[str, object], destination: str, codec: str
) -> None:
    plan = plan_for(media(video(**facts)), destination)
    assert plan.encode.name == codec
    assert why(plan, "codec")


def test_sizes_beyond_an_encoder_name_one_that_goes_further() -> None:
    info = media(video(width=4400, height=2000))
    with pytest.raises(OutputError, match="8704") as caught:
        plan_for(info, "o.mkv", codec="av1")
    assert "--codec h264, hevc, vp9" in caught.value.remedy


def test_odd_sizes_get_full_chroma_or_an_error_with_a_way_out() -> None:
    odd = media(video(width=101, height=99))
    assert plan_for(odd, scale=3).encode.format.name == "yuv444p"
    assert "303x297 is odd" in why(plan_for(odd, scale=3), "pixel format")
    assert plan_for(odd, scale=2).encode.format.name == "yuv420p"
    assert plan_for(odd, "o.webm", scale=3).encode.format.name == "yuv420p"
    with pytest.raises(OutputError, match="only even sizes") as caught:
        plan_for(odd, scale=3, codec="hevc_nvenc")
    assert "--codec av1 (.mp4, .mkv, .webm)" in caught.value.remedy
    with pytest.raises(OutputError, match="even sizes only"):
        plan_for(odd, scale=3, pix_fmt="yuv420p")


@pytest.mark.parametrize(
    ("codec", "destination", "expected"),
    [
        ("hevc", "out.mp4", "hevc"),
        ("ffv1", "out.mkv", "ffv1"),
        ("mpeg4", "out.mp4", "h264"),
        ("h264", "out.webm", "vp9"),
    ],
)
def test_the_source_keeps_its_codec_where_it_can(
    codec: str, destination: str, expected: str
) -> None:
    assert plan_for(media(video(codec=codec)), destination=destination).encode.name == expected


def test_prores_4444_stays_prores_and_says_what_becomes_of_its_bits() -> None:
    """Its decoder gives 12 bits, whatever there were; how many, nothing says."""
    info = media(video(fmt="yuva444p12le", codec="prores"))
    plan = plan_for(info, "o.mov")
    assert plan.encode.format.name == "yuva444p10le"
    assert "4444 is decoded to 12 bits and kept at 10" in why(plan, "codec")
    assert [lost.split(".")[0] for lost in plan.given_up] == [
        "bit depth: 12 bits become 10 in prores"
    ]
    with pytest.raises(StrictError, match="12 bits become 10"):
        plan_for(info, "o.mov", strict=True)

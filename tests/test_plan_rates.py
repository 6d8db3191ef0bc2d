"""What settles the rate: a quality, a quantiser or a bit rate; and where key frames are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import av
import pytest
from media_factory import media, plan_for, video, why
from synth import make_clip
from test_plan_nvenc import plan_on_gpu

from vsr.cli.entry import run
from vsr.errors import PresetError, UsageError
from vsr.plan import describe
from vsr.preset import Preset, load_preset, merge
from vsr.types import Trim


def options_of(**wishes: Any) -> dict[str, str]:
    return dict(plan_for(destination="out.mkv", **wishes).encode.options)


def x264_settings(path: Path) -> str:
    """What x264 writes into its first picture about itself."""
    with av.open(str(path)) as container:
        packet = next(container.demux(video=0))
    found = re.search(rb"options: [ -~]*", bytes(packet))
    assert found is not None
    return found[0].decode()


@pytest.mark.parametrize(
    ("option", "said"), [("qp=0", "rc=cqp"), ("b=300000", "rc=abr"), ("crf=30", "crf=30.0")]
)
def test_x264_goes_by_what_was_asked_for(tmp_path: Path, option: str, said: str) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=3)
    out = tmp_path / "out.mp4"
    command = ["upscale", str(clip.path), "-o", str(out), "--model", "bicubic", "-x", option]
    assert run([*command, "--quiet"]) == 0
    assert said in x264_settings(out)


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
@pytest.mark.parametrize("option", [("qp", "20"), ("b", "2M")])
def test_a_quantiser_or_bit_rate_replaces_the_presets_quality(
    codec: str, option: tuple[str, str]
) -> None:
    plan = plan_for(destination="out.mkv", codec=codec, options=(option,))
    options = dict(plan.encode.options)
    assert "crf" not in options
    assert options[option[0]] == option[1]
    assert why(plan, "rate") == f"{option[0]} {option[1]}: asked for"
    # And likewise from a preset that builds upon one with a quality.
    own = merge(load_preset(codec), Preset(name="mine", options=(option,)))
    plan = plan_for(destination="out.mkv", preset=own)
    assert "crf" not in dict(plan.encode.options)
    assert why(plan, "rate") == f"{option[0]} {option[1]}: preset mine"
    # A quality above it has the last word again.
    options = options_of(preset=own, quality=9)
    assert options["crf"] == "9"
    assert "qp" not in options
    assert options.get("b", "0") == "0"


def test_vp9_takes_a_ceiling_beside_a_quality() -> None:
    assert options_of(codec="vp9")["b"] == "0"
    assert "crf" in options_of(codec="vp9")
    options = options_of(codec="vp9", options=(("b", "2M"),))
    assert options["b"] == "2M"
    assert "crf" not in options
    options = options_of(codec="vp9", quality=20, options=(("b", "2M"),))
    assert (options["crf"], options["b"]) == ("20", "2M")
    capped = Preset(name="mine", codec="vp9", options=(("b", "2M"),))
    options = options_of(preset=capped, quality=20)
    assert (options["crf"], options["b"]) == ("20", "0")


@pytest.mark.parametrize(
    "wishes",
    [
        {"quality": 20, "options": (("qp", "20"),)},
        {"quality": 20, "options": (("b", "2M"),)},
        {"options": (("crf", "20"), ("qp", "20"))},
        {"quality": 20, "codec": "vp9", "options": (("qp", "20"),)},
    ],
)
def test_two_that_exclude_each_other_are_an_error(wishes: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="settle the same thing") as caught:
        options_of(**wishes)
    assert "Leave --quality or -x" in caught.value.remedy


def test_a_preset_that_says_both_is_broken() -> None:
    both = Preset(name="mine", path="mine.toml", codec="h264", quality=20, options=(("qp", "9"),))
    with pytest.raises(PresetError, match="settle the same thing") as caught:
        options_of(preset=both)
    assert caught.value.where == "mine.toml"
    # What is asked for settles it.
    assert options_of(preset=both, quality=7)["crf"] == "7"
    assert "crf" not in options_of(preset=both, options=(("qp", "7"),))


def test_nvenc_gets_the_mode_that_listens_to_a_quantiser() -> None:
    options = dict(plan_on_gpu(video(), codec="h264_nvenc", options=(("qp", "20"),)).encode.options)
    assert (options["qp"], options["rc"]) == ("20", "constqp")
    assert "cq" not in options
    options = dict(plan_on_gpu(video(), codec="h264_nvenc", options=(("b", "2M"),)).encode.options)
    assert (options["b"], options["rc"]) == ("2M", "vbr")
    assert "cq" not in options


def test_the_plan_says_which_quality_counts() -> None:
    plan = plan_for(options=(("crf", "30"),))
    assert dict(plan.encode.options)["crf"] == "30"
    assert why(plan, "quality") == "crf 30: asked for"
    mine = Preset(name="mine", codec="h264", options=(("crf", "31"),))
    assert why(plan_for(preset=mine), "quality") == "crf 31: preset mine"
    assert why(plan_for(preset=mine, quality=9), "quality") == "crf 9: asked for"


def test_the_plan_says_where_key_frames_are() -> None:
    plan = plan_for(options=(("g", "12"),))
    assert plan.encode.gop == 12
    assert "key frame every 12 frames" in describe(plan)
    for codec in ("prores", "ffv1"):
        plan = plan_for(destination="o.mkv", codec=codec)
        assert plan.encode.gop == 1
        assert "key frames only" in describe(plan)


def test_key_frames_are_where_the_plan_says(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=9)
    out = tmp_path / "out.mp4"
    command = ["upscale", str(clip.path), "-o", str(out), "--model", "bicubic", "-x", "g=4"]
    assert run([*command, "--quiet"]) == 0
    with av.open(str(out)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    assert sorted(p.pts for p in packets if p.is_keyframe and p.pts is not None) == [
        sorted(p.pts for p in packets if p.pts is not None)[i] for i in (0, 4, 8)
    ]


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
def test_ffv1s_key_frames_and_container_are_its_own(codec: str) -> None:
    assert plan_for(destination="o.mkv", preset="archive", codec=codec).encode.gop == 250
    # The container goes with the codec, too.
    assert plan_for(destination=None, preset="archive", codec=codec).destination == "in_x2.mp4"
    assert plan_for(destination=None, preset="archive").destination == "in_x2.mkv"


def test_the_part_counts_from_the_first_frame_as_its_options_do() -> None:
    info = media(video(start=48600))
    text = describe(plan_for(info, trim=Trim(start=48600 + 7200, end=48600 + 18000)))
    assert "from 0.080 s, until 0.200 s" in text

"""The GPU's encoders: where they are taken, and what takes their place where they cannot be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from media_factory import HDR10, media, video, why

from vsr.errors import OutputError
from vsr.media.codecs import CODECS
from vsr.media.containers import CONTAINERS
from vsr.plan import DeviceFacts, Request, make_plan
from vsr.preset import load_preset
from vsr.types import Color, ColorRange, Matrix, Plan, Primaries, Transfer, VideoStreamInfo

PQ = Color(Matrix.BT2020_NCL, Primaries.BT2020, Transfer.PQ, ColorRange.LIMITED)
NO_ENCODER = "does not open: the GPU has no encoder"


def plan_on_gpu(
    source: VideoStreamInfo,
    destination: str | None = "out.mp4",
    *,
    encoders: bool = True,
    **wishes: Any,
) -> Plan:
    """A plan with the real codec table on a GPU whose NVENC works, or that has none."""

    def usable(name: str) -> str | None:
        return NO_ENCODER if CODECS[name].hardware and not encoders else None

    return make_plan(
        media(source),
        Request(source="in.mp4", destination=destination, **wishes),
        load_preset("x2"),
        codecs=CODECS,
        containers=CONTAINERS,
        models={"fdiwn": (2, 3, 4)},
        usable=usable,
        device=DeviceFacts(backend="torch", device="cuda:0", why="the first CUDA device"),
    )


@pytest.mark.parametrize(
    ("codec", "result"), [("h264", "h264_nvenc"), ("hevc", "hevc_nvenc"), ("av1", "av1_nvenc")]
)
def test_nvenc_of_the_sources_own_codec(codec: str, result: str) -> None:
    plan = plan_on_gpu(video(codec=codec), codec="nvenc")
    assert plan.encode.name == result
    assert why(plan, "codec") == f"{result}: NVENC asked for"
    quality = load_preset(result).quality_at(2)
    assert dict(plan.encode.options)["cq"] == str(quality)


@pytest.mark.parametrize(
    ("codec", "result", "encoder"),
    [("h264", "h264", "libx264"), ("hevc", "hevc", "libx265"), ("av1", "av1", "libsvtav1")],
)
def test_a_gpu_without_encoders_leaves_them_to_the_cpu(
    codec: str, result: str, encoder: str
) -> None:
    plan = plan_on_gpu(video(codec=codec), codec="nvenc", encoders=False)
    assert (plan.encode.name, plan.encode.encoder) == (result, encoder)
    assert why(plan, "codec") == f"{result}: no NVENC: {NO_ENCODER}; {encoder} runs on the CPU"


@pytest.mark.parametrize(
    ("source", "destination", "scale", "result", "said"),
    [
        (video(codec="vp9"), "o.webm", 2, "vp9", "there is none for vp9"),
        (
            video(codec="hevc", fmt="yuv420p10le", color=PQ, hdr=HDR10),
            *("o.mp4", 2, "hevc", "HDR10 metadata cannot be given to hevc_nvenc"),
        ),
        (video(fmt="yuv422p"), "o.mp4", 2, "h264", "h264_nvenc does not take yuv422p"),
        (
            video(codec="av1", width=641),
            *("o.mp4", 3, "av1", "does not take odd sizes, and the result is 1923x1080"),
        ),
        (
            video(codec="av1", width=4200, height=2100),
            *("o.mkv", 2, "av1", "av1_nvenc ends at 8192"),
        ),
    ],
)
def test_what_nvenc_cannot_keep_goes_to_the_cpu(
    source: VideoStreamInfo, destination: str, scale: int, result: str, said: str
) -> None:
    plan = plan_on_gpu(source, destination, codec="nvenc", scale=scale)
    assert plan.encode.name == result
    assert said in why(plan, "codec")
    assert plan.encode.hdr == source.hdr
    assert plan.given_up == ()


def test_named_encoders_are_never_replaced() -> None:
    with pytest.raises(OutputError) as caught:
        plan_on_gpu(video(), codec="hevc_nvenc", encoders=False)
    assert NO_ENCODER in caught.value.what
    assert "--codec hevc, which runs on the CPU" in caught.value.remedy
    hdr = video(codec="hevc", fmt="yuv420p10le", color=PQ, hdr=HDR10)
    for name in ("hevc_nvenc", "av1_nvenc"):
        with pytest.raises(OutputError, match=f"HDR10, whose metadata {name} cannot") as caught:
            plan_on_gpu(hdr, codec=name)
        assert caught.value.remedy.startswith("Use --codec hevc or av1,")
    # PQ without static metadata is only a tag, which NVENC writes.
    plan = plan_on_gpu(replace(hdr, hdr=None), codec="hevc_nvenc")
    assert plan.encode.tags.transfer is Transfer.PQ
    assert plan.given_up == ()


def test_without_being_asked_for_it_is_not_used() -> None:
    assert plan_on_gpu(video()).encode.name == "h264"
    assert plan_on_gpu(video(), None).destination == "in_x2.mp4"
    assert plan_on_gpu(video(), None, codec="nvenc").destination == "in_x2.mp4"

"""Source descriptions and small tables made by hand, for tests that open no file."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

from vsr.plan import DeviceFacts, Request, default_preset, make_plan
from vsr.preset import Preset, load_preset
from vsr.types import (
    Chapter,
    CodecSpec,
    ContainerSpec,
    HdrMetadata,
    MediaInfo,
    Plan,
    StreamInfo,
    VideoStreamInfo,
    pixel_format,
)

TICK = Fraction(1, 90000)
MODELS = {"fdiwn": (2, 3, 4), "fdiwn-m": (2, 3, 4), "bicubic": (2, 3, 4)}

HDR10 = HdrMetadata(
    primaries=((Fraction(17, 25), Fraction(8, 25)),) * 4,
    min_luminance=Fraction(1, 10000),
    max_luminance=Fraction(1000),
    max_cll=1000,
    max_fall=400,
)

_H264 = CodecSpec(
    name="h264",
    codec="h264",
    encoder="libx264",
    pixel_formats=("yuv420p", "yuv422p", "yuv444p", "gray", "yuv420p10le", "yuv444p10le"),
    containers=("mp4", "mov", "mkv"),
    quality_option="crf",
    quality_range=(0, 51),
    speed_option="preset",
    hdr10="x264-params",
    even=True,
)
CODECS = {
    spec.name: spec
    for spec in (
        _H264,
        replace(
            _H264,
            name="hevc",
            codec="hevc",
            encoder="libx265",
            pixel_formats=(*_H264.pixel_formats, "yuv420p12le", "yuv444p12le", "gbrp"),
            hdr10="x265-params",
        ),
        replace(
            _H264,
            name="av1",
            codec="av1",
            encoder="libsvtav1",
            pixel_formats=("yuv420p", "yuv420p10le"),
            containers=("mp4", "mkv", "webm"),
            hdr10="svtav1-params",
            quality_range=(1, 63),
            max_size=8704,
            even=False,
        ),
        replace(
            _H264,
            name="vp9",
            codec="vp9",
            encoder="libvpx-vp9",
            pixel_formats=("yuv420p", "yuv444p", "yuva420p"),
            containers=("webm", "mkv", "mp4"),
            quality_range=(0, 63),
            speed_option="cpu-used",
            hdr10=None,
            alpha=True,
            even=False,
        ),
        CodecSpec(
            name="prores",
            codec="prores",
            encoder="prores_ks",
            pixel_formats=("yuv422p10le", "yuv444p10le", "yuva444p10le"),
            containers=("mov", "mkv"),
            quality_option=None,
            quality_range=None,
            speed_option=None,
            hdr10="container",
            alpha=True,
        ),
        CodecSpec(
            name="ffv1",
            codec="ffv1",
            encoder="ffv1",
            pixel_formats=(
                *("yuv420p", "yuv444p", "yuv420p10le", "yuv444p12le", "gray", "gray16le"),
                *("gbrp", "gbrap", "gbrp16le", "gbrap16le"),
            ),
            containers=("mkv",),
            quality_option=None,
            quality_range=None,
            speed_option=None,
            hdr10="container",
            alpha=True,
            lossless=True,
        ),
        replace(
            _H264,
            name="hevc_nvenc",
            codec="hevc",
            encoder="hevc_nvenc",
            pixel_formats=("yuv420p", "yuv420p10le"),
            quality_option="cq",
            hdr10=None,
            hardware=True,
            max_size=8192,
        ),
    )
}
CONTAINERS = {
    spec.name: spec
    for spec in (
        ContainerSpec(
            name="mp4",
            muxer="mp4",
            extensions=(".mp4", ".m4v"),
            default_codec="h264",
            audio=("aac", "ac3"),
            audio_fallback="aac",
            subtitles=("mov_text",),
            text_subtitles="mov_text",
            attachments=False,
            cover="attached_pic",
            chapters=True,
        ),
        ContainerSpec(
            name="mov",
            muxer="mov",
            extensions=(".mov",),
            default_codec="h264",
            audio=("aac", "pcm_s16le"),
            audio_fallback=None,
            subtitles=(),
            text_subtitles=None,
            attachments=False,
            cover=None,
            chapters=True,
            data=("klv",),
        ),
        ContainerSpec(
            name="mkv",
            muxer="matroska",
            extensions=(".mkv",),
            default_codec="h264",
            audio=None,
            audio_fallback="flac",
            subtitles=("subrip", "ass", "hdmv_pgs_subtitle"),
            text_subtitles="ass",
            attachments=True,
            cover="attachment",
            chapters=True,
            time_base=1000,
        ),
        ContainerSpec(
            name="webm",
            muxer="webm",
            extensions=(".webm",),
            default_codec="vp9",
            audio=("opus",),
            audio_fallback="libopus",
            subtitles=("webvtt",),
            text_subtitles="webvtt",
            attachments=False,
            cover=None,
            chapters=False,
            time_base=1000,
            hdr10=False,
        ),
    )
}


def video(index: int = 0, fmt: str = "yuv420p", **facts: Any) -> VideoStreamInfo:
    """A video stream, 640x360 at 25 frames/s in H.264 unless told otherwise."""
    known: dict[str, Any] = {
        "kind": "video",
        "codec": "h264",
        "time_base": TICK,
        "start": 0,
        "width": 640,
        "height": 360,
        "native_format": fmt,
        "average_rate": Fraction(25),
        "frames": 100,
        "frames_exact": True,
    }
    return VideoStreamInfo(index=index, format=pixel_format(fmt), **(known | facts))


def stream(index: int, kind: Any, codec: str, **facts: Any) -> StreamInfo:
    """Any other stream; sound is of 48 kHz in stereo unless told otherwise."""
    if kind == "audio":
        facts = {"sample_rate": 48000, "channels": 2} | facts
    return StreamInfo(index=index, kind=kind, codec=codec, time_base=Fraction(1, 48000), **facts)


def media(*streams: StreamInfo, path: str = "in.mp4", **facts: Any) -> MediaInfo:
    """A file with these streams; one plain video stream if none are given."""
    known: dict[str, Any] = {"container": "mov,mp4,m4a,3gp,3g2,mj2", "size": 1, "duration": None}
    return MediaInfo(path=path, streams=streams or (video(),), **(known | facts))


def chapter() -> Chapter:
    """One chapter of one second."""
    return Chapter(0, 0, 1000, Fraction(1, 1000))


def plan_for(
    info: MediaInfo | None = None,
    destination: str | None = "out.mp4",
    *,
    preset: Preset | str | None = None,
    problem: str | None = None,
    device: DeviceFacts | None = None,
    **wishes: Any,
) -> Plan:
    """A plan by the small tables above."""
    info = info or media()
    chosen = preset or default_preset(wishes.get("scale"))
    return make_plan(
        info,
        Request(source=info.path, destination=destination, **wishes),
        load_preset(chosen) if isinstance(chosen, str) else chosen,
        codecs=CODECS,
        containers=CONTAINERS,
        models=MODELS,
        usable=lambda _: problem,
        device=device or DeviceFacts(),
    )


def why(plan: Plan, topic: str) -> str:
    """Choice and reason of one topic."""
    return next(f"{r.choice}: {r.why}" for r in plan.reasons if r.topic == topic)

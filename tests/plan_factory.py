"""Plans for tests of the writer, and a run of them without reader, network or planner."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import torch
from synth import LOSSLESS, picture

from vsr.media.codecs import CODECS
from vsr.media.containers import CONTAINERS, container_of
from vsr.media.probe import probe
from vsr.media.write.writer import Writer, WriteResult
from vsr.types import (
    Color,
    EncodePlan,
    FrameBatch,
    HdrMetadata,
    ModelPlan,
    Plan,
    SidePacket,
    StreamAction,
    StreamInfo,
    Trim,
    pixel_format,
)

__all__ = ["changed", "ffmpeg_log", "lossless_options", "read", "run", "write_plan"]

_FAST = {
    "libx264": {"preset": "ultrafast", "crf": "20"},
    "libx265": {"preset": "ultrafast", "crf": "20"},
    "libsvtav1": {"preset": "12", "crf": "35"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "30"},
    "prores_ks": {},
    "ffv1": {},
}


def lossless_options(encoder: str) -> dict[str, str]:
    """Options that keep every sample."""
    return dict(LOSSLESS[encoder])


def write_plan(
    source: Path,
    destination: Path,
    *,
    codec: str = "h264",
    pix_fmt: str | None = None,
    scale: int = 2,
    options: Mapping[str, str] | None = None,
    tags: Color | None = None,
    hdr: HdrMetadata | None = None,
    actions: Mapping[int, StreamAction] | None = None,
    time_shift: Fraction = Fraction(0),
    trim: Trim | None = None,
    container_options: Mapping[str, str] | None = None,
    gop: int = 12,
    overwrite: bool = False,
) -> Plan:
    """A plan for ``source``; streams are copied where the container table says so."""
    info = probe(str(source))
    video = info.videos[0]
    spec, container = CODECS[codec], container_of(destination.suffix)
    assert container is not None
    fmt = pixel_format(pix_fmt or spec.pixel_formats[0])
    streams = tuple(
        (actions or {}).get(s.index) or _action(s, container.name)
        for s in info.streams
        if s.index != video.index
    )
    hevc_tag = "hvc1" if spec.codec == "hevc" and container.name in {"mp4", "mov"} else None
    encode = EncodePlan(
        name=codec,
        encoder=spec.encoder,
        format=fmt,
        options=tuple((_FAST[spec.encoder] if options is None else options).items()),
        codec_tag=hevc_tag,
        tags=tags or video.color,
        hdr=hdr,
        hdr_param=spec.hdr10,
        gop=gop,
        threads=2,
    )
    return Plan(
        source=str(source),
        destination=str(destination),
        info=info,
        video=video,
        trim=trim or Trim(),
        time_shift=time_shift,
        deinterlace=False,
        on_resize="error",
        reader="pyav",
        backend="cpu",
        device="cpu",
        dtype="float32",
        batch=2,
        model=ModelPlan("bicubic", scale),
        width=video.width * scale,
        height=video.height * scale,
        sar=video.sar,
        color=video.color,
        encode=encode,
        container=container.name,
        container_options=tuple((container_options or {}).items()),
        streams=streams,
        chapters=True,
        metadata=True,
        verify=True,
        strict=False,
        overwrite=overwrite,
        reasons=(),
        given_up=(),
    )


def ffmpeg_log(path: Path) -> str:
    """What an ffmpeg that is not PyAV's prints about a file."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-v", "verbose", "-i", str(path)]
    return subprocess.run(command, capture_output=True, check=False).stderr.decode()


def _action(stream: StreamInfo, name: str) -> StreamAction:
    container = CONTAINERS[name]
    if stream.kind == "attachment":
        return StreamAction(stream, "attach" if container.attachments else "drop", stream.codec)
    if stream.is_cover:
        how = {"attached_pic": "copy", "attachment": "attach", None: "drop"}[container.cover]
        return StreamAction(stream, how, stream.codec)  # type: ignore[arg-type]
    if stream.kind == "audio":
        if stream.codec in (container.audio or ()):
            return StreamAction(stream, "copy", stream.codec)
        return StreamAction(stream, "convert", container.audio_fallback or "")
    if stream.kind == "subtitle":
        if stream.codec in container.subtitles:
            return StreamAction(stream, "copy", stream.codec)
        return StreamAction(stream, "convert", container.text_subtitles or "")
    return StreamAction(stream, "drop", why="not in this test")


def read(plan: Plan) -> Iterator[FrameBatch | SidePacket]:
    """What a reader and a network would give: test pictures at the source's times, and packets."""
    count = 0
    with av.open(plan.source) as container:
        for packet in container.demux():
            if packet.stream.index != plan.video.index:
                yield SidePacket(packet.stream.index, packet)
                continue
            for frame in packet.decode():
                assert isinstance(frame, av.VideoFrame)
                assert frame.pts is not None
                yield _batch(plan, count, frame.pts, frame.duration)
                count += 1


def _batch(plan: Plan, index: int, pts: int, duration: int) -> FrameBatch:
    fmt = plan.encode.format
    planes = picture(index, fmt, plan.width, plan.height)
    return FrameBatch(
        planes=tuple(torch.from_numpy(plane)[None] for plane in planes),
        format=fmt,
        width=plan.width,
        height=plan.height,
        color=plan.color,
        pts=(pts,),
        durations=(duration,),
        time_base=plan.video.time_base,
        first_index=index,
    )


def run(
    plan: Plan, items: Callable[[Plan], Iterator[FrameBatch | SidePacket]] = read
) -> WriteResult:
    """Write the plan's result from test pictures and the source's packets."""
    with Writer(plan) as writer:
        for item in items(plan):
            if isinstance(item, SidePacket):
                writer.mux(item)
            else:
                writer.write(item)
        return writer.finish()


def changed(plan: Plan, **encode: Any) -> Plan:
    """The plan with other encoder settings."""
    return replace(plan, encode=replace(plan.encode, **encode))

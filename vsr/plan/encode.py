"""How the result is encoded: format, quality, options, key frames, tags, HDR metadata."""

from __future__ import annotations

import os
from collections.abc import Mapping
from fractions import Fraction

from vsr.errors import PresetError, UsageError
from vsr.plan.color import is_hdr, result_tags
from vsr.plan.notes import Notes
from vsr.plan.pixels import choose_format
from vsr.plan.request import Request
from vsr.plan.side_data import lost_side_data
from vsr.preset import Preset, merge
from vsr.types import (
    CodecSpec,
    Color,
    ContainerSpec,
    EncodePlan,
    HdrMetadata,
    VideoStreamInfo,
)

__all__ = ["plan_encode"]

_GOP_FRAMES = 250
_GOP_SECONDS = 10.0

#: Each of x264's takes memory for four or five frames of the result.
_MOST_THREADS = 32


def plan_encode(
    video: VideoStreamInfo,
    color: Color,
    size: tuple[int, int],
    scale: int,
    spec: CodecSpec,
    container: ContainerSpec,
    request: Request,
    preset: Preset,
    notes: Notes,
    *,
    codec_preset: Preset,
    codecs: Mapping[str, CodecSpec],
) -> EncodePlan:
    """Settle the encoder.

    Args:
        video: the stream that is upscaled, and ``color``: how it is read.
        size: width and height of the result, ``scale`` times the source's.
        spec, container: rows chosen for the result.
        request, preset: wishes, the request's first.
        codec_preset: the preset of the codec's own name: defaults below both.
        codecs: the codec table, to name alternatives.

    Raises:
        UsageError: a wish that this encoder cannot fulfil.
        OutputError: the encoder cannot take the result's size.
        PresetError: ``codec_preset`` is about another codec.
    """
    if codec_preset.codec not in (None, spec.name):
        raise PresetError(
            f"it is read for defaults of {spec.name}, but is about {codec_preset.codec}",
            where=codec_preset.path,
            remedy="Give your own preset another name.",
        )
    if preset.codec not in (None, spec.name):
        # Explicitly asked for another codec than the preset is about.
        preset = preset.without_codec_wishes()
    wishes = merge(codec_preset, preset)
    chosen = choose_format(
        video.format,
        size,
        spec,
        container.name,
        notes,
        pix_fmt=request.pix_fmt or wishes.pix_fmt,
        bit_depth=wishes.bit_depth,
        codecs=codecs,
    )
    hdr = _hdr(video, spec, container, notes)
    return EncodePlan(
        name=spec.name,
        encoder=spec.encoder,
        format=chosen,
        options=_options(spec, scale, request, preset, wishes, notes),
        codec_tag="hvc1" if spec.codec == "hevc" and container.muxer in ("mp4", "mov") else None,
        tags=result_tags(color, video.format, chosen, spec, notes),
        hdr=hdr,
        hdr_param=spec.hdr10 if hdr is not None else None,
        gop=_gop(wishes.gop_seconds, video.average_rate),
        threads=_threads(spec.encoder),
    )


def _threads(encoder: str) -> int:
    """For encoders whose pictures depend on it: their own choice, on this machine.

    Settled here, so that whichever machine encodes a segment encodes it alike.
    """
    has_affinity = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    if encoder == "libx264":
        return min(max(1, cores * 3 // 2), _MOST_THREADS)
    if encoder == "libx265":  # frame threads; its others only share a picture's lines
        return 1 + sum(cores >= many for many in (4, 8, 16, 32))
    return 0


def _options(
    spec: CodecSpec,
    scale: int,
    request: Request,
    preset: Preset,
    wishes: Preset,
    notes: Notes,
) -> tuple[tuple[str, str], ...]:
    options: dict[str, str] = {}
    quality = request.quality if request.quality is not None else wishes.quality_at(scale)
    if spec.quality_option is not None and spec.quality_range is not None and quality is not None:
        low, high = spec.quality_range
        if not low <= quality <= high:
            raise UsageError(
                f"quality {quality} is outside {spec.name}'s {low} (best) to {high} (smallest)",
                remedy="Lower is better and larger.",
            )
        options[spec.quality_option] = str(quality)
        notes.why("quality", f"{spec.quality_option} {quality}", _quality_why(
            scale, spec, request, preset))  # fmt: skip
    elif request.quality is not None:
        kind = "is lossless" if spec.lossless else "has a fixed quality"
        raise UsageError(f"{spec.name} {kind}", remedy="Leave --quality out.")
    speed = request.speed if request.speed is not None else wishes.speed
    if spec.speed_option is not None and speed is not None:
        options[spec.speed_option] = speed
    elif request.speed is not None:
        raise UsageError(f"{spec.name} has no choice of speeds", remedy="Leave --speed out.")
    # Quality and speed first for the reader's sake; what was asked for option by option wins.
    return tuple((options | dict(wishes.options) | dict(request.options)).items())


def _quality_why(scale: int, spec: CodecSpec, request: Request, preset: Preset) -> str:
    if request.quality is not None:
        return "asked for"
    name = spec.name if preset.quality is None else preset.name
    return f"preset {name} at {scale}x"


def _gop(seconds: float | None, rate: Fraction | None) -> int:
    """Longest distance between key frames: so many seconds, and never more than 250 frames."""
    if rate is None:
        return _GOP_FRAMES if seconds is None or seconds > 0 else 1
    wanted = round((_GOP_SECONDS if seconds is None else seconds) * float(rate))
    return max(1, min(_GOP_FRAMES, wanted))


def _hdr(
    video: VideoStreamInfo, spec: CodecSpec, container: ContainerSpec, notes: Notes
) -> HdrMetadata | None:
    """The static metadata the result carries; whatever else frames carry gets left behind."""
    kept = video.hdr
    if kept is not None:
        if spec.hdr10 is None or (spec.hdr10 == "container" and not container.hdr10):
            notes.lose(
                f"HDR10 metadata (mastering display, light levels): {spec.encoder} cannot be given "
                "it. --codec hevc or av1 carries it."
            )
            kept = None
        else:
            notes.why("HDR10", "carried", "mastering display and light levels are the source's")
    elif is_hdr(video.color):
        notes.why("HDR", video.color.transfer.name, "transfer and primaries stay as tagged")
    if video.dolby_vision:
        notes.lose(
            "Dolby Vision metadata: it belongs to the source's pixels; the base layer stays."
        )
    if video.dynamic_hdr:
        notes.lose("HDR10+ metadata (per scene): no encoder here takes it; static HDR10 stays.")
    for sentence in lost_side_data(video.side_data):
        notes.lose(sentence)
    return kept

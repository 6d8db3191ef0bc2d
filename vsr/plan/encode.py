"""How the result is encoded: format, quality, options, key frames, tags, HDR metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from vsr.cores import usable_cores
from vsr.errors import PresetError, UsageError
from vsr.plan.codec import NVENC
from vsr.plan.color import is_hdr, result_tags
from vsr.plan.notes import Notes
from vsr.plan.pixels import choose_format
from vsr.plan.request import Request
from vsr.plan.side_data import lost_side_data
from vsr.preset import CODEC_ALIASES, Preset, merge, rate_options
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
# Every frame is a key frame, whatever the encoder is told.
_INTRA_ONLY = {"prores_ks"}
# Takes a bit rate beside a quality: the one is the other's ceiling.
_CEILING = {"libvpx-vp9": ("b",)}

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
        PresetError: ``codec_preset`` is about another codec, or a preset settles the rate twice.
    """
    if codec_preset.codec not in (None, spec.name):
        raise PresetError(
            f"it is read for defaults of {spec.name}, but is about {codec_preset.codec}",
            where=codec_preset.path,
            remedy="Give your own preset another name.",
        )
    preset = _about(preset, spec, notes)
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
    if chosen.family == "gray" and spec.encoder == "libx264" and container.muxer in ("mp4", "mov"):
        notes.lose(
            f"colour range of grey: x264 does not write it, nor .{container.name}. Use .mkv, or "
            "leave --pix-fmt out: chroma is neutral then."
        )
    hdr = _hdr(video, spec, container, notes)
    options = _options(spec, scale, request, preset, wishes, notes)
    return EncodePlan(
        name=spec.name,
        encoder=spec.encoder,
        format=chosen,
        options=options,
        codec_tag="hvc1" if spec.codec == "hevc" and container.muxer in ("mp4", "mov") else None,
        tags=result_tags(color, video.format, chosen, spec, notes),
        hdr=hdr,
        hdr_param=spec.hdr10 if hdr is not None else None,
        gop=_gop(spec.encoder, dict(options), wishes.gop_seconds, video.average_rate),
        threads=_threads(spec.encoder),
    )


def _about(preset: Preset, spec: CodecSpec, notes: Notes) -> Preset:
    """The preset as wishes for this codec."""
    own = CODEC_ALIASES.get(preset.codec or "", preset.codec)
    if own == NVENC and not spec.hardware:
        if preset.quality is not None or preset.speed is not None or preset.options:
            notes.why(
                "settings",
                f"those of {spec.name}",
                f"quality, speed and options of preset {preset.name} are meant for NVENC",
            )
        preset = replace(preset, quality=None, speed=None, options=())
    elif own not in (None, NVENC, spec.name):
        # Explicitly asked for another codec than the preset is about.
        preset = preset.without_codec_wishes()
    return replace(preset, codec=None)


def _threads(encoder: str) -> int:
    """For encoders whose pictures depend on it: their own choice, on this machine.

    Settled here, so that whichever machine encodes a segment encodes it alike.
    """
    cores = usable_cores()
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
    asked = Preset(quality=request.quality, speed=request.speed, options=request.options)
    final = merge(wishes, asked)
    options: dict[str, str] = {}
    quality = final.quality_at(scale)
    if spec.quality_option is not None and spec.quality_range is not None:
        _refuse_two_rates(spec, request, final, preset)
        low, high = spec.quality_range
        if quality is not None:
            if not low <= quality <= high:
                raise UsageError(
                    f"quality {quality} is outside {spec.name}'s {low} (best) to {high} (smallest)",
                    remedy="Lower is better and larger.",
                )
            options[spec.quality_option] = str(quality)
    elif request.quality is not None:
        kind = "is lossless" if spec.lossless else "has a fixed quality"
        raise UsageError(f"{spec.name} {kind}", remedy="Leave --quality out.")
    if spec.speed_option is not None and final.speed is not None:
        options[spec.speed_option] = final.speed
    elif request.speed is not None:
        raise UsageError(f"{spec.name} has no choice of speeds", remedy="Leave --speed out.")
    # Quality and speed first for the reader's sake; what was asked for option by option wins.
    options |= dict(final.options)
    if spec.hardware and "qp" in options and options.get("rc") == "vbr":
        options["rc"] = "constqp"  # in any other mode, NVENC passes it over
    _explain_rate(spec, scale, options, request, preset, notes)
    return tuple(options.items())


def _refuse_two_rates(spec: CodecSpec, request: Request, final: Preset, preset: Preset) -> None:
    """Encoders go by one of quality, quantiser and bit rate, and drop the others without a word."""
    rates = rate_options(final.options)
    if not rates or rates == _CEILING.get(spec.encoder):
        return
    what = f"a quality and {rates[0]} settle the same thing, and {spec.encoder} goes by one of them"
    if rate_options(request.options):
        if request.quality is not None or spec.quality_option in dict(request.options):
            raise UsageError(what, remedy=f"Leave --quality or -x {rates[0]} out.")
    elif final.quality is not None:
        raise PresetError(what, where=preset.path, remedy=f"Leave quality or {rates[0]} out.")


def _explain_rate(
    spec: CodecSpec,
    scale: int,
    options: Mapping[str, str],
    request: Request,
    preset: Preset,
    notes: Notes,
) -> None:
    if spec.quality_option is None:
        return
    settling = (spec.quality_option, *rate_options(options.items()))
    names = [name for name in settling if name in options]
    if not names:
        return
    if any(name in dict(request.options) for name in names) or request.quality is not None:
        why = "asked for"
    elif any(name in dict(preset.options) for name in names):
        why = f"preset {preset.name}"
    else:
        why = f"preset {spec.name if preset.quality is None else preset.name} at {scale}x"
    chosen = ", ".join(f"{name} {options[name]}" for name in names)
    notes.why("quality" if names[0] == spec.quality_option else "rate", chosen, why)


def _gop(
    encoder: str, options: Mapping[str, str], seconds: float | None, rate: Fraction | None
) -> int:
    """Longest distance between key frames: so many seconds, and never more than 250 frames.

    Unless the encoder's own option ``g`` says how many.
    """
    if encoder in _INTRA_ONLY:
        return 1
    if options.get("g", "").isdecimal():
        return max(1, int(options["g"]))
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

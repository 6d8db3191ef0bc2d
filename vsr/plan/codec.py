"""Which codec: the one asked for, or the one that suits container and source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction

from vsr.errors import OutputError, UsageError
from vsr.plan.color import is_hdr
from vsr.plan.notes import Notes
from vsr.plan.pixels import bits_lost, formats_of, wished_format
from vsr.preset import CODEC_ALIASES, Preset
from vsr.preset.find import nearest
from vsr.types import CodecSpec, ContainerSpec, VideoStreamInfo

__all__ = ["NVENC", "choose_codec", "find_codec", "preset_for"]

#: The name that asks for the GPU's encoder of whichever codec suits.
NVENC = "nvenc"

# H.264 level 5.2, the last that hardware decoders commonly have (H.264 table A-1): longest side,
# macroblocks of a picture, macroblocks per second.
_H264_SIDE = 4096
_H264_PICTURE = 36864
_H264_RATE = 2073600
#: Codecs to fall back on, in this order, when the container's own is no match for the source.
_STRONGER = ("hevc", "av1")


def find_codec(name: str, codecs: Mapping[str, CodecSpec]) -> CodecSpec:
    """The row called ``name``, or that a common other name means.

    Raises:
        UsageError: there is none.
    """
    name = CODEC_ALIASES.get(name, name)
    if name not in codecs:
        raise UsageError(
            f"there is no codec called {name!r}",
            remedy=nearest(name, codecs) or f"Known codecs: {', '.join(codecs)}.",
        )
    return codecs[name]


def preset_for(asked: str | None, preset: Preset, codecs: Mapping[str, CodecSpec]) -> Preset:
    """The preset, without what it means for another codec than the one asked for.

    Raises:
        UsageError: there is no codec called ``asked``.
    """
    if asked is None or preset.codec is None:
        return preset
    own = CODEC_ALIASES.get(preset.codec, preset.codec)
    known = codecs.get(own)
    if asked == NVENC:
        # Which of them it will be is not settled yet.
        suits = own == NVENC or (known is not None and known.hardware)
    else:
        spec = find_codec(asked, codecs)
        suits = own == spec.name or (own == NVENC and spec.hardware)
    return preset if suits else preset.without_codec_wishes()


def choose_codec(
    asked: str | None,
    video: VideoStreamInfo,
    size: tuple[int, int],
    container: ContainerSpec,
    notes: Notes,
    *,
    codecs: Mapping[str, CodecSpec],
    usable: Callable[[str], str | None],
    destination: str,
    pix_fmt: str | None = None,
    bit_depth: int | None = None,
) -> CodecSpec:
    """The codec of the result.

    Args:
        asked: the codec that request or preset name; it is taken or refused, never replaced. With
            :data:`NVENC`, the codec is chosen, and where its GPU encoder will not do, its CPU
            encoder takes its place, with the reason among the notes.
        video: the stream that is upscaled.
        size: width and height of the result.
        container: the result's container.
        codecs: the codec table.
        usable: why a codec cannot run here, ``None`` if it can.
        destination: the result's path, for messages.
        pix_fmt, bit_depth: wishes for the result's pixels, which decide where no codec is named.

    Raises:
        UsageError: no such codec.
        OutputError: the container cannot hold it, the result is too large for it, or its encoder
            does not run on this machine, or is NVENC and the source HDR10.
    """

    def takes(spec: CodecSpec) -> bool:
        offered = formats_of(spec, container.name)
        if pix_fmt is not None:
            return any(f.name == pix_fmt for f in offered)
        return bit_depth is None or any(f.bits == bit_depth for f in offered)

    wanted = replace(video, format=wished_format(video.format, pix_fmt, bit_depth))
    if asked == NVENC:
        spec = _on_gpu(wanted, size, container, notes, codecs, usable, takes)
    elif asked:
        spec = find_codec(asked, codecs)
    else:
        spec = _automatic(wanted, size, container, notes, codecs, takes)
    if container.name not in spec.containers:
        fitting = [s.name for s in codecs.values() if container.name in s.containers]
        raise OutputError(
            f"{container.name} cannot hold {spec.name}",
            where=destination,
            remedy=f"Name the result {' or '.join('.' + c for c in spec.containers)}, or use "
            f"--codec {', '.join(fitting)}.",
        )
    if max(size) > spec.max_size:
        larger = [
            s.name
            for s in codecs.values()
            if s.max_size >= max(size) and container.name in s.containers
        ]
        raise OutputError(
            f"{size[0]}x{size[1]} is too large for {spec.name}, which ends at {spec.max_size}",
            where=destination,
            remedy=f"Use --codec {', '.join(larger)}." if larger else "Use a smaller scale.",
        )
    if spec.hardware and video.hdr is not None:
        raise OutputError(
            f"the source is HDR10, whose metadata {spec.encoder} cannot be given",
            where=destination,
            remedy=f"Use --codec {' or '.join(_takes_hdr10(container, codecs))}, which run on the "
            "CPU.",
        )
    if problem := usable(spec.name):
        remedy = "Choose another with --codec; `vsr doctor` lists what works here."
        twin = next((s for s in codecs.values() if s.codec == spec.codec and not s.hardware), None)
        if spec.hardware and twin:
            remedy = f"Use --codec {twin.name}, which runs on the CPU."
        raise OutputError(
            f"{spec.name} cannot be encoded on this machine: {problem}",
            where=destination,
            remedy=remedy,
        )
    return spec


def _on_gpu(
    video: VideoStreamInfo,
    size: tuple[int, int],
    container: ContainerSpec,
    notes: Notes,
    codecs: Mapping[str, CodecSpec],
    usable: Callable[[str], str | None],
    takes: Callable[[CodecSpec], bool],
) -> CodecSpec:
    """The GPU's encoder of the codec that suits, or else the CPU's, and why."""
    plain = _automatic(video, size, container, Notes(), codecs, takes)
    spec = next((s for s in codecs.values() if s.hardware and s.codec == plain.codec), None)
    if spec is None:
        problem: str | None = f"there is none for {plain.codec}"
    elif container.name not in spec.containers:
        problem = f".{container.name} does not hold it"
    elif video.hdr is not None:
        problem = f"HDR10 metadata cannot be given to {spec.encoder}"
    elif max(size) > spec.max_size:
        problem = f"{spec.encoder} ends at {spec.max_size}"
    elif takes(plain) and not takes(spec):
        problem = f"{spec.encoder} does not take {video.format.name}"
    elif lost := _lacks(video, size, plain, spec):
        problem = f"{spec.encoder} {lost}"
    else:
        problem = usable(spec.name)
        if problem is None:
            notes.why("codec", spec.name, "NVENC asked for")
            return spec
    notes.why("codec", plain.name, f"no NVENC: {problem}; {plain.encoder} runs on the CPU")
    return plain


def _lacks(
    video: VideoStreamInfo, size: tuple[int, int], plain: CodecSpec, spec: CodecSpec
) -> str | None:
    """What the GPU's encoder cannot take that the CPU's can, worded to go behind its name."""
    name = video.format.name
    # Grey gets neutral chroma from either.
    grey = video.format.family == "gray"
    if name in plain.pixel_formats and name not in spec.pixel_formats and not grey:
        return f"does not take {name}"
    subsampled = video.format.log2_chroma_w or video.format.log2_chroma_h
    if subsampled and spec.even and not plain.even and (size[0] % 2 or size[1] % 2):
        return f"does not take odd sizes, and the result is {size[0]}x{size[1]}"
    return None


def _takes_hdr10(container: ContainerSpec, codecs: Mapping[str, CodecSpec]) -> list[str]:
    return [
        s.name
        for s in codecs.values()
        if container.name in s.containers
        and s.codec != "h264"  # HDR is not played from it
        and s.hdr10 not in (None, "container")
    ]


def _automatic(
    video: VideoStreamInfo,
    size: tuple[int, int],
    container: ContainerSpec,
    notes: Notes,
    codecs: Mapping[str, CodecSpec],
    takes: Callable[[CodecSpec], bool],
) -> CodecSpec:
    def problem_of(spec: CodecSpec) -> str | None:
        return _mismatch(spec, video, size, container, takes)

    # Nothing about the file changes that need not: the source's own codec first.
    own = next((s for s in codecs.values() if s.codec == video.codec and not s.hardware), None)
    if own and container.name in own.containers and not problem_of(own):
        why = "the source's own"
        if own.codec == "prores" and bits_lost(video.format, own):
            # RDD 36 has no field for it, so that nothing proves the lost bits to be empty.
            why += (
                f"; 4444 is decoded to {video.format.bits} bits and kept at "
                f"{video.format.bits - bits_lost(video.format, own)}, as far as {own.encoder} "
                "goes; a ProRes stream does not say how many it was made from"
            )
        notes.why("codec", own.name, why)
        return own
    usual = codecs[container.default_codec]
    problem = problem_of(usual)
    if problem is None:
        notes.why("codec", usual.name, f"the usual one for .{container.name}")
        return usual
    for name in _STRONGER:
        spec = codecs.get(name)
        fits = spec is not None and container.name in spec.containers
        if spec and fits and not problem_of(spec):
            notes.why("codec", name, f"{problem} {usual.name}, the usual one for .{container.name}")
            return spec
    notes.why("codec", usual.name, f"the usual one for .{container.name}, although {problem} it")
    return usual


def _mismatch(
    spec: CodecSpec,
    video: VideoStreamInfo,
    size: tuple[int, int],
    container: ContainerSpec,
    takes: Callable[[CodecSpec], bool],
) -> str | None:
    """Why the codec is no match for source and wishes, worded to go before its name."""
    if max(size) > spec.max_size:
        return f"{size[0]}x{size[1]} is too large for"
    if is_hdr(video.color) and spec.codec == "h264":
        return "HDR is not played from"
    if video.hdr is not None and spec.hdr10 is None:
        return "HDR10 metadata does not fit into"
    # FFmpeg decodes every ProRes 4444 to 12 bits, whatever it was made from. And alpha is worth
    # more than bits: a codec that keeps it is not left for a deeper one.
    own_prores = spec.codec == "prores" and video.codec == "prores"
    alpha = video.format.alpha and any(f.alpha for f in formats_of(spec, container.name))
    if bits_lost(video.format, spec) and not own_prores and not alpha:
        return f"{video.format.bits} bits are too many for"
    if not takes(spec):
        return f"{video.format.name} does not go into"
    if spec.codec == "h264":
        if video.format.bits > 8:
            return f"few players take {video.format.bits} bits in"
        blocks = -(-size[0] // 16) * -(-size[1] // 16)
        rate = video.average_rate or Fraction(0)
        if max(size) > _H264_SIDE or blocks > _H264_PICTURE or blocks * rate > _H264_RATE:
            return f"{size[0]}x{size[1]} is beyond level 5.2, where hardware players end, of"
    return None

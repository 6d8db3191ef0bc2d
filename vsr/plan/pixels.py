"""Which pixel format the result gets: the source's, or the one that loses least."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from vsr.errors import OutputError, UsageError
from vsr.plan.notes import Notes
from vsr.types import PIXEL_FORMATS, CodecSpec, PixelFormat, pixel_format

__all__ = ["bits_lost", "choose_format", "formats_of", "wished_format"]

_SUBSAMPLINGS = {
    (0, 0): "4:4:4",
    (0, 1): "4:4:0",
    (1, 0): "4:2:2",
    (1, 1): "4:2:0",
    (2, 0): "4:1:1",
    (2, 2): "4:1:0",
}


# libvpx codes alpha as a second stream beside the first, for which MP4 has no place.
_ALPHA_BESIDE = {"libvpx-vp9": ("webm", "mkv")}


def formats_of(spec: CodecSpec, container: str) -> tuple[PixelFormat, ...]:
    """The codec's formats in a container; those with alpha only where players honour it."""
    alpha = spec.alpha and container in _ALPHA_BESIDE.get(spec.encoder, spec.containers)
    return tuple(f for f in map(pixel_format, spec.pixel_formats) if alpha or not f.alpha)


def bits_lost(source: PixelFormat, spec: CodecSpec) -> int:
    """Bits per sample that the deepest format of the codec lacks."""
    return max(0, source.bits - max(pixel_format(name).bits for name in spec.pixel_formats))


def wished_format(source: PixelFormat, pix_fmt: str | None, bit_depth: int | None) -> PixelFormat:
    """What the result's format would be in a codec that has all of them."""
    if pix_fmt is not None:
        return PIXEL_FORMATS.get(pix_fmt, source)
    if bit_depth is None or bit_depth == source.bits:
        return source
    wanted = replace(source, bits=bit_depth)
    same = (f for f in PIXEL_FORMATS.values() if replace(f, name=source.name) == wanted)
    return next(same, wanted)


def choose_format(
    source: PixelFormat,
    size: tuple[int, int],
    spec: CodecSpec,
    container: str,
    notes: Notes,
    *,
    pix_fmt: str | None = None,
    bit_depth: int | None = None,
    codecs: Mapping[str, CodecSpec],
) -> PixelFormat:
    """The encoder's format that keeps most of the source's.

    Args:
        source: format of the source's frames.
        size: width and height of the result.
        spec: the codec, and ``container``: the container's name.
        notes: gets the reason, and what is lost.
        pix_fmt: the format somebody asked for by name.
        bit_depth: bits per sample somebody asked for instead of the source's.
        codecs: the codec table, to name those that would keep what is lost.

    Raises:
        UsageError: the format or bit depth asked for is none of this codec's.
        OutputError: the codec cannot take the result's size.
    """
    offered = formats_of(spec, container)
    if pix_fmt is not None:
        return _asked_for(pix_fmt, source, size, spec, offered, notes)
    wanted = source
    if bit_depth is not None and bit_depth != source.bits:
        offered = tuple(f for f in offered if f.bits == bit_depth)
        if not offered:
            raise UsageError(
                f"{spec.name} has no format with {bit_depth} bits",
                remedy=f"It has: {', '.join(spec.pixel_formats)}.",
            )
        wanted = replace(source, bits=bit_depth)
        notes.why("bit depth", str(bit_depth), f"asked for (the source has {source.bits})")
    possible = tuple(f for f in offered if not _odd(f, size, spec))
    if not possible:
        raise OutputError(
            f"{spec.name} takes only even sizes and the result is {size[0]}x{size[1]}",
            remedy=_other_codecs(
                {s.name: s.containers for s in codecs.values() if not s.even},
                "Codecs that take it: ",
            ),
        )
    best = min(possible, key=lambda f: _loss(wanted, f, spec))
    plain = min(offered, key=lambda f: _loss(wanted, f, spec))
    if plain != best:
        notes.why(
            "pixel format",
            best.name,
            f"{size[0]}x{size[1]} is odd, which {spec.name} takes with full chroma only",
        )
    elif best != source:
        notes.why("pixel format", best.name, _why(source, best, spec))
    _report_losses(wanted, best, spec, container, notes, codecs)
    return best


def _asked_for(
    pix_fmt: str,
    source: PixelFormat,
    size: tuple[int, int],
    spec: CodecSpec,
    offered: tuple[PixelFormat, ...],
    notes: Notes,
) -> PixelFormat:
    chosen = next((f for f in offered if f.name == pix_fmt), None)
    if chosen is None:
        raise UsageError(
            f"{spec.name} cannot take pixel format {pix_fmt} here",
            remedy=f"It takes: {', '.join(f.name for f in offered)}.",
        )
    if _odd(chosen, size, spec):
        raise OutputError(
            f"{spec.name} takes {pix_fmt} in even sizes only, and the result is "
            f"{size[0]}x{size[1]}",
            remedy="Leave the pixel format out, or choose one without chroma subsampling.",
        )
    if chosen != source:
        notes.why("pixel format", chosen.name, f"asked for (the source is {source.name})")
    return chosen


def _odd(candidate: PixelFormat, size: tuple[int, int], spec: CodecSpec) -> bool:
    """Whether the encoder refuses this size in this format."""
    width, height = size
    across = candidate.log2_chroma_w and width % (1 << candidate.log2_chroma_w)
    down = candidate.log2_chroma_h and height % (1 << candidate.log2_chroma_h)
    return spec.even and bool(across or down)


class _Loss(NamedTuple):
    """What one format lacks of another, worst first, then what it wastes; smaller is better."""

    colour: bool
    alpha: bool
    bits: int
    chroma: int
    conversion: int
    needless_alpha: bool
    needless_bits: int
    needless_chroma: int


def _loss(source: PixelFormat, to: PixelFormat, spec: CodecSpec) -> _Loss:
    across = to.log2_chroma_w - source.log2_chroma_w
    down = to.log2_chroma_h - source.log2_chroma_h
    coloured = source.family != "gray"
    # A grey source has no chroma to lose, and neutral chroma costs least where there is least.
    lost = max(0, across) + max(0, down) if coloured else 0
    extra = max(0, -across) + max(0, -down) if coloured else 4 - across - down
    return _Loss(
        colour=coloured and to.family == "gray",
        alpha=source.alpha and not to.alpha,
        bits=max(0, source.bits - to.bits),
        chroma=lost,
        conversion=_family_cost(source, to, spec),
        needless_alpha=to.alpha and not source.alpha,
        needless_bits=max(0, to.bits - source.bits),
        needless_chroma=extra,
    )


def _family_cost(source: PixelFormat, to: PixelFormat, spec: CodecSpec) -> int:
    if source.family == "rgb" and not spec.lossless:
        # Few players show RGB in lossy codecs, and luma and chroma compress better.
        return int(to.family == "rgb")
    if source.family == "gray":
        # Few players, and hardly any hardware, decode lossy codecs without chroma, and neutral
        # chroma takes next to no bits.
        families = ("gray", "yuv", "rgb") if spec.lossless else ("yuv", "gray", "rgb")
        return families.index(to.family)
    return int(to.family != source.family)


def _report_losses(
    source: PixelFormat,
    to: PixelFormat,
    spec: CodecSpec,
    container: str,
    notes: Notes,
    codecs: Mapping[str, CodecSpec],
) -> None:
    lost = _loss(source, to, spec)
    sentences = {
        "colour": f"colour: {to.name} has none",
        "alpha": f"alpha channel: {spec.name} in .{container} has none",
        "bits": f"bit depth: {source.bits} bits become {to.bits} in {spec.name}",
        "chroma": f"chroma resolution: {_shape(source)} becomes {_shape(to)} in {spec.name}",
    }
    for what, sentence in sentences.items():
        if not getattr(lost, what):
            continue
        keepers = {
            other.name: tuple(
                name
                for name in other.containers
                if any(
                    not getattr(_loss(source, kept, other), what)
                    for kept in formats_of(other, name)
                )
            )
            for other in codecs.values()
            if not other.hardware
        }
        notes.lose(f"{sentence}. {_other_codecs(keepers, 'Kept by ')}".rstrip())


def _why(source: PixelFormat, to: PixelFormat, spec: CodecSpec) -> str:
    if source.family == "rgb" and to.family == "yuv":
        why = f"the source is {source.name}; {spec.name} is played as YUV"
        if _shape(to) == "4:4:4":
            why += ", and full chroma plays in fewer places than --pix-fmt yuv420p"
        return why
    if source.family == "gray" and source.name in spec.pixel_formats:
        return (
            f"the source is grey, and few players take {spec.name} without chroma: it is neutral; "
            f"--pix-fmt {source.name} leaves it out"
        )
    return f"nearest to the source's {source.name} that {spec.name} takes"


def _shape(chosen: PixelFormat) -> str:
    if chosen.family == "gray":
        return "grey"
    return _SUBSAMPLINGS[chosen.log2_chroma_w, chosen.log2_chroma_h]


def _other_codecs(containers: Mapping[str, tuple[str, ...]], prefix: str) -> str:
    """A sentence that lists codecs with the containers they do it in."""
    named = [
        f"--codec {name} ({', '.join('.' + ending for ending in endings)})"
        for name, endings in containers.items()
        if endings
    ]
    return prefix + ", ".join(named) + "." if named else ""

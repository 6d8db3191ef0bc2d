"""What parts can do, as tables state it: codecs and containers. The planner reads nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["PCM_PLACES", "CodecSpec", "ContainerSpec", "has_places"]

#: Layouts (FFmpeg's names) that PCM is taken for whose source does not say where channels belong.
PCM_PLACES = {
    1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1",
    10: "5.1.4", 12: "7.1.4", 14: "9.1.4", 16: "9.1.6", 24: "22.2",
}  # fmt: skip


def has_places(layout: str) -> bool:
    """Whether a layout, by FFmpeg's name, says of each channel to which speaker it belongs."""
    nameless = layout.endswith(" channels") or layout.startswith("ambisonic")
    return not nameless and layout not in ("", "downmix", "binaural")


@dataclass(frozen=True, slots=True)
class CodecSpec:
    """A way to encode video: one row of ``vsr.media.codecs``.

    Attributes:
        name: what a preset or ``--codec`` says (``hevc``, ``h264_nvenc``).
        codec: the bitstream's codec, as FFmpeg calls it (``hevc``).
        encoder: FFmpeg's encoder (``libx265``).
        pixel_formats: the planar formats it takes, best known first.
        containers: names of :class:`ContainerSpec` that can hold the bitstream.
        quality_option: the encoder option a preset's ``quality`` sets (``crf``, ``cq``),
            or ``None`` for lossless and fixed-profile codecs.
        quality_range: lowest (best) and highest (worst) value of that option.
        speed_option: the option a preset's ``speed`` sets (``preset``, ``cpu-used``), or ``None``.
        hdr10: how HDR10 metadata reaches the bitstream: ``x265-params``, ``x264-params``,
            ``svtav1-params`` (an option with ``key=value`` pairs), ``container`` (the encoder has
            no place for it, the container may), or ``None``: cannot be carried.
        alpha: it has at least one pixel format with alpha that players of its containers honour.
        lossless: the decoded result equals what went in.
        hardware: needs a device; whether it opens must be probed.
        max_size: largest width or height in samples the encoder takes.
        even: width and height must be even where chroma is subsampled.
    """

    name: str
    codec: str
    encoder: str
    pixel_formats: tuple[str, ...]
    containers: tuple[str, ...]
    quality_option: str | None
    quality_range: tuple[int, int] | None
    speed_option: str | None
    hdr10: str | None
    alpha: bool = False
    lossless: bool = False
    hardware: bool = False
    max_size: int = 16384
    even: bool = False


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """A file format that can be written: one row of ``vsr.media.containers``.

    Attributes:
        name: ``mp4``, ``mov``, ``mkv``, ``webm``.
        muxer: FFmpeg's muxer (``matroska``).
        extensions: file name endings, with the dot, lower case.
        default_codec: the :class:`CodecSpec` used when nobody asks for one.
        audio: audio codecs that can be copied into it; ``None``: any.
        audio_fallback: encoder name for audio that cannot be copied (``libopus``).
        subtitles: subtitle codecs that can be copied into it.
        text_subtitles: the codec that other text subtitles are converted to, ``None``: none can be.
        attachments: it holds attached files (fonts).
        cover: how cover art goes in: as an ``attached_pic`` stream, as an ``attachment``, or
            ``None``: not at all.
        chapters: it holds chapters.
        data: data stream codecs that can be copied (``bin_data`` never).
        time_base: fixed denominator of timestamps (1000 for Matroska), ``None``: any.
        hdr10: it holds mastering display and content light metadata itself.
        placed_pcm: PCM's channels must each have a place (ISO/IEC 23003-5): see :data:`PCM_PLACES`.
        dispositions: those that it holds of a stream; ``None``: any.
        text_dispositions: those that it holds of subtitles besides.
        shows_text: FFmpeg's muxer turns the first subtitles on where none are to be.
        languages: what names them: ``any`` tag, three letters (``iso``), or those of ``quicktime``.
        stream_tags: it holds any tag of a stream, not only its title, language and handler.
        pipes: it can be written into a pipe: nothing of it is written last and placed first.
    """

    name: str
    muxer: str
    extensions: tuple[str, ...]
    default_codec: str
    audio: tuple[str, ...] | None
    audio_fallback: str | None
    subtitles: tuple[str, ...]
    text_subtitles: str | None
    attachments: bool
    cover: Literal["attached_pic", "attachment"] | None
    chapters: bool
    data: tuple[str, ...] = ()
    time_base: int | None = None
    hdr10: bool = True
    placed_pcm: bool = False
    dispositions: tuple[str, ...] | None = None
    text_dispositions: tuple[str, ...] = ()
    shows_text: bool = False
    languages: Literal["any", "iso", "quicktime"] = "any"
    stream_tags: bool = True
    pipes: bool = False

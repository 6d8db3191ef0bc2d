"""The file formats that can be written: a table of what each muxer really takes.

Every entry was tried with the FFmpeg that PyAV 18.1 bundles: a stream of each codec was copied
into each container and read back, packet for packet. Codecs have FFmpeg's canonical names
(``mp3``, ``dts``, ``subrip``), not those of particular decoders (``mp3float``, ``dca``, ``srt``).
"""

from __future__ import annotations

from vsr.types import ContainerSpec

__all__ = ["CONTAINERS", "container_of"]

_MP4_PCM = tuple(
    f"pcm_{kind}{end}" for kind in ("s16", "s24", "s32", "f32", "f64") for end in ("le", "be")
)
_MKV_PCM = (
    *("pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le"),
    *("pcm_s16be", "pcm_s24be", "pcm_s32be"),
)
# FFmpeg's reader finds two in each of the roles ``caption`` and ``description``.
_MP4_DISPOSITIONS = (
    *("default", "dub", "comment", "forced"),
    *("captions", "hearing_impaired", "descriptions", "visual_impaired"),
)
_MKV_DISPOSITIONS = (
    *("default", "dub", "original", "comment", "forced"),
    *("hearing_impaired", "visual_impaired"),
)

_ROWS = (
    ContainerSpec(
        name="mp4",
        muxer="mp4",
        extensions=(".mp4", ".m4v"),
        default_codec="h264",
        audio=(
            *("aac", "mp3", "mp2", "ac3", "eac3", "dts", "opus", "flac", "alac", "vorbis"),
            *_MP4_PCM,
        ),
        audio_fallback="aac",
        subtitles=("mov_text", "dvd_subtitle"),
        text_subtitles="mov_text",
        attachments=False,
        cover="attached_pic",
        chapters=True,
        placed_pcm=True,
        dispositions=_MP4_DISPOSITIONS,
        shows_text=True,
        languages="iso",
        stream_tags=False,
    ),
    ContainerSpec(
        name="mov",
        muxer="mov",
        extensions=(".mov", ".qt"),
        default_codec="h264",
        audio=(
            *("aac", "mp3", "mp2", "ac3", "eac3", "dts", "alac", "amr_nb", "amr_wb"),
            *("adpcm_ima_qt", "nellymoser", "pcm_u8", "pcm_s8", "pcm_alaw", "pcm_mulaw"),
            *_MP4_PCM,
        ),
        audio_fallback="aac",
        subtitles=("mov_text",),
        text_subtitles="mov_text",
        attachments=False,
        cover=None,
        chapters=True,
        dispositions=("default",),
        shows_text=True,
        languages="quicktime",
        stream_tags=False,
    ),
    ContainerSpec(
        name="mkv",
        muxer="matroska",
        extensions=(".mkv",),
        default_codec="h264",
        # FFmpeg could wrap a few more in Microsoft's ACM form, but PyAV refuses those.
        audio=(
            *("aac", "mp3", "mp2", "mp1", "ac3", "eac3", "dts", "truehd", "mlp", "flac", "alac"),
            *("opus", "vorbis", "tta", "wavpack", "cook", "sipr", "atrac3", "qdm2"),
            *_MKV_PCM,
        ),
        audio_fallback="flac",
        subtitles=(
            *("subrip", "ass", "ssa", "webvtt", "text"),
            *("hdmv_pgs_subtitle", "dvd_subtitle", "dvb_subtitle"),
        ),
        text_subtitles="subrip",
        attachments=True,
        cover="attachment",
        chapters=True,
        time_base=1000,
        dispositions=_MKV_DISPOSITIONS,
        text_dispositions=("descriptions",),
        pipes=True,
    ),
    ContainerSpec(
        name="webm",
        muxer="webm",
        extensions=(".webm",),
        default_codec="vp9",
        audio=("opus", "vorbis"),
        audio_fallback="libopus",
        subtitles=("webvtt",),
        text_subtitles="webvtt",
        attachments=False,
        cover=None,
        chapters=True,
        time_base=1000,
        dispositions=("default", "forced"),
        text_dispositions=("captions", "descriptions", "metadata"),
        pipes=True,
    ),
)

#: Containers by name.
CONTAINERS: dict[str, ContainerSpec] = {row.name: row for row in _ROWS}


def container_of(suffix: str) -> ContainerSpec | None:
    """The container that files ending in ``suffix`` (``.mkv``, any case) have, or ``None``."""
    for row in _ROWS:
        if suffix.lower() in row.extensions:
            return row
    return None

"""The plan: every choice made once, before the run, with its reason; and the report after it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from vsr.types.media import (
    Color,
    HdrMetadata,
    MediaInfo,
    PixelFormat,
    StreamInfo,
    Trim,
    VideoStreamInfo,
)

__all__ = [
    "EncodePlan",
    "Mode",
    "ModelPlan",
    "Plan",
    "Reason",
    "Report",
    "StageReport",
    "StreamAction",
]


#: By what of a frame a network that looks at whole frames weights it: all of it, its quarters, or
#: the frame before.
Mode = Literal["exact", "paper", "lagged"]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a choice was made: ``topic`` (``colour``), ``choice`` (``BT.601 limited``), ``why``."""

    topic: str
    choice: str
    why: str


@dataclass(frozen=True, slots=True)
class StreamAction:
    """What happens to one stream of the source other than the video that is upscaled.

    Attributes:
        stream: the source's stream, without tags that are untrue of the wanted part.
        action: ``copy`` (packets as they are), ``convert`` (text subtitles or audio re-encoded to
            ``codec``), ``attach`` (cover art or font becomes an attachment), ``drop``.
        codec: codec in the result; empty for ``drop``.
        why: the reason, always set for ``convert`` and ``drop``.
        layout: of audio that is converted, FFmpeg's name; empty for the source's own.
    """

    stream: StreamInfo
    action: Literal["copy", "convert", "attach", "drop"]
    codec: str = ""
    why: str = ""
    layout: str = ""


@dataclass(frozen=True, slots=True)
class EncodePlan:
    """How the upscaled frames are encoded.

    Attributes:
        name: the codec row's name.
        encoder: FFmpeg's encoder.
        format: planar format handed to the encoder.
        options: the encoder's private and generic options, all of which it must use.
        codec_tag: FourCC in the container (``hvc1``), ``None`` for the muxer's default.
        tags: colour tags written to bitstream and container.
        hdr: static HDR metadata written, ``None`` if there is none or it cannot be carried.
        hdr_param: the :attr:`CodecSpec.hdr10` of the codec's row.
        gop: longest distance between key frames in frames.
        threads: encoder threads that decide what its pictures are (of x265 those for frames); 0
            for the encoder's own choice.
    """

    name: str
    encoder: str
    format: PixelFormat
    options: tuple[tuple[str, str], ...]
    codec_tag: str | None
    tags: Color
    hdr: HdrMetadata | None
    hdr_param: str | None
    gop: int
    threads: int = 0


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """Which network, at which scale, with which weights.

    Attributes:
        name: row of the model table (``fdiwn``, ``bicubic``).
        scale: 2, 3 or 4.
        weights: name of a set (see :class:`vsr.types.WeightsFile`) or path of a file; ``None`` if
            the model has none, or for the set ``clean``.
    """

    name: str
    scale: int
    weights: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything the run needs to know; it decides nothing itself.

    Attributes:
        source, destination: paths.
        info: what the source is.
        video: the stream that is upscaled; its timecode is that of the wanted part.
        trim: the part of it that is wanted.
        time_shift: seconds added to every timestamp of every stream (0 unless the source starts
            below zero, is trimmed, or is a recording whose clock stood anywhere).
        deinterlace: run bwdif, one frame per frame.
        on_resize: what to do when the picture size changes inside the file.
        reader, backend: rows of their tables. ``device``: ``cpu``, ``cuda:0``.
        dtype: the network's storage type (``float32``, ``float16``, ``bfloat16``).
        batch: frames per network call.
        model: network, scale, weights.
        width, height: of the result.
        sar: sample aspect ratio of the result (the source's).
        color: how source samples are read and result samples written; nothing unspecified.
        encode: how frames are encoded.
        container: row of the container table.
        container_options: muxer options.
        streams: one action per stream other than ``video``, in file order.
        chapters, metadata: whether they are carried over (the source's are in ``info``).
        verify: read the result back before it gets its name.
        strict: giving anything up is an error.
        overwrite: replace an existing result.
        reasons: why, one entry per choice that somebody could wonder about.
        given_up: what the result will lack, one sentence each; never empty silently.
        mode: what the network takes its statistics of.
    """

    source: str
    destination: str
    info: MediaInfo
    video: VideoStreamInfo
    trim: Trim
    time_shift: Fraction
    deinterlace: bool
    on_resize: Literal["error", "scale"]
    reader: str
    backend: str
    device: str
    dtype: Literal["float32", "float16", "bfloat16"]
    batch: int
    model: ModelPlan
    width: int
    height: int
    sar: Fraction
    color: Color
    encode: EncodePlan
    container: str
    container_options: tuple[tuple[str, str], ...]
    streams: tuple[StreamAction, ...]
    chapters: bool
    metadata: bool
    verify: bool
    strict: bool
    overwrite: bool
    reasons: tuple[Reason, ...]
    given_up: tuple[str, ...]
    mode: Mode = "exact"


@dataclass(frozen=True, slots=True)
class StageReport:
    """How one stage spent the run: seconds ``busy`` and seconds ``waiting`` for a neighbour."""

    name: str
    busy: float
    waiting: float


@dataclass(frozen=True, slots=True)
class Report:
    """What happened.

    Attributes:
        destination: the finished file. ``bytes``: its size.
        frames_in: frames the decoder gave inside the trimmed part; ``frames_out``: frames read back
            from the finished file (or written, when verification was off).
        seconds: wall time. ``stages``: decode, infer, encode. ``bound_by``: the busiest of them.
        peak_memory: largest resident set of the process in bytes.
        corrupt_packets: packets the decoder refused. ``concealed_frames``: frames it gave although
            flagged as corrupt.
        given_up: the plan's, plus what only the run could know. ``warnings``: everything else odd.
        weights: the set or file whose weights were used; empty if the model has none.
        weights_sha256: SHA-256 of the file they were read from, 64 hexadecimal digits.
        resumed_frames: frames taken over from an earlier run of the same job.
        repeated_frames: frames that equal the one before, whose result was used again.
        segments: parts the job was made in, 1 if it was written straight through.
        workers: processes that made them.
    """

    destination: str
    bytes: int
    frames_in: int
    frames_out: int
    seconds: float
    stages: tuple[StageReport, ...]
    bound_by: str
    peak_memory: int
    corrupt_packets: int
    concealed_frames: int
    verified: bool
    given_up: tuple[str, ...]
    warnings: tuple[str, ...]
    weights: str = ""
    weights_sha256: str = ""
    resumed_frames: int = 0
    repeated_frames: int = 0
    segments: int = 1
    workers: int = 1

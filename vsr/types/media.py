"""What flows through the package: plain frozen dataclasses, nothing else.

Times are integer ticks together with a ``Fraction`` time base in seconds per tick, never float
seconds. Nothing here imports torch or av at run time, and everything but :class:`FrameBatch` and
:class:`SidePacket` (which carry tensors and a packet) pickles.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from fractions import Fraction
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch

__all__ = [
    "Chapter",
    "ChromaSite",
    "Color",
    "ColorRange",
    "FrameBatch",
    "HdrMetadata",
    "Matrix",
    "MediaInfo",
    "PixelFormat",
    "Primaries",
    "SidePacket",
    "StreamInfo",
    "StreamKind",
    "Transfer",
    "Trim",
    "VideoStreamInfo",
]


class Matrix(IntEnum):
    """Matrix coefficients, code points of ITU-T H.273 table 4 (FFmpeg's ``AVColorSpace``)."""

    RGB = 0
    BT709 = 1
    UNSPECIFIED = 2
    FCC = 4
    BT470BG = 5
    SMPTE170M = 6
    SMPTE240M = 7
    YCGCO = 8
    BT2020_NCL = 9
    BT2020_CL = 10
    SMPTE2085 = 11
    CHROMA_DERIVED_NCL = 12
    CHROMA_DERIVED_CL = 13
    ICTCP = 14
    IPT_C2 = 15
    YCGCO_RE = 16
    YCGCO_RO = 17


class Primaries(IntEnum):
    """Colour primaries, code points of ITU-T H.273 table 2 (FFmpeg's ``AVColorPrimaries``)."""

    BT709 = 1
    UNSPECIFIED = 2
    BT470M = 4
    BT470BG = 5
    SMPTE170M = 6
    SMPTE240M = 7
    FILM = 8
    BT2020 = 9
    SMPTE428 = 10
    SMPTE431 = 11
    SMPTE432 = 12
    EBU3213 = 22


class Transfer(IntEnum):
    """Transfer characteristics, code points of ITU-T H.273 table 3."""

    BT709 = 1
    UNSPECIFIED = 2
    GAMMA22 = 4
    GAMMA28 = 5
    SMPTE170M = 6
    SMPTE240M = 7
    LINEAR = 8
    LOG = 9
    LOG_SQRT = 10
    IEC61966_2_4 = 11
    BT1361_ECG = 12
    SRGB = 13
    BT2020_10 = 14
    BT2020_12 = 15
    PQ = 16
    SMPTE428 = 17
    HLG = 18


class ColorRange(IntEnum):
    """Sample range, FFmpeg's ``AVColorRange``: limited is 16..235/240 at 8 bits, full is 0..255."""

    UNSPECIFIED = 0
    LIMITED = 1
    FULL = 2


class ChromaSite(StrEnum):
    """Where a chroma sample lies among its luma samples (H.273 ``Chroma420SampleLocType``).

    ``LEFT``: on the left luma column, halfway between rows (MPEG-2, H.264, HEVC default).
    ``CENTER``: in the middle of the block (JPEG, MPEG-1). ``TOPLEFT``: on the top left luma sample
    (BT.2020 and UHD HDR). ``UNSPECIFIED`` appears in tags only, never in a decision.
    """

    UNSPECIFIED = "unspecified"
    LEFT = "left"
    CENTER = "center"
    TOPLEFT = "topleft"


@dataclass(frozen=True, slots=True)
class Color:
    """How samples mean light: a file's tags, or (nothing unspecified that matters) a decision."""

    matrix: Matrix = Matrix.UNSPECIFIED
    primaries: Primaries = Primaries.UNSPECIFIED
    transfer: Transfer = Transfer.UNSPECIFIED
    range: ColorRange = ColorRange.UNSPECIFIED
    site: ChromaSite = ChromaSite.UNSPECIFIED


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """A planar pixel format, as frames have it between reader and writer.

    Readers repack packed, semi-planar and palette formats into the planar format of the same
    samples (``nv12`` -> ``yuv420p``, ``yuyv422`` -> ``yuv422p``, ``rgb24`` -> ``gbrp``, ``pal8`` ->
    ``gbrap``), which loses nothing.

    Attributes:
        name: FFmpeg's name, little endian where that matters (``yuv420p10le``).
        family: ``yuv`` (planes Y, U, V), ``rgb`` (planes G, B, R: FFmpeg's order) or ``gray`` (Y).
        bits: significant bits of a sample, 8 to 16. Samples of up to 8 bits are uint8, wider ones
            uint16 with the value in the low bits.
        log2_chroma_w: chroma is ``ceil(width / 2**log2_chroma_w)`` wide.
        log2_chroma_h: chroma is ``ceil(height / 2**log2_chroma_h)`` high.
        alpha: a last plane of full size holds straight alpha, always full range.
    """

    name: str
    family: Literal["yuv", "rgb", "gray"]
    bits: int
    log2_chroma_w: int = 0
    log2_chroma_h: int = 0
    alpha: bool = False

    @property
    def planes(self) -> int:
        """Number of planes, alpha included."""
        return (1 if self.family == "gray" else 3) + self.alpha

    @property
    def bytes_per_sample(self) -> int:
        """1 for up to 8 bits, else 2."""
        return 1 if self.bits <= 8 else 2

    def plane_size(self, plane: int, width: int, height: int) -> tuple[int, int]:
        """``(height, width)`` in samples of one plane of a ``width`` x ``height`` picture."""
        if self.family == "yuv" and plane in (1, 2):
            return -(-height >> self.log2_chroma_h), -(-width >> self.log2_chroma_w)
        return height, width


StreamKind = Literal["video", "audio", "subtitle", "attachment", "data"]


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """One stream of a file.

    Attributes:
        index: position in the file, as FFmpeg counts.
        kind: attachments (fonts) are ``attachment``; cover art is ``video`` with the
            ``attached_pic`` disposition; timecode, KLV and unknown tracks are ``data``.
        codec: FFmpeg's codec name (``h264``, ``aac``, ``mov_text``), or ``unknown``.
        time_base: seconds per tick of this stream.
        start: first timestamp in ticks, ``None`` if the container does not say.
        duration: length in ticks, ``None`` if the container does not say.
        dispositions: FFmpeg's names (``default``, ``forced``, ``attached_pic``), sorted.
        metadata: the stream's tags (``language``, ``title``, ``filename``, ``mimetype``), in order.
        layout: FFmpeg's name of the channels' places (``5.1(side)``; ``3 channels`` if unknown).
    """

    index: int
    kind: StreamKind
    codec: str
    time_base: Fraction
    start: int | None = None
    duration: int | None = None
    dispositions: tuple[str, ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
    profile: str | None = None
    bit_rate: int | None = None
    sample_rate: int | None = None
    channels: int | None = None
    layout: str | None = None

    @property
    def language(self) -> str | None:
        """ISO 639-2 code of the ``language`` tag, ``None`` if absent or ``und``."""
        language = dict(self.metadata).get("language")
        return None if language == "und" else language

    @property
    def is_cover(self) -> bool:
        """Whether this video stream is a still picture attached to the file (cover art)."""
        return "attached_pic" in self.dispositions


@dataclass(frozen=True, slots=True)
class HdrMetadata:
    """Static HDR metadata: SMPTE ST 2086 mastering display and CTA-861.3 content light level.

    Attributes:
        primaries: CIE 1931 ``(x, y)`` of red, green, blue and the white point, or ``None``.
        min_luminance, max_luminance: of the mastering display in cd/m2, or ``None``.
        max_cll, max_fall: maximum content and frame-average light level in cd/m2, or ``None``.
    """

    primaries: tuple[tuple[Fraction, Fraction], ...] | None = None
    min_luminance: Fraction | None = None
    max_luminance: Fraction | None = None
    max_cll: int | None = None
    max_fall: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoStreamInfo(StreamInfo):
    """A video stream, as the container tags it and as its first frames prove.

    Attributes:
        width, height: coded picture in samples, before SAR and display matrix.
        native_format: FFmpeg's name of the decoder's format (``nv12``, ``yuvj420p``, ``pal8``).
        format: the planar format that readers hand out for it.
        color: the tags as they are; ``yuvj*`` formats count as tagged full range.
        sar: sample aspect ratio (1 if unknown).
        average_rate: frames per second over the file, ``None`` if unknown.
        display_matrix: FFmpeg's nine 16.16 fixed-point integers, ``None`` for identity.
        crop: rows at top and bottom, columns left and right that the container has players hide.
        interlaced: the stream or its first frames are flagged so; top_field_first: their order.
        variable_rate: the sampled timestamps' steps differ by more than rounding.
        timing: what packets' timestamps tell: when their frames are shown; or only when they are
            decoded (AVI), or when some of them are shown, and decoding must tell the rest.
        frames: number of frames; exact if ``frames_exact``, else estimated or ``None``.
        dolby_vision: the stream carries a Dolby Vision configuration (not carried over).
        dolby_colors: its picture is in colours that only Dolby Vision's metadata make right.
        dynamic_hdr: frames carry SMPTE ST 2094 (HDR10+) metadata (not carried over).
        side_data: types of everything that the first frames carry besides pixels, sorted: PyAV's
            names in lower case.
    """

    width: int
    height: int
    native_format: str
    format: PixelFormat
    color: Color = Color()
    sar: Fraction = Fraction(1)
    average_rate: Fraction | None = None
    display_matrix: tuple[int, ...] | None = None
    crop: tuple[int, int, int, int] = (0, 0, 0, 0)
    interlaced: bool = False
    top_field_first: bool = True
    variable_rate: bool = False
    timing: Literal["presentation", "decoding", "sparse"] = "presentation"
    frames: int | None = None
    frames_exact: bool = False
    hdr: HdrMetadata | None = None
    dolby_vision: bool = False
    dolby_colors: bool = False
    dynamic_hdr: bool = False
    side_data: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chapter:
    """A chapter; ``start`` and ``end`` in ticks of ``time_base``."""

    id: int
    start: int
    end: int
    time_base: Fraction
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What a file is.

    Attributes:
        path: as given.
        container: FFmpeg's demuxer name (``mov,mp4,m4a,3gp,3g2,mj2``).
        size: bytes; 0 if that is not known (a URL, a pipe).
        duration: seconds, ``None`` if the container does not say.
        streams: all of them, in file order; video streams are :class:`VideoStreamInfo`.
        warnings: what was odd while probing, one sentence each.
    """

    path: str
    container: str
    size: int
    duration: Fraction | None
    streams: tuple[StreamInfo, ...]
    chapters: tuple[Chapter, ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def videos(self) -> tuple[VideoStreamInfo, ...]:
        """The video streams that are moving pictures (cover art is not)."""
        return tuple(s for s in self.streams if isinstance(s, VideoStreamInfo) and not s.is_cover)

    def of_kind(self, kind: StreamKind) -> tuple[StreamInfo, ...]:
        """All streams of one kind, in file order."""
        return tuple(s for s in self.streams if s.kind == kind)


@dataclass(frozen=True, slots=True)
class Trim:
    """The part of the video stream that is wanted, snapped to its frames.

    Attributes:
        start: pts of the first frame wanted in the stream's ticks; ``None``: the first.
        end: pts before which the wanted part ends (exclusive); ``None``: to the last.
        frames: no more frames than this; ``None``: no limit.
    """

    start: int | None = None
    end: int | None = None
    frames: int | None = None

    def __bool__(self) -> bool:
        return self != Trim()


@dataclass(frozen=True, slots=True, eq=False)
class FrameBatch:
    """Consecutive frames of one video stream in the stream's own samples.

    Attributes:
        planes: one tensor per plane of ``format``, ``(N, H_p, W_p)``, uint8 or uint16, contiguous,
            all on one device; the sizes are ``format.plane_size(p, width, height)``.
        width, height: of the picture in luma samples.
        color: how to read the samples (nothing that the conversion needs is unspecified once the
            plan has decided; a bare reader passes the file's tags).
        pts: N presentation timestamps in ticks of ``time_base``, strictly increasing.
        durations: N durations in ticks; 0 where the file does not say.
        time_base: seconds per tick.
        first_index: index of the first frame among the frames read, from 0.
        ready: CUDA event after which the planes may be read, or for planes that are on their way to
            the CPU what has such a ``synchronize()``; ``None``: now.
    """

    planes: tuple[torch.Tensor, ...]
    format: PixelFormat
    width: int
    height: int
    color: Color
    pts: tuple[int, ...]
    durations: tuple[int, ...]
    time_base: Fraction
    first_index: int = 0
    ready: Any = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.pts)

    def wait(self) -> None:
        """Whatever reads the planes from here on, reads them filled.

        On a CUDA device the current stream waits, not the caller.
        """
        if self.ready is None:
            return
        plane = self.planes[0]
        if plane.is_cuda:
            # Loaded long since where there are such planes; a plan is made without it. The event's
            # own wait() would take the stream of the current device, which may be another.
            import_module("torch").cuda.current_stream(plane.device).wait_event(self.ready)
        else:
            self.ready.synchronize()


@dataclass(frozen=True, slots=True, eq=False)
class SidePacket:
    """A packet of a stream that is carried along: ``packet`` is an ``av.Packet``, untouched."""

    stream: int
    packet: Any

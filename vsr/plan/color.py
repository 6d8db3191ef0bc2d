"""How source samples are read and how the result is tagged.

Sources: ITU-T H.273 for the code points; for untagged files the convention that players follow,
BT.601 for SD and BT.709 for HD (720 lines, or 1280 columns with the black bars cut off).
"""

from __future__ import annotations

from dataclasses import replace

from vsr.errors import InputError, UsageError
from vsr.plan.notes import Notes
from vsr.plan.request import Request
from vsr.types import (
    ChromaSite,
    CodecSpec,
    Color,
    ColorRange,
    Matrix,
    PixelFormat,
    Primaries,
    Transfer,
    VideoStreamInfo,
)

__all__ = ["MATRIX_NAMES", "decide_color", "is_hdr", "matrix_label", "result_tags"]

#: What ``--color-matrix`` takes.
MATRIX_NAMES: dict[str, Matrix] = {
    "bt601": Matrix.SMPTE170M,
    "bt709": Matrix.BT709,
    "bt2020": Matrix.BT2020_NCL,
    "smpte240m": Matrix.SMPTE240M,
    "fcc": Matrix.FCC,
}

_LABELS = {
    Matrix.RGB: "RGB",
    Matrix.BT709: "BT.709",
    Matrix.FCC: "FCC",
    Matrix.BT470BG: "BT.601",
    Matrix.SMPTE170M: "BT.601",
    Matrix.SMPTE240M: "SMPTE 240M",
    Matrix.YCGCO: "YCgCo",
    Matrix.BT2020_NCL: "BT.2020",
    Matrix.BT2020_CL: "BT.2020 constant luminance",
    Matrix.SMPTE2085: "SMPTE 2085",
    Matrix.CHROMA_DERIVED_NCL: "chroma-derived",
    Matrix.CHROMA_DERIVED_CL: "chroma-derived constant luminance",
    Matrix.ICTCP: "ICtCp",
    Matrix.IPT_C2: "IPT-C2",
    Matrix.YCGCO_RE: "YCgCo-Re",
    Matrix.YCGCO_RO: "YCgCo-Ro",
}

# One linear 3x3 matrix on non-linear R'G'B' each; the others mix in the transfer function or the
# primaries.
_READABLE = {
    *(Matrix.BT709, Matrix.FCC, Matrix.BT470BG, Matrix.SMPTE170M),
    *(Matrix.SMPTE240M, Matrix.YCGCO, Matrix.BT2020_NCL),
}
_FROM_PRIMARIES = {
    Primaries.BT709: Matrix.BT709,
    Primaries.BT470BG: Matrix.BT470BG,
    Primaries.SMPTE170M: Matrix.SMPTE170M,
    Primaries.BT2020: Matrix.BT2020_NCL,
}
# Codecs of still pictures: a grey one is full range, as in JPEG and PNG.
_STILL_CODECS = {"mjpeg", "jpegls", "ljpeg", "jpeg2000", "png", "apng", "gif", "bmp", "tiff"}
# Codecs that fix where chroma lies without saying so in each file: JPEG (JFIF), MPEG-1 and H.263
# put it in the middle of the block; DV's 4:2:0 lies on the top left luma sample.
_CODEC_SITES = {
    "mjpeg": ChromaSite.CENTER,
    "mpeg1video": ChromaSite.CENTER,
    "h263": ChromaSite.CENTER,
    "flv1": ChromaSite.CENTER,
    "dvvideo": ChromaSite.TOPLEFT,
}
# A VP9 stream says of RGB that it is full range, whatever it is told.
_FULL_RGB_ONLY = {"vp9"}
# Which of the matrices read here a codec has a code for, where not for all. ProRes: SMPTE RDD 36,
# where BT.601 has one code for its two tags; VP9: section 7.2.2 of its bitstream specification.
_MATRICES = {
    "prores": (Matrix.BT709, Matrix.SMPTE170M, Matrix.BT2020_NCL),
    "vp9": (
        Matrix.BT709, Matrix.BT470BG, Matrix.SMPTE170M, Matrix.SMPTE240M, Matrix.BT2020_NCL,
    ),
}  # fmt: skip
# What is written instead: the same equations, or nearly so; else those of today's players.
_NEAREST = {Matrix.BT470BG: Matrix.SMPTE170M, Matrix.FCC: Matrix.SMPTE170M}
# Primaries that an encoder has no word for.
_LACKING = {"libx264": (Primaries.EBU3213,), "libx265": (Primaries.EBU3213,)}
# Neither ProRes frames nor QuickTime's nclc colour tag have a place for the range.
_LIMITED_ONLY = {"prores"}


def is_hdr(color: Color) -> bool:
    """Whether the transfer function is PQ or HLG (ITU-R BT.2100)."""
    return color.transfer in (Transfer.PQ, Transfer.HLG)


def matrix_label(matrix: Matrix) -> str:
    """The name people know a matrix by."""
    return _LABELS.get(matrix, "unspecified")


def decide_color(video: VideoStreamInfo, request: Request, notes: Notes) -> Color:
    """How the stream's samples are read: matrix, range and chroma siting are always settled.

    Primaries and transfer stay as tagged, unspecified included: nothing here converts them.

    Raises:
        InputError: the samples are coded in a way that no 3x3 matrix undoes, or in colours that
            are lost without the frames' metadata.
        UsageError: a matrix was asked for and the source is RGB.
    """
    if video.format.family == "rgb" and request.matrix:
        raise UsageError(
            f"the source is RGB ({video.native_format}): there is no matrix to override",
            where=f"{request.source}: stream {video.index}",
        )
    if video.dolby_colors and request.matrix is None:
        raise InputError(
            "its colours are Dolby Vision's own (profile 5): without the metadata, which an "
            "enlarged picture cannot have, it would be shown in green and purple",
            where=f"{request.source}: stream {video.index}",
            remedy="Convert it to HDR10 or SDR first, for instance by FFmpeg's filter libplacebo "
            "(apply_dolbyvision). --color-matrix bt2020 goes on all the same.",
        )
    matrix, matrix_why = _matrix(video, request)
    span, span_why = _range(video, request)
    if video.format.family == "yuv" and matrix not in _READABLE:
        raise InputError(
            f"colour matrix {matrix_label(matrix)} is not supported",
            where=f"{request.source}: stream {video.index}",
            remedy="If the tag is wrong, say how to read it: --color-matrix bt709 or bt2020.",
        )
    why = matrix_why if matrix_why == span_why else f"matrix {matrix_why}; range {span_why}"
    notes.why("colour", f"{matrix_label(matrix)} {span.name.lower()}", why)
    site, site_why = _site(video, request)
    if video.format.log2_chroma_w or video.format.log2_chroma_h:
        notes.why("chroma siting", site.value, site_why)
    return replace(video.color, matrix=matrix, range=span, site=site)


def _matrix(video: VideoStreamInfo, request: Request) -> tuple[Matrix, str]:
    tags = video.color
    if video.format.family == "rgb":
        return Matrix.RGB, f"{video.native_format} is RGB"
    if request.matrix is not None:
        return request.matrix, "asked for"
    if tags.matrix not in (Matrix.UNSPECIFIED, Matrix.RGB):
        return tags.matrix, "as tagged"
    if tags.primaries in _FROM_PRIMARIES:
        return _FROM_PRIMARIES[tags.primaries], "untagged, but the primaries are"
    if is_hdr(tags):
        return Matrix.BT2020_NCL, f"untagged, but the transfer is {tags.transfer.name}"
    if video.height >= 720 or video.width >= 1280:
        # The width tells for films whose black bars were cut off (1280x544).
        return Matrix.BT709, f"untagged: {video.width}x{video.height} is HD"
    # The 525-line and 625-line variants are the same equations; the tag alone differs.
    matrix = Matrix.BT470BG if video.height in (288, 576) else Matrix.SMPTE170M
    return matrix, f"untagged: {video.width}x{video.height} is SD"


def _range(video: VideoStreamInfo, request: Request) -> tuple[ColorRange, str]:
    if request.range is not None:
        return request.range, "asked for"
    if video.format.family == "rgb" and video.color.range is not ColorRange.LIMITED:
        return ColorRange.FULL, f"{video.native_format} is RGB"
    if video.color.range is not ColorRange.UNSPECIFIED:
        return video.color.range, "as tagged"
    if video.codec in _STILL_CODECS:
        return ColorRange.FULL, f"untagged: {video.codec} is full"
    return ColorRange.LIMITED, "untagged: limited is the rule"


def _site(video: VideoStreamInfo, request: Request) -> tuple[ChromaSite, str]:
    if request.site is not None:
        return request.site, "asked for"
    if video.color.site is not ChromaSite.UNSPECIFIED:
        return video.color.site, "as tagged"
    if video.codec in _CODEC_SITES:
        return _CODEC_SITES[video.codec], f"untagged: {video.codec} has it there"
    if is_hdr(video.color) and video.color.primaries == Primaries.BT2020:
        return ChromaSite.TOPLEFT, "untagged (or left, read alike): BT.2020 HDR has it there"
    return ChromaSite.LEFT, "untagged, or tagged so: the default since MPEG-2"


def result_tags(
    source: Color, read: PixelFormat, written: PixelFormat, spec: CodecSpec, notes: Notes
) -> Color:
    """How the result's samples are written and tagged.

    Matrix and range are always stated, because a result of 720 lines or more would otherwise be
    taken for BT.709 whatever its source was. RGB keeps its range as RGB. Primaries and transfer are
    the source's. A matrix that the codec has no code for gives way to the nearest that it has.
    Chroma is written where decoders assume it when nothing is signalled: top left for BT.2020 HDR,
    else left.

    Args:
        source: how the source is read (a decision, not tags).
        read, written: format of the source's frames and of the result's.
        spec: the result's codec.
    """
    topleft = is_hdr(source) and source.primaries == Primaries.BT2020
    site = ChromaSite.TOPLEFT if topleft else ChromaSite.LEFT
    tags = replace(source, site=site)
    if source.primaries in _LACKING.get(spec.encoder, ()):
        notes.lose(
            f"colour primaries {source.primaries.name}: {spec.encoder} cannot write them. "
            "--codec av1 keeps them."
        )
        tags = replace(tags, primaries=Primaries.UNSPECIFIED)
    if written.family == "rgb":
        keeps = read.family == "rgb" and spec.codec not in _FULL_RGB_ONLY
        return replace(tags, matrix=Matrix.RGB, range=source.range if keeps else ColorRange.FULL)
    if read.family == "rgb":
        wide = source.primaries == Primaries.BT2020
        matrix = Matrix.BT2020_NCL if wide else Matrix.BT709
        notes.why(
            "result colour",
            f"{matrix_label(matrix)} limited",
            f"the source is RGB and {written.name} is not; players expect this",
        )
        return replace(tags, matrix=matrix, range=ColorRange.LIMITED)
    codes = _MATRICES.get(spec.codec)
    if codes is not None and source.matrix not in codes:
        tags = replace(tags, matrix=_NEAREST.get(source.matrix, Matrix.BT709))
    if spec.codec in _LIMITED_ONLY:
        tags = replace(tags, range=ColorRange.LIMITED)
    why = []
    if matrix_label(tags.matrix) != matrix_label(source.matrix):
        why.append(f"{spec.codec} has no code for {matrix_label(source.matrix)}")
    if tags.range is not source.range:
        why.append(f"{spec.codec} cannot say full range, and players take it for limited")
    if why:
        written_as = f"{matrix_label(tags.matrix)} {tags.range.name.lower()}"
        notes.why("result colour", written_as, "; ".join(why))
    return tags

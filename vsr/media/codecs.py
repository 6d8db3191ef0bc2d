"""The video codecs that can be written: a table, and whether a row works on this machine.

Every entry was tried with the FFmpeg that PyAV 18.1 bundles: each pixel format was encoded and
decoded again, each container written and read back. To add a codec, add a row; the contract tests
run over the whole table.
"""

from __future__ import annotations

import os
from fractions import Fraction
from functools import cache
from typing import cast

import av
import av.error
import torch
from av.codec.codec import UnknownCodecError
from av.video.codeccontext import VideoCodecContext

from vsr.types import CodecSpec

__all__ = ["CODECS", "encoder_problem", "hush", "steady"]

# FFV1 knows no 8-bit planar RGB of its own: the writer packs it to bgr0/bgra, which loses nothing.
_FFV1_FORMATS = (
    *("yuv420p", "yuv422p", "yuv444p", "yuv440p", "yuv411p", "yuv410p"),
    *("yuv420p9le", "yuv422p9le", "yuv444p9le"),
    *("yuv420p10le", "yuv422p10le", "yuv444p10le", "yuv440p10le"),
    *("yuv420p12le", "yuv422p12le", "yuv444p12le", "yuv440p12le"),
    *("yuv420p14le", "yuv422p14le", "yuv444p14le"),
    *("yuv420p16le", "yuv422p16le", "yuv444p16le"),
    *("gbrp", "gbrp9le", "gbrp10le", "gbrp12le", "gbrp14le", "gbrp16le"),
    *("gray", "gray9le", "gray10le", "gray12le", "gray14le", "gray16le"),
    *("yuva420p", "yuva422p", "yuva444p", "yuva420p9le", "yuva422p9le", "yuva444p9le"),
    *("yuva420p10le", "yuva422p10le", "yuva444p10le", "yuva422p12le", "yuva444p12le"),
    *("yuva420p16le", "yuva422p16le", "yuva444p16le"),
    *("gbrap", "gbrap10le", "gbrap12le", "gbrap14le", "gbrap16le"),
)

_ROWS = (
    CodecSpec(
        name="h264",
        codec="h264",
        encoder="libx264",
        pixel_formats=(
            *("yuv420p", "yuv422p", "yuv444p", "gray"),
            *("yuv420p10le", "yuv422p10le", "yuv444p10le", "gray10le"),
        ),
        containers=("mp4", "mov", "mkv"),
        quality_option="crf",
        quality_range=(0, 51),
        speed_option="preset",
        hdr10="x264-params",
        even=True,
    ),
    CodecSpec(
        name="hevc",
        codec="hevc",
        encoder="libx265",
        pixel_formats=(
            *("yuv420p", "yuv422p", "yuv444p", "gbrp", "gray"),
            *("yuv420p10le", "yuv422p10le", "yuv444p10le", "gbrp10le", "gray10le"),
            *("yuv420p12le", "yuv422p12le", "yuv444p12le", "gbrp12le", "gray12le"),
        ),
        containers=("mp4", "mov", "mkv"),
        quality_option="crf",
        quality_range=(0, 51),
        speed_option="preset",
        hdr10="x265-params",
        even=True,
    ),
    CodecSpec(
        name="av1",
        codec="av1",
        encoder="libsvtav1",
        pixel_formats=("yuv420p", "yuv420p10le"),
        containers=("mp4", "mkv", "webm"),
        quality_option="crf",
        quality_range=(1, 63),
        speed_option="preset",
        hdr10="svtav1-params",
        max_size=8704,
    ),
    CodecSpec(
        name="vp9",
        codec="vp9",
        encoder="libvpx-vp9",
        # The bundled libvpx is built without high bit depth.
        pixel_formats=("yuv420p", "yuv422p", "yuv444p", "yuv440p", "gbrp", "yuva420p"),
        containers=("webm", "mkv", "mp4"),
        quality_option="crf",
        quality_range=(0, 63),
        speed_option="cpu-used",
        hdr10="container",
        alpha=True,
    ),
    CodecSpec(
        name="prores",
        codec="prores",
        encoder="prores_ks",
        pixel_formats=("yuv422p10le", "yuv444p10le", "yuva444p10le"),
        containers=("mov", "mkv"),
        quality_option=None,
        quality_range=None,
        speed_option=None,
        hdr10="container",
        alpha=True,
    ),
    CodecSpec(
        name="ffv1",
        codec="ffv1",
        encoder="ffv1",
        pixel_formats=_FFV1_FORMATS,
        containers=("mkv", "mp4"),
        quality_option=None,
        quality_range=None,
        speed_option=None,
        hdr10="container",
        alpha=True,
        lossless=True,
    ),
    # NVENC takes 10 bits in semi-planar or high-bit form; the writer packs them (see arrange.py).
    # PyAV 18.1 has no way to give it HDR10 metadata.
    CodecSpec(
        name="h264_nvenc",
        codec="h264",
        encoder="h264_nvenc",
        pixel_formats=("yuv420p", "yuv444p"),
        containers=("mp4", "mov", "mkv"),
        quality_option="cq",
        quality_range=(1, 51),
        speed_option="preset",
        hdr10=None,
        hardware=True,
        max_size=4096,
        even=True,
    ),
    CodecSpec(
        name="hevc_nvenc",
        codec="hevc",
        encoder="hevc_nvenc",
        pixel_formats=("yuv420p", "yuv420p10le", "yuv444p", "yuv444p10le"),
        containers=("mp4", "mov", "mkv"),
        quality_option="cq",
        quality_range=(1, 51),
        speed_option="preset",
        hdr10=None,
        hardware=True,
        max_size=8192,
        even=True,
    ),
    CodecSpec(
        name="av1_nvenc",
        codec="av1",
        encoder="av1_nvenc",
        pixel_formats=("yuv420p", "yuv420p10le"),
        containers=("mp4", "mkv", "webm"),
        quality_option="cq",
        quality_range=(1, 63),
        speed_option="preset",
        hdr10=None,
        hardware=True,
        max_size=8192,
        even=True,
    ),
)

#: Codecs by name, in the order they are listed to people.
CODECS: dict[str, CodecSpec] = {row.name: row for row in _ROWS}


@cache
def encoder_problem(name: str) -> str | None:
    """Why the codec ``name`` cannot be used on this machine; ``None`` if its encoder opens.

    Opens the encoder at 256 x 256 in its first pixel format, which is what finds a missing
    driver, a card without the encoder, or an FFmpeg built without it.

    Raises:
        KeyError: there is no such row.
    """
    spec = CODECS[name]
    try:
        context = cast(VideoCodecContext, av.CodecContext.create(spec.encoder, "w"))
    except UnknownCodecError:
        return f"FFmpeg was built without the encoder {spec.encoder}"
    context.width = context.height = 256
    context.pix_fmt = spec.pixel_formats[0]
    context.time_base = Fraction(1, 25)
    context.framerate = Fraction(25)
    context.options = hush(spec.encoder)
    try:
        context.open()
    except PermissionError:
        # FFmpeg's answer to a driver library that is not there.
        return f"{spec.encoder} needs NVIDIA's driver (libcuda), which is not installed"
    except av.error.FFmpegError as error:
        if spec.hardware:
            # Data centre cards (A100, H100, H200) decode, and have no encoder.
            return (
                f"{spec.encoder} does not open ({error.strerror or error}): the GPU has no encoder "
                "for it, or its driver is too old"
            )
        return f"{spec.encoder} does not open: {error.strerror or error}"
    return None


def hush(encoder: str) -> dict[str, str]:
    """Options that keep ``encoder`` from printing banners and statistics on stderr.

    SVT-AV1 listens to the environment variable ``SVT_LOG`` alone: it is set (to errors only)
    unless it already has a value.
    """
    if encoder == "libsvtav1":
        os.environ.setdefault("SVT_LOG", "1")
    return {"x265-params": "log-level=error"} if encoder == "libx265" else {}


def steady(encoder: str) -> dict[str, str]:
    """Options that keep ``encoder``'s result from depending on chance.

    x264's AVX-512 code for macroblock trees reads beyond a row whose macroblocks are not a multiple
    of eight: of two runs each gives another file, on processors that have it. AVX2's does not.
    """
    if encoder == "libx264" and torch.backends.cpu.get_cpu_capability() == "AVX512":
        return {"x264-params": "asm=avx2"}
    return {}

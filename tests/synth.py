"""Synthetic clips made by code: known samples, known timestamps, and everything else on request.

Every frame's picture is a function of its index (:func:`picture`), so that a test that reads a
losslessly coded clip back can compare every sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import OutputContainer
from av.stream import Disposition
from numpy.typing import NDArray

from vsr.types import Color, PixelFormat, pixel_format

__all__ = ["LOSSLESS", "Clip", "Subtitle", "gradient_png", "make_clip", "picture", "video_frame"]

#: FFmpeg options that make an encoder lossless, for tests that compare samples.
LOSSLESS: dict[str, dict[str, str]] = {
    "libx264": {"qp": "0", "preset": "ultrafast"},
    "libx265": {"x265-params": "lossless=1:log-level=none", "preset": "ultrafast"},
    "libvpx-vp9": {"lossless": "1", "cpu-used": "8", "deadline": "realtime"},
    "ffv1": {},
    "rawvideo": {},
    "png": {},
}


@dataclass(frozen=True)
class Subtitle:
    """One line of text, shown from ``start`` to ``end`` seconds."""

    start: Fraction
    end: Fraction
    text: str


@dataclass(frozen=True)
class Clip:
    """What was written. ``times``: presentation time of every frame in seconds."""

    path: Path
    width: int
    height: int
    format: PixelFormat
    times: tuple[Fraction, ...]

    def picture(self, index: int) -> list[NDArray[Any]]:
        """The planes of frame ``index`` as they went into the encoder."""
        return picture(index, self.format, self.width, self.height)


def picture(index: int, fmt: PixelFormat, width: int, height: int) -> list[NDArray[Any]]:
    """Planes of test picture ``index``: slopes that move with it, and a square that tells it.

    Samples use the middle 80% of the range, so that limited range clips nothing.
    """
    top = (1 << fmt.bits) - 1
    planes = []
    for plane in range(fmt.planes):
        h, w = fmt.plane_size(plane, width, height)
        y, x = np.mgrid[0:h, 0:w]
        wave = (x * (3 + plane) + y * (5 - plane) + index * (7 + 2 * plane)) % 97
        values = 0.1 + 0.8 * wave / 96
        side = max(1, min(h, w) // 4)
        at = (index * 3) % max(1, w - side)
        values[:side, at : at + side] = 0.1 + 0.8 * ((index * 37) % 101) / 100
        planes.append(np.round(values * top).astype(np.uint8 if fmt.bits <= 8 else np.uint16))
    return planes


def video_frame(planes: Sequence[NDArray[Any]], name: str) -> av.VideoFrame:
    """A frame in the planar format ``name`` with these samples."""
    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, name)
    for plane, samples in zip(frame.planes, planes, strict=True):
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        data = np.ascontiguousarray(samples).view(np.uint8).reshape(samples.shape[0], -1)
        rows[: data.shape[0], : data.shape[1]] = data
    return frame


def gradient_png(width: int = 32, height: int = 32) -> bytes:
    """A small PNG file, for cover art."""
    frame = video_frame(picture(0, pixel_format("gray"), width, height), "gray")
    context = av.CodecContext.create("png", "w")
    context.width, context.height, context.pix_fmt = width, height, "gray"
    context.time_base = Fraction(1, 25)
    frame.pts = 0
    return b"".join(bytes(p) for p in [*context.encode(frame), *context.encode(None)])


def make_clip(
    path: Path,
    *,
    width: int = 64,
    height: int = 48,
    frames: int = 12,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rate: Fraction | int = 25,
    time_base: Fraction | None = None,
    pts: Sequence[int] | None = None,
    options: Mapping[str, str] | None = None,
    color: Color | None = None,
    sar: Fraction | None = None,
    rotation: int = 0,
    display_matrix: Sequence[int] | None = None,
    audio: str | None = None,
    audio_tracks: int = 1,
    audio_start: Fraction = Fraction(0),
    subtitles: Sequence[Subtitle] = (),
    subtitle_codec: str = "srt",
    attachments: Mapping[str, bytes] | None = None,
    cover: bool = False,
    chapters: Sequence[tuple[Fraction, Fraction, str]] = (),
    metadata: Mapping[str, str] | None = None,
    mux_options: Mapping[str, str] | None = None,
) -> Clip:
    """Write a clip; the container follows from the file name.

    Args:
        path: where to.
        width, height, frames: of the video.
        codec: FFmpeg's encoder; those in :data:`LOSSLESS` keep every sample.
        pix_fmt: a planar format.
        rate: frames per second, for the default timestamps and the encoder.
        time_base: seconds per tick of ``pts``; default ``1 / rate``.
        pts: one timestamp per frame (VFR, start offset); default ``0, 1, 2, ...`` at ``rate``.
        options: encoder options on top of the lossless ones (``{"x264-params": "tff=1"}`` codes
            interlaced, ``{"g": "12", "bf": "3"}`` sets the GOP; with B-frames x264 is not quite
            lossless).
        color: tags of the stream; default untagged.
        sar: sample aspect ratio.
        rotation: display rotation in degrees, counter-clockwise. ``display_matrix``: the nine
            integers themselves.
        audio: audio encoder (``aac``, ``pcm_s16le``, ``libopus``), ``None`` for no sound; it
            is a tone that ends with the video, at 48 kHz.
        audio_tracks: number of audio streams, each with another pitch and language.
        audio_start: seconds before the sound begins.
        subtitles: lines of one text subtitle stream in ``subtitle_codec`` (``srt``, ``ass``,
            ``mov_text``, ``webvtt``).
        attachments: file name -> content (Matroska only).
        cover: attach a small PNG as cover art (mp4: attached picture; mkv: attachment).
        chapters: ``(start, end, title)`` with times in seconds.
        metadata: tags of the file.
        mux_options: options of the muxer (``{"movflags": "faststart"}``).
    """
    fmt = pixel_format(pix_fmt)
    rate = Fraction(rate)
    tick = time_base or 1 / rate
    stamps = list(pts) if pts is not None else [round(i / rate / tick) for i in range(frames)]
    if len(stamps) != frames:
        raise ValueError(f"{len(stamps)} timestamps for {frames} frames")
    with av.open(str(path), "w", options=dict(mux_options or {})) as out:
        out.metadata.update(metadata or {})
        settings = {**LOSSLESS.get(codec, {}), **(options or {})}
        reordered = codec == "libx264" and int(settings.get("bf", "0")) > 0
        if reordered:  # which x264 does not do losslessly, nor to pictures as different as these
            settings = {"b_strategy": "0", **settings, "qp": (options or {}).get("qp", "1")}
            settings["x264-params"] = f"scenecut=0:{settings.get('x264-params', '')}".rstrip(":")
        video = out.add_stream(codec, rate=rate, options=settings)
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = width, height, pix_fmt
        video.codec_context.time_base = tick
        video.time_base = tick
        if sar is not None:
            video.codec_context.sample_aspect_ratio = sar
        if color is not None:
            _tag(video.codec_context, color)
        if rotation:
            video.set_display_rotation(rotation)
        if display_matrix is not None:
            video.set_display_matrix(display_matrix)
        sounds = [_add_audio(out, audio, i) for i in range(audio_tracks)] if audio else []
        text = _add_subtitles(out, subtitle_codec) if subtitles else None
        for name, data in (attachments or {}).items():
            out.add_attachment(name, "application/octet-stream", data)
        art = _add_cover(out, path) if cover else None
        if chapters:
            out.set_chapters([_chapter(i, *chapter) for i, chapter in enumerate(chapters, 1)])
        out.start_encoding()
        if art is not None:
            packet = av.Packet(gradient_png())
            packet.stream, packet.pts, packet.dts = art, 0, 0
            packet.time_base = Fraction(1, 90000)
            out.mux(packet)
        late = 0
        for index, stamp in enumerate(stamps):
            frame = video_frame(picture(index, fmt, width, height), pix_fmt)
            frame.pts, frame.time_base = stamp, tick
            if color is not None:
                _tag(frame, color)
            late += _mux(out, video.encode(frame))
        late += _mux(out, video.encode(None))
        assert late or not reordered or len(stamps) < 8, "no frame of this clip is reordered"
        end = stamps[-1] * tick + 1 / rate if stamps else Fraction(0)
        for track, sound in enumerate(sounds):
            _write_tone(out, sound, audio_start, end, 440 * (track + 1))
        if text is not None:
            _write_subtitles(out, text, subtitles)
    return Clip(path, width, height, fmt, tuple(s * tick for s in stamps))


def _mux(out: OutputContainer, packets: list[av.Packet[Any]]) -> int:
    """Write packets; how many of them are not decoded when they are shown."""
    late = sum(packet.pts != packet.dts for packet in packets)
    out.mux(packets)
    return late


def _tag(target: Any, color: Color) -> None:
    target.colorspace = int(color.matrix)
    target.color_primaries = int(color.primaries)
    target.color_trc = int(color.transfer)
    target.color_range = int(color.range)


def _chapter(number: int, start: Fraction, end: Fraction, title: str) -> Any:
    ms = Fraction(1, 1000)
    return {
        "id": number,
        "start": round(start / ms),
        "end": round(end / ms),
        "time_base": ms,
        "metadata": {"title": title},
    }


def _add_audio(out: OutputContainer, encoder: str, track: int) -> av.AudioStream:
    stream = out.add_stream(encoder, rate=48000)
    assert isinstance(stream, av.AudioStream)
    stream.layout = "stereo"
    stream.metadata["language"] = ("eng", "deu", "fra")[track % 3]
    return stream


def _write_tone(
    out: OutputContainer, stream: av.AudioStream, start: Fraction, end: Fraction, pitch: int
) -> None:
    context = stream.codec_context
    total, at, first = int((end - start) * 48000), 0, int(start * 48000)
    while at < total:
        count = min(context.frame_size or 1024, total - at)
        wave = 0.3 * np.sin(2 * np.pi * pitch * np.arange(at, at + count) / 48000)
        samples = np.tile(wave.astype(np.float32), (2, 1))
        frame = av.AudioFrame.from_ndarray(samples, "fltp", "stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48000, first + at, Fraction(1, 48000)
        out.mux(stream.encode(frame))
        at += count
    out.mux(stream.encode(None))


_ASS_HEADER = (
    b"[Script Info]\r\nScriptType: v4.00+\r\nPlayResX: 384\r\nPlayResY: 288\r\n\r\n"
    b"[V4+ Styles]\r\nFormat: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, "
    b"OutlineColour, BackColour, Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, "
    b"Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding\r\n"
    b"Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,1"
    b"\r\n\r\n[Events]\r\n"
    b"Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\r\n"
)


def _add_subtitles(out: OutputContainer, encoder: str) -> Any:
    stream: Any = out.add_stream(encoder)
    stream.codec_context.subtitle_header = _ASS_HEADER
    stream.codec_context.time_base = Fraction(1, 1000)
    stream.time_base = Fraction(1, 1000)
    stream.metadata["language"] = "eng"
    return stream


def _write_subtitles(out: OutputContainer, stream: Any, lines: Sequence[Subtitle]) -> None:
    for number, line in enumerate(lines):
        length = round((line.end - line.start) * 1000)
        packet = stream.codec_context.encode_subtitle(
            av.subtitles.subtitle.SubtitleSet.create(
                text=f"{number},0,Default,,0,0,0,,{line.text}".encode(),
                start=0,
                end=length,
                pts=round(line.start * 1_000_000),
            )
        )
        packet.stream = stream
        packet.time_base = Fraction(1, 1000)
        packet.pts = packet.dts = round(line.start * 1000)
        packet.duration = length
        out.mux(packet)


def _add_cover(out: OutputContainer, path: Path) -> Any:
    if path.suffix in {".mkv", ".webm"}:
        out.add_attachment("cover.png", "image/png", gradient_png())
        return None
    stream: Any = out.add_stream("png")
    stream.width, stream.height, stream.pix_fmt = 32, 32, "gray"
    stream.disposition = Disposition.attached_pic
    return stream

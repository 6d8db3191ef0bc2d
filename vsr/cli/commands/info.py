"""``vsr info``."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import click

from vsr.cli.command import Command, json_option
from vsr.cli.output import clock_text, echo, echo_json, entries, size_text, table
from vsr.plan.color import is_hdr, matrix_label
from vsr.types import ChromaSite, Color, ColorRange, Matrix, StreamInfo, VideoStreamInfo
from vsr.types.place import source_name

if TYPE_CHECKING:
    from vsr.types import MediaInfo

__all__ = ["info"]

_CHANNELS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}


@click.command(cls=Command)
@click.argument("file", metavar="FILE", type=click.Path())
@json_option("Print all that is known as one JSON object.")
def info(file: str, as_json: bool) -> None:
    """Show what FILE is: its streams, their formats and colours, chapters and tags.

    Everything is as the file says or its first frames prove; nothing is guessed.
    """
    from vsr.media.probe import probe

    found = probe(file)
    if as_json:
        echo_json(found, indent=2)
    else:
        echo("\n".join(_text(found)))


def _text(found: MediaInfo) -> Iterator[str]:
    length = "length unknown" if found.duration is None else clock_text(found.duration)
    size = size_text(found.size) if found.size else "size unknown"
    yield source_name(found.path)
    yield from entries([("container", f"{found.container}, {size}, {length}")])
    yield from ("", "streams")
    yield from table([row for stream in found.streams for row in _rows(stream)])
    if found.chapters:
        yield from ("", "chapters")
        yield from table(
            [
                (clock_text(c.start * c.time_base), dict(c.metadata).get("title", ""))
                for c in found.chapters
            ]
        )
    if found.metadata:
        yield from ("", "tags")
        yield from table([(key, " ".join(value.split())) for key, value in found.metadata])
    if found.warnings:
        yield from ("", "warnings")
        yield from table([("-", sentence) for sentence in found.warnings])


def _rows(stream: StreamInfo) -> Iterator[tuple[str, str, str]]:
    kind = "cover" if isinstance(stream, VideoStreamInfo) and stream.is_cover else stream.kind
    first, *rest = _facts(stream)
    yield str(stream.index), kind, first
    yield from (("", "", fact) for fact in rest)


def _facts(stream: StreamInfo) -> Iterator[str]:
    """One line per group of facts."""
    profile = f" ({stream.profile})" if stream.profile else ""
    first = [f"{stream.codec}{profile}"]
    if isinstance(stream, VideoStreamInfo):
        yield ", ".join([*first, *_picture(stream)])
        if not stream.is_cover:
            yield ", ".join(_timing(stream))
            yield f"colour {', '.join(_color(stream.color))}"
        if extras := _extras(stream):
            yield ", ".join(extras)
    else:
        if stream.sample_rate:
            first.append(f"{stream.sample_rate} Hz")
        if stream.channels:
            first.append(_CHANNELS.get(stream.channels, f"{stream.channels} channels"))
        if stream.bit_rate:
            first.append(f"{stream.bit_rate / 1000:.0f} kbit/s")
        yield ", ".join(first)
    if tags := _tags(stream):
        yield ", ".join(tags)


def _picture(video: VideoStreamInfo) -> Iterator[str]:
    yield f"{video.width}x{video.height}"
    same = video.native_format == video.format.name
    yield video.native_format if same else f"{video.native_format} (read as {video.format.name})"
    if video.sar != 1:
        yield f"pixels {video.sar.numerator}:{video.sar.denominator}"


def _timing(video: VideoStreamInfo) -> Iterator[str]:
    if video.average_rate is None:
        yield "frame rate unknown"
    else:
        rate = f"{float(video.average_rate):.3f}".rstrip("0").rstrip(".")
        yield f"{rate} frames/s" + (" on average, variable" if video.variable_rate else "")
    if video.frames is not None:
        yield f"{video.frames} frames" if video.frames_exact else f"about {video.frames} frames"
    if video.start:
        yield f"from {_seconds(video.start * video.time_base)}"
    yield f"ticks of {video.time_base} s"


def _seconds(value: Fraction) -> str:
    return f"{float(value):.3f} s"


def _color(color: Color) -> Iterator[str]:
    if color == Color(site=color.site):
        yield "not tagged"
        if color.site is not ChromaSite.UNSPECIFIED:
            yield f"chroma {color.site.value}"
        return
    untagged = color.matrix is Matrix.UNSPECIFIED
    yield "matrix not tagged" if untagged else matrix_label(color.matrix)
    for label, value in (("primaries", color.primaries), ("transfer", color.transfer)):
        if value.name != "UNSPECIFIED":
            yield f"{label} {value.name}"
    unranged = color.range is ColorRange.UNSPECIFIED
    yield "range not tagged" if unranged else f"{color.range.name.lower()} range"
    if color.site is not ChromaSite.UNSPECIFIED:
        yield f"chroma {color.site.value}"


def _extras(video: VideoStreamInfo) -> list[str]:
    found = []
    if video.interlaced:
        order = "top" if video.top_field_first else "bottom"
        found.append(f"interlaced, {order} field first")
    if video.display_matrix is not None:
        found.append("turned or mirrored on display")
    if any(video.crop):
        top, bottom, left, right = video.crop
        found.append(f"{top + bottom} rows and {left + right} columns at its borders not shown")
    if is_hdr(video.color):
        found.append(f"HDR ({video.color.transfer.name})")
    if video.hdr is not None:
        if video.hdr.max_luminance is not None:
            found.append(f"mastered up to {float(video.hdr.max_luminance):g} cd/m2")
        if video.hdr.max_cll is not None:
            found.append(f"MaxCLL {video.hdr.max_cll} cd/m2")
        if video.hdr.max_fall is not None:
            found.append(f"MaxFALL {video.hdr.max_fall} cd/m2")
    if video.dolby_vision:
        found.append("Dolby Vision")
    if video.dynamic_hdr:
        found.append("dynamic HDR metadata")
    return found


def _tags(stream: StreamInfo) -> list[str]:
    tags = dict(stream.metadata)
    title = tags.get("title") or tags.get("filename")
    words = [stream.language or "", *stream.dispositions, repr(title) if title else ""]
    return [word for word in words if word]

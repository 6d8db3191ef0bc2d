"""The plan as people read it and as programs read it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from vsr.plan.color import is_hdr, matrix_label
from vsr.types import Color, Plan, StreamAction, StreamInfo, VideoStreamInfo
from vsr.types.place import result_name, source_name
from vsr.types.plain import to_plain

__all__ = ["describe", "plan_to_dict"]

_WIDTH = 96
_INDENT = 14


def plan_to_dict(plan: Plan) -> dict[str, Any]:
    """The plan as JSON takes it: fractions as ``"num/den"``, enums by name, tuples as lists."""
    plain: dict[str, Any] = to_plain(plan)
    return plain


def describe(plan: Plan) -> str:
    """What will happen, for a terminal of 80 to 100 columns."""
    lines = [f"{source_name(plan.source)} -> {result_name(plan.destination)}", ""]
    lines += _entry("picture", _picture(plan))
    lines += _entry("frames", _frames(plan))
    lines += _entry("model", _model(plan))
    lines += _entry("device", _device(plan))
    lines += _entry("colour", _color(plan))
    lines += _entry("encoder", _encoder(plan))
    if plan.time_shift:
        lines += _entry("time shift", f"{float(plan.time_shift):+.6f} s on every stream")
    if plan.chapters:
        clipped = ", clipped to the trimmed part" if plan.trim else ""
        lines += _entry("chapters", f"{len(plan.info.chapters)}{clipped}")
    lines += ["", "streams", *_streams(plan)]
    if plan.reasons:
        lines += ["", "why", *_reasons(plan)]
    for heading, sentences in (
        ("given up", plan.given_up),
        ("warnings", plan.info.warnings),
    ):
        if sentences:
            lines += ["", heading]
            for sentence in sentences:
                lines += textwrap.wrap(
                    sentence, _WIDTH, initial_indent="  - ", subsequent_indent="    "
                )
    return "\n".join(lines)


def _entry(label: str, text: str) -> list[str]:
    indent = " " * _INDENT
    first = label.ljust(_INDENT)
    return textwrap.wrap(text, _WIDTH, initial_indent=first, subsequent_indent=indent)


def _picture(plan: Plan) -> str:
    video = plan.video
    text = f"{video.width}x{video.height} -> {plan.width}x{plan.height}"
    if plan.sar != 1:
        shown = round(plan.width * plan.sar)
        text += (
            f", pixels {plan.sar.numerator}:{plan.sar.denominator} (shown {shown}x{plan.height})"
        )
    if video.display_matrix is not None:
        text += ", rotated on display as before"
    return text


def _frames(plan: Plan) -> str:
    video = plan.video
    parts = []
    if video.frames is not None:
        parts.append(f"{video.frames}" if video.frames_exact else f"about {video.frames}")
    else:
        parts.append("number not known before the run")
    if plan.trim:
        parts.append(_trim(plan))
    if video.variable_rate:
        parts.append("variable rate, every frame's own time kept")
    elif video.average_rate is not None:
        parts.append(f"{_rate(video.average_rate)} frames/s")
    if plan.deinterlace:
        parts.append("deinterlaced (bwdif)")
    return ", ".join(parts)


def _trim(plan: Plan) -> str:
    # As --start and --end count: from the first frame.
    base, first = plan.video.time_base, plan.video.start or 0
    words = []
    if plan.trim.start is not None:
        words.append(f"from {float((plan.trim.start - first) * base):.3f} s")
    if plan.trim.end is not None:
        words.append(f"until {float((plan.trim.end - first) * base):.3f} s")
    if plan.trim.frames is not None:
        words.append(f"at most {plan.trim.frames}")
    return "of which " + ", ".join(words)


def _rate(rate: Fraction) -> str:
    return f"{float(rate):.3f}".rstrip("0").rstrip(".")


def _model(plan: Plan) -> str:
    weights = f", weights {plan.model.weights}" if plan.model.weights else ""
    return f"{plan.model.name} {plan.model.scale}x{weights}, mode {plan.mode}"


def _device(plan: Plan) -> str:
    backend = "" if plan.backend == plan.device else f" ({plan.backend})"
    frames = "1 frame" if plan.batch == 1 else f"{plan.batch} frames"
    return f"{plan.device}{backend}, {plan.dtype}, {frames} a call, read by {plan.reader}"


def _color(plan: Plan) -> str:
    read = _color_words(plan.color, plan.video.format.name)
    written = _color_words(plan.encode.tags, plan.encode.format.name)
    return read if read == written else f"{read} -> {written}"


def _color_words(color: Color, pixels: str) -> str:
    words = [pixels, matrix_label(color.matrix), color.range.name.lower()]
    if is_hdr(color):
        words.append(color.transfer.name)
    return " ".join(words)


def _encoder(plan: Plan) -> str:
    encode = plan.encode
    options = " ".join(f"{name}={value}" for name, value in encode.options)
    tag = f", tag {encode.codec_tag}" if encode.codec_tag else ""
    keys = "key frames only" if encode.gop == 1 else f"key frame every {encode.gop} frames"
    return (
        f"{encode.name} ({encode.encoder}) {options}".rstrip()
        + f", {keys}{tag}, in .{plan.container}"
    )


def _streams(plan: Plan) -> list[str]:
    rows = []
    actions = {action.stream.index: action for action in plan.streams}
    for stream in plan.info.streams:
        if stream.index == plan.video.index:
            rows.append(_row(stream, "upscale", plan.encode.name, ""))
        else:
            action = actions[stream.index]
            rows.append(_row(stream, action.action, _target(action), action.why))
    return list(_table(rows))


def _target(action: StreamAction) -> str:
    return action.codec if action.action == "convert" else ""


def _row(stream: StreamInfo, action: str, target: str, why: str) -> tuple[str, ...]:
    tags = dict(stream.metadata)
    named = tags.get("title") or tags.get("filename") or ""
    facts = [stream.codec, stream.language or ""]
    if isinstance(stream, VideoStreamInfo):
        facts.append(f"{stream.width}x{stream.height}")
    if stream.channels:
        facts.append(f"{stream.channels} ch")
    if stream.sample_rate:
        facts.append(f"{stream.sample_rate} Hz")
    if named:
        facts.append(repr(named[:24]))
    kind = "cover" if isinstance(stream, VideoStreamInfo) and stream.is_cover else stream.kind
    done = f"{action} -> {target}" if target else action
    return (str(stream.index), kind, " ".join(filter(None, facts)), done, why)


def _table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Aligned columns, the last one wrapped."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        head = "  " + "  ".join(cells) + "  "
        last = row[-1]
        if not last:
            yield head.rstrip()
            continue
        room = max(_WIDTH - len(head), 24)
        first, *rest = textwrap.wrap(last, room)
        yield head + first
        yield from (" " * len(head) + line for line in rest)


def _reasons(plan: Plan) -> list[str]:
    return list(_table([(r.topic, r.choice, r.why) for r in plan.reasons]))

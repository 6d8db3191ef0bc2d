"""Making the plan: every choice once, in the order in which one needs another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

from vsr.errors import InputError, OutputError, StrictError, UsageError
from vsr.plan.codec import NVENC, choose_codec, find_codec, preset_for
from vsr.plan.color import decide_color
from vsr.plan.container import container_for, container_options, default_destination
from vsr.plan.encode import plan_encode
from vsr.plan.notes import Notes
from vsr.plan.request import DeviceFacts, Request, WeightsFacts
from vsr.plan.side_data import cut_tags, cut_timecode
from vsr.plan.streams import plan_streams
from vsr.plan.weights import choose_weights
from vsr.preset import DEFAULT_MODEL, Preset, load_preset
from vsr.preset.find import nearest
from vsr.types import (
    CodecSpec,
    ContainerSpec,
    MediaInfo,
    Mode,
    ModelPlan,
    Plan,
    Trim,
    VideoStreamInfo,
    is_set_name,
)
from vsr.types.place import STANDARD, result_name

__all__ = ["default_preset", "make_plan", "select_video"]

_DEFAULT_SCALE = 2
_SCALES = (2, 3, 4)
# Transport and program streams, whose clock may begin anywhere (ISO/IEC 13818-1, 2.4.2.2), and from
# where on, in seconds, that is no delay that somebody meant.
_RECORDINGS, _LATE = ("mpegts", "mpeg"), 10

#: What each mode means, for the plan.
_MODES: dict[Mode, str] = {
    "exact": "asked for: each frame weighted by statistics of the whole of it",
    "paper": "asked for: four overlapping quarters, each weighted by itself, as in the paper",
    "lagged": "asked for: each frame weighted by the one before; the first of a segment and those "
    "behind a cut by themselves",
}


def default_preset(scale: int | None) -> str:
    """Name of the preset used when none is named: that of the scale, ``x2`` unless asked for.

    Raises:
        UsageError: there is none for that scale.
    """
    if scale is None:
        return f"x{_DEFAULT_SCALE}"
    if scale not in _SCALES:
        raise UsageError(f"cannot scale by {scale}", remedy="Scales are 2, 3 and 4.")
    return f"x{scale}"


def make_plan(
    info: MediaInfo,
    request: Request,
    preset: Preset,
    *,
    codecs: Mapping[str, CodecSpec],
    containers: Mapping[str, ContainerSpec],
    models: Mapping[str, tuple[int, ...]],
    weights: WeightsFacts = WeightsFacts(),
    usable: Callable[[str], str | None],
    device: DeviceFacts,
    codec_preset: Callable[[str], Preset] = load_preset,
) -> Plan:
    """Turn wishes into facts: the request's first, then the preset's, then defaults.

    Args:
        info: what the source is.
        request: what was asked for.
        preset: wishes below the request's.
        codecs, containers: the tables of :mod:`vsr.media`.
        models: scales of each row of the model table.
        weights: the weights there are, and which models need some.
        usable: why a codec cannot run on this machine, ``None`` if it can.
        device: the device, its reader and what suits them.
        codec_preset: the preset of a codec's own name, for wishes that nobody stated.

    Raises:
        UsageError: the request makes no sense, or names what does not exist.
        InputError: the source has no video, or is coded in a way that cannot be read.
        OutputError: the result cannot be written as asked.
        ModelError: there are no such weights for the model at this scale.
        StrictError: something would be given up and strict mode is on; the message lists it.
        PresetError: the codec's preset cannot be loaded.
    """
    notes = Notes()
    preset = preset_for(request.codec, preset, codecs)
    video = select_video(info, request.video_stream)
    if len(info.videos) > 1:
        why = f"one of {len(info.videos)}; another with --video-stream N"
        notes.why("video stream", str(video.index), why)
    model = _model(request, preset, models, weights, info, video, notes)
    asked_codec = request.codec or preset.codec
    destination = request.destination or default_destination(
        info.path,
        model.scale,
        containers=containers,
        codec=find_codec(asked_codec, codecs) if asked_codec not in (None, NVENC) else None,
        container=preset.container,
    )
    if destination != STANDARD and Path(destination).resolve() == Path(info.path).resolve():
        raise OutputError(
            "the result would replace its own source", where=destination, remedy="Name another."
        )
    container = container_for(destination, containers, preset.container)
    size = (video.width * model.scale, video.height * model.scale)
    color = decide_color(video, request, notes)
    spec = choose_codec(
        asked_codec,
        video,
        size,
        container,
        notes,
        codecs=codecs,
        usable=usable,
        destination=destination,
        pix_fmt=request.pix_fmt or preset.pix_fmt,
        bit_depth=preset.bit_depth,
    )
    encode = plan_encode(
        video,
        color,
        size,
        model.scale,
        spec,
        container,
        request,
        preset,
        notes,
        codec_preset=codec_preset(spec.name),
        codecs=codecs,
    )
    if device.why:
        notes.why("device", device.device, device.why)
    _explain_mode(request.mode or preset.mode, model, device, notes)
    deinterlace = _deinterlace(video, request.deinterlace or preset.deinterlace or "auto", notes)
    shift = _time_shift(info, video, request.trim, notes)
    _explain_picture(video, container, notes)
    streams = plan_streams(info, video, container, notes, containers.get("mkv"))
    if destination == STANDARD:
        notes.lose(
            "index and length: a pipe takes neither, as they are known last. In what is saved from "
            "it, some players cannot jump."
        )
    if info.chapters and not container.chapters:
        notes.lose(f"chapters: .{container.name} holds none. Use .mkv.")
    streams = tuple(
        replace(action, stream=cut_tags(action.stream, video, request.trim)) for action in streams
    )
    _lose_timecode(info, video, request.trim, notes)
    muxer_options = container_options(container, info, streams, notes)
    plan = Plan(
        source=info.path,
        destination=destination,
        info=info,
        video=cut_tags(video, video, request.trim),
        trim=request.trim,
        time_shift=shift,
        deinterlace=deinterlace,
        on_resize=request.on_resize or preset.on_resize or "error",
        reader=device.reader,
        backend=device.backend,
        device=device.device,
        dtype=_dtype(request, preset, device),
        batch=_batch(request.batch or preset.batch, device, video, notes),
        mode=device.mode,
        model=model,
        width=size[0],
        height=size[1],
        sar=video.sar,
        color=color,
        encode=encode,
        container=container.name,
        container_options=muxer_options,
        streams=streams,
        chapters=bool(info.chapters) and container.chapters,
        metadata=True,
        verify=request.verify,
        strict=bool(preset.strict if request.strict is None else request.strict),
        overwrite=request.overwrite,
        reasons=tuple(notes.reasons),
        given_up=tuple(notes.given_up),
    )
    if plan.strict and plan.given_up:
        listed = "".join(f"\n  - {sentence}" for sentence in plan.given_up)
        raise StrictError(
            f"strict mode, and the result would lack:{listed}",
            where=result_name(destination),
            remedy="Follow the hints above, or leave --strict out.",
        )
    return plan


def select_video(info: MediaInfo, index: int | None = None) -> VideoStreamInfo:
    """The stream that is upscaled: the one with that ``index``, the default one, or the first.

    Raises:
        InputError: the source has no moving picture.
        UsageError: the stream asked for is none.
    """
    videos = info.videos
    if not videos:
        raise InputError("there is no video in it", where=info.path)
    if index is not None:
        for video in videos:
            if video.index == index:
                return video
        raise UsageError(
            f"stream {index} is no video",
            where=info.path,
            remedy=f"Video streams: {', '.join(str(v.index) for v in videos)}.",
        )
    return next((v for v in videos if "default" in v.dispositions), videos[0])


def _model(
    request: Request,
    preset: Preset,
    models: Mapping[str, tuple[int, ...]],
    weights: WeightsFacts,
    info: MediaInfo,
    video: VideoStreamInfo,
    notes: Notes,
) -> ModelPlan:
    name = request.model or preset.model or DEFAULT_MODEL
    if name not in models:
        raise UsageError(
            f"there is no model called {name!r}",
            remedy=nearest(name, models) or f"Known models: {', '.join(models)}.",
        )
    scale = request.scale or preset.scale or _DEFAULT_SCALE
    if scale not in models[name]:
        known = ", ".join(str(s) for s in models[name])
        raise UsageError(f"{name} cannot scale by {scale}", remedy=f"It scales by {known}.")
    wished = preset.weights if name == (preset.model or DEFAULT_MODEL) else None
    # A preset's weights belong to the preset's model, and a file to one scale as well.
    if wished is not None and not is_set_name(wished) and preset.scale not in (None, scale):
        wished = None
    if name not in weights.models:
        return ModelPlan(name, scale, request.weights or wished)
    chosen = choose_weights(request.weights, wished, name, scale, weights.files, info, video, notes)
    return ModelPlan(name, scale, chosen)


def _dtype(
    request: Request, preset: Preset, device: DeviceFacts
) -> Literal["float32", "float16", "bfloat16"]:
    dtype = request.dtype or preset.dtype or device.dtypes[0]
    if dtype not in device.dtypes:
        raise UsageError(
            f"the {device.backend} backend does not compute in {dtype}",
            remedy=f"It computes in {', '.join(device.dtypes)}.",
        )
    return dtype


def _batch(wished: int | None, device: DeviceFacts, video: VideoStreamInfo, notes: Notes) -> int:
    if device.mode == "lagged":
        if wished not in (None, 1):
            notes.why("batch", "1", "in lagged mode each frame waits for the one before")
        return 1
    return wished or device.frames_a_call(video.width, video.height)


def _explain_mode(wished: Mode | None, model: ModelPlan, device: DeviceFacts, notes: Notes) -> None:
    if device.mode != (wished or "exact"):
        notes.why("mode", device.mode, f"{model.name} takes no statistics: all modes are the same")
    elif wished is not None:
        notes.why("mode", wished, _MODES[wished])


def _deinterlace(video: VideoStreamInfo, mode: str, notes: Notes) -> bool:
    if mode == "on":
        notes.why("deinterlace", "bwdif", "asked for")
        return True
    if not video.interlaced:
        return False
    if mode == "off":
        notes.why("deinterlace", "off", "asked for, although interlaced: expect combed edges")
        return False
    order = "top" if video.top_field_first else "bottom"
    notes.why("deinterlace", "bwdif", f"interlaced, {order} field first; one frame per frame")
    return True


def _time_shift(info: MediaInfo, video: VideoStreamInfo, trim: Trim, notes: Notes) -> Fraction:
    """Seconds to add to every timestamp of every stream.

    A clip whose beginning is cut off starts at 0. A source whose picture starts below zero is moved
    up, with what begins a little before it, because players and the MP4 muxer lose frames there. A
    recording that counts from when its broadcaster was switched on starts at 0: in files of other
    kinds, that would be hours of nothing. Anything else keeps its times.
    """
    first = video.start or 0
    if trim.start is not None and trim.start > first:
        notes.why("start", "0 s", "the beginning is cut off, so the clip starts anew")
        return -trim.start * video.time_base
    clock = first * video.time_base
    begins = (s.start * s.time_base for s in info.streams if s.start is not None)
    earliest = min((start for start in begins if clock - _LATE < start <= clock), default=clock)
    if first < 0:
        notes.why(
            "start", "0 s", f"the source starts at {float(earliest):.3f} s, where frames get lost"
        )
        return -earliest
    if info.container in _RECORDINGS and clock > _LATE:
        notes.why("start", "0 s", f"the recorder's clock stood at {float(clock):.3f} s")
        return -earliest
    return Fraction(0)


def _lose_timecode(info: MediaInfo, video: VideoStreamInfo, trim: Trim, notes: Notes) -> None:
    for key, value in dict.fromkeys((*video.metadata, *info.metadata)):
        if key.upper() == "TIMECODE" and cut_timecode(value, video, trim) is None:
            notes.lose(f"timecode {value}: what it is where the wanted part begins is not known.")


def _explain_picture(video: VideoStreamInfo, container: ContainerSpec, notes: Notes) -> None:
    if video.display_matrix is not None:
        notes.why("rotation", "copied", "the display matrix goes along; pixels are not turned")
    if any(video.crop):
        top, bottom, left, right = video.crop
        hides = f"the container hides {top + bottom} rows and {left + right} columns, as before"
        notes.why("borders", "kept", hides)
    if video.sar != 1:
        notes.why("pixel shape", f"{video.sar.numerator}:{video.sar.denominator}", "the source's")
    if video.variable_rate:
        notes.why(
            "frame rate", "variable", "every frame keeps its own time; none is made or dropped"
        )
    if container.time_base and (video.time_base * container.time_base).denominator > 1:
        notes.why(
            "time base",
            f"1/{container.time_base} s",
            f"finer times do not fit into .{container.name}; the source's {video.time_base} s is "
            "rounded to it",
        )

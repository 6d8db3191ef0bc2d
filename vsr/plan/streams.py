"""What happens to every stream other than the video that is upscaled."""

from __future__ import annotations

from vsr.plan.notes import Notes
from vsr.plan.sound import arrange, unplaced
from vsr.plan.tags.lost import lost_tags
from vsr.types import (
    PCM_PLACES,
    ContainerSpec,
    MediaInfo,
    StreamAction,
    StreamInfo,
    VideoStreamInfo,
    has_places,
)

__all__ = ["plan_streams", "title"]

# Subtitles made of text, so that one form can be made from another.
_TEXT = {
    *("subrip", "srt", "ass", "ssa", "mov_text", "webvtt", "text", "microdvd", "subviewer"),
    *("subviewer1", "mpl2", "pjs", "realtext", "sami", "stl", "vplayer", "jacosub"),
}
_STYLED = {"ass", "ssa"}
# Re-encoding with these keeps every sample that was decoded, up to 24 bits of it.
_LOSSLESS_AUDIO = {"flac", "alac"}
# PCM that is wider than that, and the form in which containers have the same samples.
_SAME_SAMPLES = {
    **{f"pcm_{kind}": "pcm_f32le" for kind in ("f16le", "f24le", "f32le", "f32be")},
    **{f"pcm_{kind}": "pcm_f64le" for kind in ("f64le", "f64be")},
    **{f"pcm_{kind}": "pcm_s32le" for kind in ("s32le", "s32be", "u32le", "u32be")},
    **{f"pcm_{kind}": "" for kind in ("s64le", "s64be")},
}
_COVER_CODECS = {"mjpeg", "png", "bmp", "gif", "webp"}
_QUICKTIME_COVERS = {"mjpeg", "png", "bmp"}
# Handler names that QuickTime and FFmpeg give to the text track that holds chapter titles.
_CHAPTER_HANDLERS = {"", "SubtitleHandler", "Apple Text Media Handler", "TextHandler", "text"}
# Dispositions of which FFmpeg's readers find both where a file has the one mark for it.
_TWINS = {"captions": "hearing_impaired", "descriptions": "visual_impaired"}
_HINT = "Use .mkv."


def plan_streams(
    info: MediaInfo,
    video: VideoStreamInfo,
    container: ContainerSpec,
    notes: Notes,
    mkv: ContainerSpec | None = None,
) -> tuple[StreamAction, ...]:
    """One action for each stream but ``video``, in file order.

    Args:
        info: what the source is.
        video: the stream that is upscaled.
        container: of the result.
        notes: get what is lost.
        mkv: the container that hints name; if given, they are left out where it would not help.
    """
    actions = []
    for stream in info.streams:
        if stream.index != video.index:
            # What the same stream would come to there.
            helps = mkv is None or _action(stream, info, mkv, Notes(), "").action != "drop"
            hint = _HINT if helps and container.name != "mkv" else ""
            actions.append(_action(stream, info, container, notes, hint))
    taken = [a.stream for a in actions if a.action in ("copy", "convert") and not a.stream.is_cover]
    described = sorted([video, *taken], key=lambda s: s.index)
    for stream in described:
        _lose_dispositions(stream, container, notes, mkv)
        _lose_tags(stream, container, notes, mkv)
    return tuple(actions)


def title(stream: StreamInfo) -> str:
    """How messages name a stream: ``stream 3 (subtitle, ass, jpn)``."""
    tags = dict(stream.metadata)
    name = tags.get("filename") or (tags.get("handler_name") if stream.kind == "data" else None)
    facts = [stream.kind, stream.codec, stream.language, name]
    return f"stream {stream.index} ({', '.join(filter(None, facts))})"


def _lose_dispositions(
    stream: StreamInfo, container: ContainerSpec, notes: Notes, mkv: ContainerSpec | None
) -> None:
    """Name what the container cannot mark the stream as."""
    if lost := _lost_dispositions(stream, container):
        helps = mkv is None or not set(lost) & set(_lost_dispositions(stream, mkv))
        what = f".{container.name} cannot mark it as {', '.join(lost)}."
        notes.lose(f"{title(stream)}: {what}{_hint(container, helps)}")


def _lose_tags(
    stream: StreamInfo, container: ContainerSpec, notes: Notes, mkv: ContainerSpec | None
) -> None:
    """Name the stream's language and tags that the container has no place for."""
    helps = mkv is None or not any(lost_tags(stream, mkv))
    for lost in lost_tags(stream, container):
        notes.lose(f"{title(stream)}: {lost}.{_hint(container, helps)}")


def _hint(container: ContainerSpec, helps: bool) -> str:
    return f" {_HINT}" if helps and container.name != "mkv" else ""


def _lost_dispositions(stream: StreamInfo, container: ContainerSpec) -> list[str]:
    if container.dispositions is None:
        return []
    holds = {*container.dispositions}
    if stream.kind == "subtitle":
        holds.update(container.text_dispositions)
    kept = holds & {*stream.dispositions}
    return [
        name for name in stream.dispositions if name not in kept and _TWINS.get(name) not in kept
    ]


def _action(
    stream: StreamInfo, info: MediaInfo, container: ContainerSpec, notes: Notes, hint: str
) -> StreamAction:
    if stream.kind == "video":
        if isinstance(stream, VideoStreamInfo) and stream.is_cover:
            return _cover(stream, container, notes, hint)
        return _drop(
            stream,
            notes,
            "only one video stream is upscaled",
            f"--video-stream {stream.index} takes it instead.",
        )
    if stream.kind == "audio":
        return _audio(stream, container, notes, hint)
    if stream.kind == "subtitle":
        return _subtitle(stream, container, notes, hint)
    if stream.kind == "attachment":
        if container.attachments:
            return StreamAction(stream, "attach", stream.codec)
        return _drop(stream, notes, f".{container.name} holds no attachments", hint)
    return _data(stream, info, container, notes)


def _drop(stream: StreamInfo, notes: Notes, why: str, remedy: str = "") -> StreamAction:
    notes.lose(f"{title(stream)}: {why}. {remedy}".rstrip())
    return StreamAction(stream, "drop", why=why)


def _cover(stream: StreamInfo, container: ContainerSpec, notes: Notes, hint: str) -> StreamAction:
    if container.cover == "attachment" and stream.codec in _COVER_CODECS:
        return StreamAction(stream, "attach", stream.codec, "cover art becomes an attached file")
    if container.cover == "attached_pic" and stream.codec in _QUICKTIME_COVERS:
        return StreamAction(stream, "copy", stream.codec)
    return _drop(stream, notes, f".{container.name} holds no {stream.codec} cover art", hint)


def _audio(stream: StreamInfo, container: ContainerSpec, notes: Notes, hint: str) -> StreamAction:
    known = stream.codec != "unknown"
    if known and not (stream.sample_rate and stream.channels):
        why = "nothing that was seen of it tells its sample rate and channels"
        return _drop(stream, notes, why)
    if known and (container.audio is None or stream.codec in container.audio):
        if not unplaced(stream, container):
            _say_places(stream, container, notes)
            return StreamAction(stream, "copy", stream.codec)
        why = f".{container.name} must know which channel is which, and the source does not say"
        return _drop(stream, notes, f"{why} ({stream.layout})", hint and "Use .mov or .mkv.")
    why = f".{container.name} cannot hold {stream.codec}"
    same = _SAME_SAMPLES.get(stream.codec)
    if same and same in (container.audio or ()) and not container.placed_pcm:
        return StreamAction(stream, "convert", same, f"{why}; {same} keeps every sample")
    encoder = container.audio_fallback
    if encoder is None or not known:
        return _drop(stream, notes, why, hint)
    result = encoder.removeprefix("lib")
    placed = arrange(encoder, stream)
    if placed is None:
        return _drop(stream, notes, f"{why}, nor {result} its {stream.layout}", hint)
    if encoder in _LOSSLESS_AUDIO:
        if same is not None:
            cut = "its samples are rounded to 24 bits, and cut where they are beyond full scale"
            notes.lose(f"{title(stream)}: {cut}, since {why} and {result} no more. {hint}".rstrip())
        whole = same is None and stream.codec.startswith(("pcm_", "adpcm_"))
        why += f"; {result} keeps {'every sample' if whole else '24 bits of every sample'}"
        return StreamAction(stream, "convert", encoder, why, placed.layout)
    mixed = f", and mixed from {placed.mixed} to {placed.layout}" if placed.mixed else ""
    more = hint and "Use .mkv to copy more kinds."
    notes.lose(f"{title(stream)}: re-encoded to {result}{mixed}, since {why}. {more}".rstrip())
    return StreamAction(stream, "convert", encoder, why, placed.layout)


def _say_places(stream: StreamInfo, container: ContainerSpec, notes: Notes) -> None:
    """That channels without places get some, beyond the two that are stereo anyway."""
    if not container.placed_pcm or not stream.codec.startswith("pcm_") or not stream.layout:
        return
    if (stream.channels or 0) > 2 and not has_places(stream.layout):
        places = PCM_PLACES[stream.channels or 0]
        why = f"{stream.layout} in the source, and .{container.name} must say where they belong"
        notes.why(f"channels of stream {stream.index}", places, why)


def _subtitle(
    stream: StreamInfo, container: ContainerSpec, notes: Notes, hint: str
) -> StreamAction:
    if stream.codec in container.subtitles:
        return StreamAction(stream, "copy", stream.codec)
    target = container.text_subtitles
    if stream.codec in _TEXT and target is not None:
        why = f".{container.name} cannot hold {stream.codec}"
        if stream.codec in _STYLED and target not in _STYLED:
            lost = f"its styling, since {why} and {target} has none"
            notes.lose(f"{title(stream)}: {lost}. {hint}".rstrip())
        return StreamAction(stream, "convert", target, why)
    kind = "text of this kind" if stream.codec in _TEXT else f"{stream.codec} subtitles"
    return _drop(stream, notes, f".{container.name} holds no {kind}", hint)


def _data(
    stream: StreamInfo, info: MediaInfo, container: ContainerSpec, notes: Notes
) -> StreamAction:
    tags = dict(stream.metadata)
    if stream.codec in container.data:
        return StreamAction(stream, "copy", stream.codec)
    if "timecode" in tags:
        return StreamAction(
            stream, "drop", why="the timecode is written anew, as a tag of the video stream"
        )
    quicktime = "mov" in info.container.split(",")
    if quicktime and info.chapters and tags.get("handler_name", "").strip() in _CHAPTER_HANDLERS:
        return StreamAction(stream, "drop", why="a chapter track; chapters are written anew")
    kind = "data of an unknown kind" if stream.codec == "unknown" else f"{stream.codec} data"
    return _drop(stream, notes, f"{kind} cannot be written to .{container.name}")

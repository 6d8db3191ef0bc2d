"""What happens to every stream other than the video that is upscaled."""

from __future__ import annotations

from vsr.plan.notes import Notes
from vsr.plan.sound import arrange, unplaced
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
# Re-encoding with these keeps every sample that was decoded.
_LOSSLESS_AUDIO = {"flac", "alac"}
_COVER_CODECS = {"mjpeg", "png", "bmp", "gif", "webp"}
_QUICKTIME_COVERS = {"mjpeg", "png", "bmp"}
# Handler names that QuickTime and FFmpeg give to the text track that holds chapter titles.
_CHAPTER_HANDLERS = {"", "SubtitleHandler", "Apple Text Media Handler", "TextHandler", "text"}


def plan_streams(
    info: MediaInfo, video: VideoStreamInfo, container: ContainerSpec, notes: Notes
) -> tuple[StreamAction, ...]:
    """One action for each stream but ``video``, in file order."""
    return tuple(
        _action(stream, info, container, notes)
        for stream in info.streams
        if stream.index != video.index
    )


def title(stream: StreamInfo) -> str:
    """How messages name a stream: ``stream 3 (subtitle, ass, jpn)``."""
    tags = dict(stream.metadata)
    name = tags.get("filename") or (tags.get("handler_name") if stream.kind == "data" else None)
    facts = [stream.kind, stream.codec, stream.language, name]
    return f"stream {stream.index} ({', '.join(filter(None, facts))})"


def _action(
    stream: StreamInfo, info: MediaInfo, container: ContainerSpec, notes: Notes
) -> StreamAction:
    if stream.kind == "video":
        if isinstance(stream, VideoStreamInfo) and stream.is_cover:
            return _cover(stream, container, notes)
        return _drop(
            stream,
            notes,
            "only one video stream is upscaled",
            f"--video-stream {stream.index} takes it instead.",
        )
    if stream.kind == "audio":
        return _audio(stream, container, notes)
    if stream.kind == "subtitle":
        return _subtitle(stream, container, notes)
    if stream.kind == "attachment":
        if container.attachments:
            return StreamAction(stream, "attach", stream.codec)
        return _drop(stream, notes, f".{container.name} holds no attachments", "Use .mkv.")
    return _data(stream, info, container, notes)


def _drop(stream: StreamInfo, notes: Notes, why: str, remedy: str = "") -> StreamAction:
    notes.lose(f"{title(stream)}: {why}. {remedy}".rstrip())
    return StreamAction(stream, "drop", why=why)


def _cover(stream: StreamInfo, container: ContainerSpec, notes: Notes) -> StreamAction:
    if container.cover == "attachment" and stream.codec in _COVER_CODECS:
        return StreamAction(stream, "attach", stream.codec, "cover art becomes an attached file")
    if container.cover == "attached_pic" and stream.codec in _QUICKTIME_COVERS:
        return StreamAction(stream, "copy", stream.codec)
    return _drop(stream, notes, f".{container.name} holds no {stream.codec} cover art", "Use .mkv.")


def _audio(stream: StreamInfo, container: ContainerSpec, notes: Notes) -> StreamAction:
    known = stream.codec != "unknown"
    if known and (container.audio is None or stream.codec in container.audio):
        if not unplaced(stream, container):
            _say_places(stream, container, notes)
            return StreamAction(stream, "copy", stream.codec)
        why = f".{container.name} must know which channel is which, and the source does not say"
        return _drop(stream, notes, f"{why} ({stream.layout})", "Use .mov or .mkv.")
    why = f".{container.name} cannot hold {stream.codec}"
    encoder = container.audio_fallback
    if encoder is None or not known:
        return _drop(stream, notes, why, "Use .mkv.")
    result = encoder.removeprefix("lib")
    placed = arrange(encoder, stream)
    if placed is None:
        return _drop(stream, notes, f"{why}, nor {result} its {stream.layout}", "Use .mkv.")
    if encoder in _LOSSLESS_AUDIO:
        why += f"; {encoder} keeps every sample"
        return StreamAction(stream, "convert", encoder, why, placed.layout)
    mixed = f", and mixed from {placed.mixed} to {placed.layout}" if placed.mixed else ""
    notes.lose(
        f"{title(stream)}: re-encoded to {result}{mixed}, since {why}. Use .mkv to copy more kinds."
    )
    return StreamAction(stream, "convert", encoder, why, placed.layout)


def _say_places(stream: StreamInfo, container: ContainerSpec, notes: Notes) -> None:
    """That channels without places get some, beyond the two that are stereo anyway."""
    if not container.placed_pcm or not stream.codec.startswith("pcm_") or not stream.layout:
        return
    if (stream.channels or 0) > 2 and not has_places(stream.layout):
        places = PCM_PLACES[stream.channels or 0]
        why = f"{stream.layout} in the source, and .{container.name} must say where they belong"
        notes.why(f"channels of stream {stream.index}", places, why)


def _subtitle(stream: StreamInfo, container: ContainerSpec, notes: Notes) -> StreamAction:
    if stream.codec in container.subtitles:
        return StreamAction(stream, "copy", stream.codec)
    target = container.text_subtitles
    if stream.codec in _TEXT and target is not None:
        why = f".{container.name} cannot hold {stream.codec}"
        if stream.codec in _STYLED and target not in _STYLED:
            notes.lose(
                f"{title(stream)}: its styling, since {why} and {target} has none. Use .mkv."
            )
        return StreamAction(stream, "convert", target, why)
    kind = "text of this kind" if stream.codec in _TEXT else f"{stream.codec} subtitles"
    return _drop(stream, notes, f".{container.name} holds no {kind}", "Use .mkv.")


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

"""Which container, and where the result goes when nobody says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath, PurePosixPath
from urllib.parse import unquote, urlsplit

from vsr.errors import InputError, OutputError, UsageError
from vsr.plan.notes import Notes
from vsr.types import CodecSpec, ContainerSpec, MediaInfo, StreamAction
from vsr.types.place import STANDARD, is_once, result_name, source_name

__all__ = ["container_for", "container_options", "default_destination", "path_of"]

# File tags that FFmpeg's muxers have a box for, found by writing and reading back; others vanish.
_COMMON_TAGS = {
    *("title", "artist", "album", "date", "comment", "genre", "copyright"),
    *("creation_time", "location"),
}
_BOXED_TAGS = {
    "mp4": _COMMON_TAGS
    | {
        *("album_artist", "composer", "grouping", "lyrics", "description", "synopsis", "show"),
        *("episode_id", "network", "keywords", "episode_sort", "season_number", "media_type"),
        *("hd_video", "gapless_playback", "compilation", "disc", "track"),
    },
    "mov": _COMMON_TAGS | {"make", "model"},
}
# What every muxer writes anew: they say what the file is, not what it is about.
_STRUCTURAL_TAGS = {"major_brand", "minor_version", "compatible_brands", "encoder"}


def container_for(
    destination: str, containers: Mapping[str, ContainerSpec], named: str | None = None
) -> ContainerSpec:
    """The container that the destination's ending means.

    A pipe has no ending: there it is ``named``, or else Matroska, which holds nearly everything.

    Raises:
        OutputError: it is a URL, has no ending, or one that no container has; ``named`` is none, or
            none that can be written into a pipe.
    """
    if destination == STANDARD:
        spec = _named(named or "mkv", containers)
        if not spec.pipes:
            fit = " or ".join(spec.name for spec in containers.values() if spec.pipes)
            raise OutputError(
                f"{spec.name} files cannot be written into a pipe: they have their index in front",
                where=result_name(destination),
                remedy=f"Choose {fit} (container in the preset), or name a file.",
            )
        return spec
    if "://" in destination:
        raise OutputError(
            "results are files, and this is a URL", where=destination, remedy="Name a file."
        )
    suffix = PurePath(destination).suffix.lower()
    for spec in containers.values():
        if suffix in spec.extensions:
            return spec
    endings = ", ".join(ending for spec in containers.values() for ending in spec.extensions)
    what = f"cannot write {suffix} files" if suffix else "the file name has no ending"
    raise OutputError(what, where=destination, remedy=f"Name it with one of {endings}.")


def container_options(
    spec: ContainerSpec, info: MediaInfo, streams: Sequence[StreamAction], notes: Notes
) -> tuple[tuple[str, str], ...]:
    """Options for the container's muxer.

    MP4 and MOV have two places for tags: boxes for a few known names, and keys for any name. A file
    has one or the other, and cover art lies in the boxes.
    """
    boxed = _BOXED_TAGS.get(spec.muxer)
    if boxed is None:
        return ()
    # The index goes to the front, so that the file plays while it loads.
    flags = "+faststart"
    names = [name for name, _ in info.metadata if name.lower() not in _STRUCTURAL_TAGS]
    unboxed = [name for name in names if name.lower().partition("-")[0] not in boxed]
    if unboxed and any(a.stream.is_cover and a.action == "copy" for a in streams):
        notes.lose(f"tags {', '.join(unboxed)}: .{spec.name} holds no such beside cover art.")
    elif unboxed:
        # This form holds any tag, but fewer programs show a title from it: only where needed.
        flags += "+use_metadata_tags"
        why = f".{spec.name} has no place of its own for {unboxed[0]}"
        notes.why("tags", "by name", why + (" and others" if len(unboxed) > 1 else ""))
    return (("movflags", flags),)


def default_destination(
    source: str,
    scale: int,
    *,
    containers: Mapping[str, ContainerSpec],
    codec: CodecSpec | None = None,
    container: str | None = None,
) -> str:
    """Where the result goes when nobody says: ``<stem>_x2.<ending>`` beside the source.

    That of a URL goes into the current folder.

    The ending is that of ``container`` if given, else the source's own where it can be written and
    holds ``codec``, else Matroska's, which holds nearly everything.

    Raises:
        OutputError: there is no container called ``container``.
        InputError, UsageError: as of :func:`path_of`.
    """
    path = path_of(source)
    ending = ".mkv"
    if container is not None:
        ending = _named(container, containers).extensions[0]
    else:
        for spec in containers.values():
            if path.suffix.lower() in spec.extensions and (
                codec is None or spec.name in codec.containers
            ):
                ending = path.suffix.lower()
    return str(path.with_name(f"{path.stem}_x{scale}{ending}"))


def _named(name: str, containers: Mapping[str, ContainerSpec]) -> ContainerSpec:
    if name not in containers:
        raise OutputError(
            f"there is no container called {name!r}",
            remedy=f"Known containers: {', '.join(containers)}.",
        )
    return containers[name]


def path_of(source: str) -> PurePath:
    """The path of a source; of a URL, what it calls the file, without folders.

    Raises:
        InputError: it is ``.``, ``/`` or nothing, which names no file.
        UsageError: it is a pipe, or the URL names no file.
    """
    if is_once(source):
        raise UsageError(
            "a pipe does not say what the result could be called",
            where=source_name(source),
            remedy="Name the result with -o; -o - is stdout.",
        )
    if "://" not in source:
        path = PurePath(source)
        if not path.name:
            raise InputError("this names no file", where=source or "''", remedy="Name a video.")
        return path
    try:
        name = PurePosixPath(unquote(urlsplit(source).path)).name
    except ValueError:
        name = ""
    if name in ("", "..") or "\0" in name:
        raise UsageError(
            "this URL does not say what the result could be called",
            where=source,
            remedy="Name the result with -o.",
        )
    return PurePath(name)

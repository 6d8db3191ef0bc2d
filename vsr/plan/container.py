"""Which container, and where the result goes when nobody says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

from vsr.errors import OutputError
from vsr.types import CodecSpec, ContainerSpec

__all__ = ["container_for", "container_options", "default_destination"]

#: Muxer -> its options. The index of an MP4 goes to the front, so that it plays while it loads.
_OPTIONS: dict[str, tuple[tuple[str, str], ...]] = {
    "mp4": (("movflags", "+faststart"),),
    "mov": (("movflags", "+faststart"),),
}


def container_for(destination: str, containers: Mapping[str, ContainerSpec]) -> ContainerSpec:
    """The container that the destination's ending means.

    Raises:
        OutputError: it has no ending, or one that no container has.
    """
    suffix = PurePath(destination).suffix.lower()
    for spec in containers.values():
        if suffix in spec.extensions:
            return spec
    endings = ", ".join(ending for spec in containers.values() for ending in spec.extensions)
    what = f"cannot write {suffix} files" if suffix else "the file name has no ending"
    raise OutputError(what, where=destination, remedy=f"Name it with one of {endings}.")


def container_options(spec: ContainerSpec) -> tuple[tuple[str, str], ...]:
    """Options for the container's muxer."""
    return _OPTIONS.get(spec.muxer, ())


def default_destination(
    source: str,
    scale: int,
    *,
    containers: Mapping[str, ContainerSpec],
    codec: CodecSpec | None = None,
    container: str | None = None,
) -> str:
    """Where the result goes when nobody says: ``<stem>_x2.<ending>`` beside the source.

    The ending is that of ``container`` if given, else the source's own where it can be written and
    holds ``codec``, else Matroska's, which holds nearly everything.

    Raises:
        OutputError: there is no container called ``container``.
    """
    path = PurePath(source)
    ending = ".mkv"
    if container is not None:
        if container not in containers:
            raise OutputError(
                f"there is no container called {container!r}",
                remedy=f"Known containers: {', '.join(containers)}.",
            )
        ending = containers[container].extensions[0]
    else:
        for spec in containers.values():
            if path.suffix.lower() in spec.extensions and (
                codec is None or spec.name in codec.containers
            ):
                ending = path.suffix.lower()
    return str(path.with_name(f"{path.stem}_x{scale}{ending}"))

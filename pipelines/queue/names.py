"""What a result is called: as its source, and never as something that is already there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from vsr.media.codecs import CODECS
from vsr.media.containers import CONTAINERS
from vsr.media.write.atomic import is_temporary
from vsr.plan import default_preset
from vsr.plan.codec import NVENC, find_codec, preset_for
from vsr.plan.container import default_destination, path_of
from vsr.preset import Preset, load_preset

__all__ = ["candidates", "leftovers", "name_beside", "name_in", "preset_of", "remove_leftovers"]


def preset_of(wishes: Mapping[str, Any]) -> Preset:
    """The preset that counts under these wishes.

    Raises:
        VsrError: there is no such preset, or it is broken.
    """
    return load_preset(wishes.get("preset") or default_preset(wishes.get("scale")))


def name_beside(source: str, wishes: Mapping[str, Any]) -> Path:
    """What the result of ``source`` is called if nobody says: ``<stem>_x2.<ending>`` beside it.

    That of a URL is in the current folder.

    Raises:
        VsrError: there is no such codec, container or preset.
    """
    preset = preset_for(wishes.get("codec"), preset_of(wishes), CODECS)
    codec = wishes.get("codec") or preset.codec
    return Path(
        default_destination(
            source,
            wishes.get("scale") or preset.scale or 2,
            containers=CONTAINERS,
            codec=find_codec(codec, CODECS) if codec not in (None, NVENC) else None,
            container=preset.container,
        )
    )


def name_in(folder: Path, source: str, wishes: Mapping[str, Any]) -> Path:
    """What the result of ``source`` is called in ``folder``: as the source, unless that is there.

    Raises:
        VsrError: there is no such codec, container or preset.
    """
    beside, path = name_beside(source, wishes), Path(path_of(source))
    if os.path.realpath(folder) == os.path.realpath(path.parent):
        return folder / beside.name
    return folder / f"{path.stem}{beside.suffix}"


def candidates(source: Path, ending: str) -> Iterator[Path]:
    """Names for the result of ``source``, without end, in the order in which they are tried.

    ``a.mkv``; if that is taken and the source is no .mkv file, ``a.mp4.mkv``, which says whose
    result it is; then ``a (2).mkv``, ``a (3).mkv``.

    Args:
        source: path of the source inside the watched folder; its folders are kept.
        ending: of the result, with the dot.
    """
    yield source.with_name(source.stem + ending)
    if source.suffix and source.suffix.lower() != ending:
        yield source.with_name(source.name + ending)
    for number in count(2):
        yield source.with_name(f"{source.stem} ({number}){ending}")


def leftovers(destination: Path) -> Iterator[Path]:
    """Temporary files of runs for ``destination`` that were killed before they could clean up.

    Only where nobody is writing to ``destination`` now are they left over.
    """
    if destination.parent.is_dir():
        for path in destination.parent.iterdir():
            if is_temporary(path.name, destination):
                yield path


def remove_leftovers(destination: Path) -> None:
    """Remove what :func:`leftovers` finds.

    Raises:
        OSError: the folder cannot be listed, or a file not be removed.
    """
    for left in leftovers(destination):
        left.unlink(missing_ok=True)

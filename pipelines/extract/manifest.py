"""What was extracted from where, so that anybody can check it again: a JSON file beside it."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from vsr import __version__
from vsr.errors import InputError
from vsr.media.frame_hash import HASH_RULE
from vsr.media.write.pictures import MANIFEST
from vsr.types import VideoStreamInfo
from vsr.types.place import on_disk
from vsr.types.plain import to_plain

__all__ = [
    "ExtractedFrame",
    "Manifest",
    "file_sha256",
    "manifest_of",
    "path_from",
    "stream_facts",
]

_FORMAT, _VERSION = "vsr-extract", 1


@dataclass(frozen=True, slots=True)
class ExtractedFrame:
    """One frame.

    Attributes:
        index: in the source's presentation order, from 0.
        pts: the source's timestamp, in ticks of the manifest's time base.
        clip_pts: the clip's, in the same ticks: ``pts`` minus that of the first frame.
        duration: ticks until the next frame.
        sha256: of its samples, as :data:`vsr.media.frame_hash.HASH_RULE` says, in hex.
        file: name of its PNG file; ``None`` in a clip.
        file_sha256: SHA-256 of that file, in hex.
    """

    index: int
    pts: int
    clip_pts: int
    duration: int
    sha256: str
    file: str | None = None
    file_sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a manifest holds.

    Attributes:
        kind: ``video`` (an FFV1 clip) or ``png`` (a file for each frame).
        file: name of the clip, beside the manifest; empty for ``png``.
        source: path of the source from the manifest's folder, as it was; or a URL.
        source_bytes: its size. ``source_sha256``: of the file, ``None`` for a URL.
        stream: index of the video stream.
        format: pixel format of the samples that were hashed. ``width``, ``height``: theirs.
        time_base: seconds per tick.
        frames: in order, without a gap.
        about: what else is known of the source's stream, as JSON.
        given_up: what the clip lacks, a sentence each.
    """

    kind: Literal["video", "png"]
    file: str
    source: str
    source_bytes: int
    source_sha256: str | None
    stream: int
    format: str
    width: int
    height: int
    time_base: Fraction
    frames: tuple[ExtractedFrame, ...]
    about: dict[str, Any]
    given_up: tuple[str, ...] = ()

    def dump(self) -> bytes:
        """The file's content."""
        data = {
            "manifest": _FORMAT,
            "version": _VERSION,
            "made_by": f"vsr {__version__}",
            "kind": self.kind,
            "file": self.file,
            "source": {
                "path": self.source,
                "bytes": self.source_bytes,
                "sha256": self.source_sha256,
                "stream": self.stream,
            },
            "format": self.format,
            "width": self.width,
            "height": self.height,
            "time_base": to_plain(self.time_base),
            "about": self.about,
            "given_up": list(self.given_up),
            "hash": HASH_RULE,
        }
        head = json.dumps(data, indent=2, ensure_ascii=False)
        # A line for each frame, so that people and diff can read it.
        rows = [
            json.dumps({k: v for k, v in to_plain(frame).items() if v is not None})
            for frame in self.frames
        ]
        body = ",\n    ".join(rows)
        return f'{head[:-2]},\n  "frames": [\n    {body}\n  ]\n}}\n'.encode(
            errors="backslashreplace"  # a source's name need not be text
        )

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """Read one.

        Raises:
            InputError: the file cannot be read, or is no manifest of a version known here.
        """
        try:
            data = json.loads(path.read_bytes())
        except OSError as error:
            raise InputError(
                f"the manifest cannot be read: {error.strerror}", where=str(path)
            ) from error
        except ValueError as error:
            raise _malformed(path, "it is not JSON") from error
        if not isinstance(data, dict) or data.get("manifest") != _FORMAT:
            raise _malformed(path, "it is no manifest of vsr extract")
        if data.get("version") != _VERSION:
            raise InputError(
                f"the manifest has version {data.get('version')}, and this vsr knows {_VERSION}",
                where=str(path),
                remedy="Check it with the version of vsr that made it or a later one.",
            )
        try:
            loaded = _loaded(data)
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise _malformed(path, f"{error} is missing or wrong") from error
        if not loaded.frames:
            raise _malformed(path, "it lists no frames")
        return loaded


def _loaded(data: dict[str, Any]) -> Manifest:
    source = data["source"]
    if data["kind"] not in ("video", "png"):
        raise ValueError("kind")
    return Manifest(
        kind=data["kind"],
        file=str(data["file"]),
        source=str(source["path"]),
        source_bytes=int(source["bytes"]),
        source_sha256=source["sha256"],
        stream=int(source["stream"]),
        format=str(data["format"]),
        width=int(data["width"]),
        height=int(data["height"]),
        time_base=Fraction(data["time_base"]),
        frames=tuple(ExtractedFrame(**frame) for frame in data["frames"]),
        about=dict(data["about"]),
        given_up=tuple(data["given_up"]),
    )


def _malformed(path: Path, why: str) -> InputError:
    return InputError(
        f"the manifest is malformed: {why}",
        where=str(path),
        remedy="Name a clip, a folder or a manifest that vsr extract has written.",
    )


def manifest_of(path: str) -> Path:
    """The manifest that belongs to a clip or a folder of pictures, or ``path`` if it is one."""
    given = Path(path)
    if given.is_dir():
        return given / MANIFEST
    return given if given.suffix.lower() == ".json" else given.with_name(f"{given.name}.json")


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file, in hex.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"it cannot be read: {error.strerror}", where=str(path)) from error


def path_from(folder: Path, source: str) -> str:
    """How a manifest in ``folder`` names its source."""
    if not on_disk(source):
        return source
    try:
        return Path(os.path.relpath(source, folder)).as_posix()
    except ValueError:  # another drive of a Windows machine
        return str(Path(source).resolve())


def stream_facts(video: VideoStreamInfo) -> dict[str, Any]:
    """What a person may want to know of the source's stream, beside its samples."""
    names = (
        *("codec", "profile", "native_format", "color", "sar", "average_rate", "display_matrix"),
        *("interlaced", "top_field_first", "variable_rate", "hdr", "dolby_vision", "dynamic_hdr"),
    )
    return {name: to_plain(getattr(video, name)) for name in names}

"""Whether a clip, and the file it came from, still hold the frames that the manifest lists."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from pipelines.extract.manifest import ExtractedFrame, Manifest, file_sha256, manifest_of
from vsr.errors import DecodeError, InputError, VerifyError
from vsr.media.frame_hash import frame_hashes
from vsr.media.probe import probe
from vsr.media.read.part import Located, Mistrusted, Part, locate, part_frames
from vsr.media.read.reader import ReadRequest, ReadStats
from vsr.types import VideoStreamInfo
from vsr.types.place import on_disk

__all__ = ["CheckReport", "check_extract"]


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What was found to be as it should; anything else is an error.

    Attributes:
        manifest: its path.
        frames: how many it lists.
        clip: path of the clip or folder, all of whose frames are as listed.
        source: path of the source, if that was looked at and has the same frames; else ``None``.
        notes: what was not looked at and why, a sentence each.
    """

    manifest: str
    frames: int
    clip: str
    source: str | None
    notes: tuple[str, ...]


def check_extract(
    path: str | Path, *, source: str | Path | None = None, reader: str = "pyav"
) -> CheckReport:
    """Read a clip and its source again, and compare every frame with the manifest.

    Args:
        path: a manifest, or the clip or folder it belongs to.
        source: where the source is; by default where the manifest says. There, but only there, it
            may be missing.
        reader: row of the reader table.

    Raises:
        InputError: something cannot be read.
        VerifyError: something is not as listed; it names the first frame that differs.
    """
    where = manifest_of(str(path))
    manifest = Manifest.load(where)
    folder = where.parent
    clip = folder / manifest.file if manifest.kind == "video" else folder
    notes: list[str] = []
    if manifest.kind == "video":
        _check_clip(manifest, str(clip), reader)
    else:
        _check_pictures(manifest, folder)
    origin = _source(manifest, folder, None if source is None else str(source), notes)
    if origin is not None:
        _check_source(manifest, origin, reader, notes)
    return CheckReport(str(where), len(manifest.frames), str(clip), origin, tuple(notes))


def _check_clip(manifest: Manifest, path: str, reader: str) -> None:
    video = probe(path).videos[0]
    _check_shape(manifest, video, path)
    expected = [
        replace(frame, index=at, pts=frame.clip_pts) for at, frame in enumerate(manifest.frames)
    ]
    # Matroska counts milliseconds, whatever the source counted.
    rounding = Fraction(0)
    if (manifest.time_base / video.time_base).denominator != 1:
        rounding = video.time_base / 2
    found = _read(path, video, Part(), reader)
    _compare(manifest, expected, found, video.time_base, rounding, path)


def _check_pictures(manifest: Manifest, folder: Path) -> None:
    for frame in manifest.frames:
        name = frame.file or ""
        # A manifest from elsewhere must not make anybody read outside its folder.
        if not name or Path(name).name != name:
            raise InputError(f"{name!r} is no name of a picture", where=str(folder))
        if not (folder / name).is_file():
            raise VerifyError(
                f"the picture {name} of frame {frame.index} is missing", where=str(folder)
            )
        if file_sha256(folder / name) != frame.file_sha256:
            raise VerifyError(
                f"the picture {name} of frame {frame.index} is not the one that was written",
                where=str(folder),
                remedy="Extract it again.",
            )


def _source(manifest: Manifest, folder: Path, given: str | None, notes: list[str]) -> str | None:
    if given is not None:
        return given
    path = manifest.source if "://" in manifest.source else str(folder / manifest.source)
    if not on_disk(path):
        kind = "URL" if "://" in path else "pipe"
        notes.append(
            f"The source is a {kind} ({path}) and was not looked at; name it with --source."
        )
        return None
    if not Path(path).exists():
        notes.append(f"The source is not at {path} and was not looked at; name it with --source.")
        return None
    return path


def _check_source(manifest: Manifest, path: str, reader: str, notes: list[str]) -> None:
    info = probe(path)
    streams = [v for v in info.videos if v.index == manifest.stream]
    if not streams:
        raise VerifyError(f"stream {manifest.stream} is no video stream", where=path)
    video = streams[0]
    _check_shape(manifest, video, path)
    first, last = manifest.frames[0].index, manifest.frames[-1].index
    part = Part(first, last + 1)
    try:
        found = _read(path, video, part, reader)
        _compare(manifest, list(manifest.frames), found, video.time_base, Fraction(0), path)
    except DecodeError:
        raise
    except InputError as error:
        raise VerifyError(
            f"the frames {first} to {last} are not in it: {error.what}", where=path
        ) from error
    if on_disk(path) and manifest.source_sha256 not in (None, file_sha256(path)):
        notes.append(
            f"The file {path} is not the one that was extracted from (its SHA-256 differs), but "
            "these frames are the same."
        )


def _read(path: str, video: VideoStreamInfo, part: Part, reader: str) -> list[ExtractedFrame]:
    request = ReadRequest(path, video)
    located = locate(path, video, part)
    try:
        return list(_frames(request, part, located, reader))
    except Mistrusted:
        return list(_frames(request, part, None, reader))


def _frames(
    request: ReadRequest, part: Part, located: Located | None, reader: str
) -> Iterator[ExtractedFrame]:
    for batch in part_frames(request, part, located, ReadStats(), reader):
        for at, digest in enumerate(frame_hashes(batch)):
            pts = batch.pts[at]
            yield ExtractedFrame(batch.first_index + at, pts, 0, batch.durations[at], digest)


def _check_shape(manifest: Manifest, video: VideoStreamInfo, path: str) -> None:
    have = (video.width, video.height, video.format.name)
    want = (manifest.width, manifest.height, manifest.format)
    if have != want:
        raise VerifyError(
            "the picture is {}x{} {}".format(*have) + " instead of {}x{} {}".format(*want),
            where=path,
        )


def _compare(
    manifest: Manifest,
    expected: list[ExtractedFrame],
    found: list[ExtractedFrame],
    tick: Fraction,
    rounding: Fraction,
    path: str,
) -> None:
    """Raise at the first frame whose samples or time differ.

    Args:
        expected, found: pts in ticks of the manifest, and of the file that was read, which are
            ``tick`` seconds.
        rounding: seconds by which times may differ.
    """
    for want, have, listed in zip(expected, found, manifest.frames, strict=False):
        name = f"frame {listed.index}"
        if have.sha256 != want.sha256:
            raise VerifyError(
                f"{name} differs: its hash is {have.sha256[:16]}... instead of "
                f"{want.sha256[:16]}...",
                where=path,
                remedy="The file was changed or decodes otherwise here; extract it again.",
            )
        if abs(have.pts * tick - want.pts * manifest.time_base) > rounding:
            raise VerifyError(
                f"{name} is at {float(have.pts * tick):.6f} s instead of "
                f"{float(want.pts * manifest.time_base):.6f} s",
                where=path,
            )
    if len(found) != len(expected):
        raise VerifyError(
            f"there are {len(found)} frames instead of {len(expected)}: "
            f"frame {manifest.frames[min(len(found), len(expected) - 1)].index} is the first that "
            + ("is missing" if len(found) < len(expected) else "is followed by others"),
            where=path,
        )

"""Exactly some frames of a video, losslessly, with their timestamps and a hash of each."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

from pipelines.events import Event, Progress, Warned
from pipelines.manifest import (
    ExtractedFrame,
    Manifest,
    file_sha256,
    manifest_of,
    path_from,
    stream_facts,
)
from vsr.errors import InputError, OutputError, UsageError, VerifyError
from vsr.media.codecs import CODECS
from vsr.media.containers import container_of
from vsr.media.frame_hash import frame_hashes
from vsr.media.probe import probe
from vsr.media.read.part import Located, Mistrusted, Part, locate, part_frames
from vsr.media.read.reader import ReadRequest, ReadStats, open_reader
from vsr.media.read.scenes import Scene, scenes
from vsr.media.write.atomic import AtomicFile
from vsr.media.write.pictures import PictureSet, is_pictures, png
from vsr.media.write.writer import Writer
from vsr.plan import Request, select_video
from vsr.plan.color import decide_color
from vsr.plan.notes import Notes
from vsr.types import (
    Color,
    EncodePlan,
    FrameBatch,
    MediaInfo,
    ModelPlan,
    Plan,
    Trim,
    VideoStreamInfo,
)

__all__ = ["ExtractReport", "extract", "list_scenes"]

Listener = Callable[[Event], None]

_BATCH_BYTES = 32 << 20
# As in the preset ffv1: every frame for itself, checksums in each slice.
_FFV1 = (("level", "3"), ("coder", "1"), ("context", "1"), ("slices", "16"), ("slicecrc", "1"))


@dataclass(frozen=True, slots=True)
class ExtractReport:
    """What was extracted.

    Attributes:
        source, destination: paths.
        manifest: path of the manifest.
        kind: ``video`` (an FFV1 clip) or ``png``.
        bytes: size of the clip, or of all pictures.
        source_sha256: of the source file; ``None`` for a URL.
        time_base: seconds per tick of all times here.
        frames: what was written, in order.
        found_by: how the frames' indices were found: ``packets`` (read off, not decoded) or
            ``decoding`` (everything before them was decoded).
        corrupt_packets, concealed_frames: damage of the source among them.
        given_up: what the result lacks, a sentence each.
        warnings: what was odd.
        seconds: how long it took.
    """

    source: str
    destination: str
    manifest: str
    kind: Literal["video", "png"]
    bytes: int
    source_sha256: str | None
    time_base: Fraction
    frames: tuple[ExtractedFrame, ...]
    found_by: Literal["packets", "decoding"]
    corrupt_packets: int
    concealed_frames: int
    given_up: tuple[str, ...]
    warnings: tuple[str, ...]
    seconds: float


def extract(
    source: str | Path,
    destination: str | Path | None = None,
    *,
    first: int | None = None,
    stop: int | None = None,
    start: Fraction | None = None,
    end: Fraction | None = None,
    frames: int | None = None,
    scene: int | None = None,
    video_stream: int | None = None,
    reader: str = "pyav",
    overwrite: bool = False,
    on_event: Listener | None = None,
) -> ExtractReport:
    """Write exactly the frames asked for, losslessly, and a manifest beside them.

    The clip is read back and each frame's hash compared before it gets its name. Pictures only:
    sound and all other streams stay behind.

    Args:
        source: any file FFmpeg reads.
        destination: ``.mkv`` or ``.mp4`` for FFV1; a folder or ``frames_%06d.png`` for PNG files,
            numbered by the frames' indices; ``<stem>_clip.mkv`` beside the source by default.
        first: index of the first frame, from 0. ``stop``: index of the one behind the last.
        start: seconds from the file's first frame. ``end``: likewise; frames shown at that time
            or later are not wanted.
        frames: exactly so many.
        scene: number of the scene between two cuts, from 1, as :func:`list_scenes` counts.
        video_stream: index of the stream; the default one if there are several.
        reader: row of the reader table.
        overwrite: replace results that are there.
        on_event: called with progress and warnings, from the calling thread.

    Raises:
        UsageError: the request contradicts itself.
        InputError: the source cannot be read, or not all of the frames are in it.
        OutputError: the result cannot be written. ``VerifyError``: it was, and is not the same.
    """
    begun = time.perf_counter()
    path = str(source)
    part = _part(first, stop, start, end, frames, scene)
    info = probe(path)
    video = select_video(info, video_stream)
    target = str(destination) if destination is not None else _beside(path)
    job = _Job(info, video, target, overwrite, reader, on_event or (lambda _: None))
    job.look_ahead()
    if scene is not None:
        part = _scene_part(job, scene, frames)
    located = locate(path, video, part)
    try:
        report = job.run(part, located)
    except Mistrusted:
        report = job.run(part, None)
    for message in report.warnings:
        job.tell(Warned(message))
    return replace(report, seconds=time.perf_counter() - begun)


def list_scenes(
    source: str | Path, *, video_stream: int | None = None, reader: str = "pyav"
) -> Iterator[Scene]:
    """The scenes of a video, each as soon as its end is known; the whole video is decoded.

    Raises:
        InputError: the file cannot be read.
    """
    video = select_video(probe(str(source)), video_stream)
    yield from scenes(_batches(ReadRequest(str(source), video, batch=_batch(video)), reader))


def _batches(request: ReadRequest, reader: str) -> Iterator[FrameBatch]:
    with open_reader(reader, request) as opened:
        yield from (item for item in opened if isinstance(item, FrameBatch))


def _part(
    first: int | None,
    stop: int | None,
    start: Fraction | None,
    end: Fraction | None,
    frames: int | None,
    scene: int | None,
) -> Part:
    ways = [(first, stop) != (None, None), (start, end) != (None, None), scene is not None]
    if sum(ways) > 1:
        raise UsageError(
            "a range of indices, a time and a scene exclude each other",
            remedy="Give --range, or --start and --end, or --scene.",
        )
    if first is not None and first < 0:
        raise UsageError("the index of a frame is not below 0")
    for low, high in ((first or 0, stop), (start or Fraction(0), end)):
        if high is not None and high <= low:
            raise UsageError(
                f"the part ends at {float(high):g}, where it begins ({float(low):g}) or before",
                remedy="The frame at the end is not part of it: 10:12 are the frames 10 and 11.",
            )
    if stop is not None and frames is not None:
        raise UsageError("a range with an end and a number of frames exclude each other")
    return Part(first or 0, stop, start, end, frames)


def _scene_part(job: _Job, number: int, frames: int | None) -> Part:
    count = 0
    found = list_scenes(job.path, video_stream=job.video.index, reader=job.reader)
    for count, scene in enumerate(found, 1):  # noqa: B007 - the count is used behind the loop
        if scene.number == number:
            stop = scene.stop if frames is None else scene.first + frames
            if stop > scene.stop:
                raise InputError(
                    f"scene {number} has only {scene.stop - scene.first} frames",
                    where=job.path,
                    remedy="`vsr extract --list-scenes` shows them.",
                )
            return Part(scene.first, stop)
    raise InputError(
        f"there is no scene {number}: the video has {count}",
        where=job.path,
        remedy="`vsr extract --list-scenes` shows them; they are counted from 1.",
    )


def _beside(source: str) -> str:
    if "://" in source:
        raise UsageError("a URL has no folder for the result", remedy="Name it: -o clip.mkv.")
    path = Path(source)
    return str(path.with_name(f"{path.stem}_clip.mkv"))


def _batch(video: VideoStreamInfo) -> int:
    size = 3 * video.width * video.height * video.format.bytes_per_sample
    return max(1, min(8, _BATCH_BYTES // size))


class _Job:
    """One source and one destination."""

    def __init__(
        self,
        info: MediaInfo,
        video: VideoStreamInfo,
        destination: str,
        overwrite: bool,
        reader: str,
        tell: Listener,
    ) -> None:
        self.info, self.video, self.path = info, video, info.path
        self.destination, self.overwrite = destination, overwrite
        self.reader, self.tell = reader, tell
        self._pictures = is_pictures(destination)

    def look_ahead(self) -> None:
        """Raise in time what the destination would fail with after the source has been decoded."""
        if self._pictures:
            PictureSet(self.destination, overwrite=self.overwrite).discard()
            return
        row = container_of(Path(self.destination).suffix)
        holders = CODECS["ffv1"].containers
        if row is None or row.name not in holders:
            raise OutputError(
                f"{Path(self.destination).suffix or 'a name without an ending'!r} cannot hold "
                "lossless FFV1",
                where=self.destination,
                remedy="Name a .mkv or .mp4 file; for pictures a folder (with / at the end) or "
                "frames_%06d.png.",
            )
        self._container = row.name
        AtomicFile(self.destination, overwrite=self.overwrite, source=_local(self.path)).discard()
        AtomicFile(str(manifest_of(self.destination)), overwrite=self.overwrite).discard()

    def run(self, part: Part, located: Located | None) -> ExtractReport:
        """Read and write.

        Raises:
            Mistrusted: ``located`` was not where the frames are. Nothing has been written.
        """
        stats = ReadStats()
        request = ReadRequest(self.path, self.video, batch=_batch(self.video))
        batches = part_frames(request, part, located, stats, self.reader)
        batches = self._watched(batches, None if located is None else len(located.times))
        write = self._write_pictures if self._pictures else self._write_clip
        manifest, size = write(batches)
        return ExtractReport(
            source=self.path,
            destination=self.destination,
            manifest=str(self._manifest_path),
            kind=manifest.kind,
            bytes=size,
            source_sha256=manifest.source_sha256,
            time_base=manifest.time_base,
            frames=manifest.frames,
            found_by="decoding" if located is None else "packets",
            corrupt_packets=stats.corrupt_packets,
            concealed_frames=stats.concealed_frames,
            given_up=manifest.given_up,
            warnings=tuple(stats.warnings),
            seconds=0.0,
        )

    def _watched(self, batches: Iterable[FrameBatch], total: int | None) -> Iterator[FrameBatch]:
        begun, frames, reading = time.perf_counter(), 0, 0.0
        at = begun
        for batch in batches:
            reading += time.perf_counter() - at
            yield batch
            at = time.perf_counter()
            frames += len(batch)
            rate = frames / max(at - begun, 1e-9)
            left = None if total is None else (total - frames) / rate
            slower = "decode" if reading > (at - begun) / 2 else "encode"
            self.tell(Progress(frames, total, rate, left, slower))

    def _write_clip(self, batches: Iterator[FrameBatch]) -> tuple[Manifest, int]:
        self._manifest_path = manifest_of(self.destination)
        held = next(batches)
        plan = self._plan(held.pts[0])
        frames: list[ExtractedFrame] = []
        written: list[Manifest] = []
        notes = AtomicFile(str(self._manifest_path), overwrite=self.overwrite)
        try:
            with Writer(plan) as writer:
                for batch in _chain(held, batches):
                    frames += _records(batch, frames)
                    writer.write(batch)

                def check(path: Path) -> None:
                    given_up = self._compare(path, frames)
                    manifest = self._manifest("video", frames, given_up)
                    _write(notes.path, manifest.dump())
                    written.append(manifest)

                size = writer.finish(check).bytes
            notes.commit()
        finally:
            notes.discard()
        return written[0], size

    def _write_pictures(self, batches: Iterator[FrameBatch]) -> tuple[Manifest, int]:
        color = decide_color(self.video, Request(source=self.path), Notes())
        pictures = PictureSet(self.destination, overwrite=self.overwrite)
        self._manifest_path = pictures.manifest
        frames: list[ExtractedFrame] = []
        size = 0
        try:
            for batch in batches:
                files = png(replace(batch, color=color), self.video.sar)
                for record, data in zip(_records(batch, frames), files, strict=True):
                    name = pictures.name(record.index)
                    pictures.add(name, data)
                    digest = hashlib.sha256(data).hexdigest()
                    frames.append(replace(record, file=name, file_sha256=digest))
                    size += len(data)
            manifest = self._manifest("png", frames, self._picture_losses())
            pictures.add(self._manifest_path.name, manifest.dump())
            pictures.commit()
        finally:
            pictures.discard()
        return manifest, size

    def _manifest(
        self, kind: Literal["video", "png"], frames: list[ExtractedFrame], given_up: list[str]
    ) -> Manifest:
        video = self.video
        local = _local(self.path)
        return Manifest(
            kind=kind,
            file=Path(self.destination).name if kind == "video" else "",
            source=path_from(self._manifest_path.parent, self.path),
            source_bytes=self.info.size,
            source_sha256=None if local is None else file_sha256(local),
            stream=video.index,
            format=video.format.name,
            width=video.width,
            height=video.height,
            time_base=video.time_base,
            frames=tuple(frames),
            about=stream_facts(video),
            given_up=tuple(given_up),
        )

    def _plan(self, first_pts: int) -> Plan:
        """The writer's plan: the source's own samples and tags, from time zero."""
        video = self.video
        tags = tuple(p for p in video.metadata if p[0].lower() in ("language", "title"))
        encode = EncodePlan(
            name="ffv1",
            encoder="ffv1",
            format=video.format,
            options=_FFV1,
            codec_tag=None,
            tags=video.color,
            hdr=video.hdr,
            hdr_param=None if video.hdr is None else "container",
            gop=1,
        )
        return Plan(
            source=self.path,
            destination=self.destination,
            info=self.info,
            video=replace(video, metadata=tags),
            trim=Trim(start=first_pts),
            time_shift=-first_pts * video.time_base,
            deinterlace=False,
            on_resize="error",
            reader=self.reader,
            backend="cpu",
            device="cpu",
            dtype="float32",
            batch=_batch(video),
            model=ModelPlan("none", 1),
            width=video.width,
            height=video.height,
            sar=video.sar,
            color=video.color,
            encode=encode,
            container=self._container,
            container_options=(),
            streams=(),
            chapters=False,
            metadata=False,
            verify=True,
            strict=False,
            overwrite=self.overwrite,
            reasons=(),
            given_up=(),
        )

    def _compare(self, path: Path, frames: list[ExtractedFrame]) -> list[str]:
        """Read the clip back.

        Returns:
            What it lacks of the source, a sentence each.

        Raises:
            VerifyError: a frame is not the same.
        """
        clip = probe(str(path)).videos[0]
        if clip.format != self.video.format:
            raise VerifyError(
                f"the clip has {clip.format.name} instead of {self.video.format.name}",
                where=self.destination,
            )
        found: list[str] = []
        for batch in _batches(ReadRequest(str(path), clip, batch=_batch(clip)), self.reader):
            found += frame_hashes(batch)
        wanted = [frame.sha256 for frame in frames]
        if found != wanted:
            pairs = zip(found, frames, strict=False)
            first = next((frame.index for have, frame in pairs if have != frame.sha256), None)
            raise VerifyError(
                f"the clip has {len(found)} frames instead of {len(wanted)}"
                if first is None
                else f"frame {first} of the source is not the same in the clip",
                where=self.destination,
            )
        return [*_clip_losses(self.video, clip, self._container), *_dynamic_losses(self.video)]

    def _picture_losses(self) -> list[str]:
        lost = [
            "Timestamps: PNG files have none; the manifest holds them.",
            "Samples: PNG files hold RGB; the manifest's frame hashes are those of the source's "
            f"own {self.video.format.name}.",
        ]
        if self.video.display_matrix is not None:
            lost.append("Turning and mirroring on display: the pictures lie as they are coded.")
        if self.video.hdr is not None:
            lost.append("HDR10 metadata (mastering display, light levels): the manifest holds it.")
        return [*lost, *_dynamic_losses(self.video)]


def _clip_losses(video: VideoStreamInfo, clip: VideoStreamInfo, container: str) -> Iterator[str]:
    """What the container or FFV1 did not keep, as reading it back shows."""
    for label, field in (
        ("pixel aspect ratio", "sar"),
        ("display matrix", "display_matrix"),
        ("HDR10 metadata (mastering display, light levels)", "hdr"),
    ):
        have, want = getattr(clip, field), getattr(video, field)
        if have != want and not (field == "hdr" and _close(have, want)):
            yield f"{label.capitalize()}: {want} became {have} in .{container}."
    for tag in ("matrix", "primaries", "transfer", "range", "site"):
        have, want = getattr(clip.color, tag), getattr(video.color, tag)
        if have != want and want != getattr(Color(), tag):
            yield f"Colour tag {tag}: {want.name} became {have.name} in .{container}."
    if container == "mkv" and (video.time_base / Fraction(1, 1000)).denominator != 1:
        yield (
            "Timestamps: Matroska rounds them to a millisecond; the manifest has the exact ticks, "
            "and .mp4 keeps them."
        )


def _close(have: object, want: object) -> bool:
    """Whether metadata that Matroska stores as floating point is the same to six digits."""
    return have is not None and want is not None and _digits(have) == _digits(want)


def _digits(value: object) -> object:
    if isinstance(value, Fraction):
        return f"{float(value):.6g}"
    if isinstance(value, tuple):
        return [_digits(item) for item in value]
    slots = getattr(value, "__slots__", None)
    return value if slots is None else [_digits(getattr(value, name)) for name in slots]


def _dynamic_losses(video: VideoStreamInfo) -> Iterator[str]:
    if video.interlaced:
        order = "top" if video.top_field_first else "bottom"
        yield (
            f"Interlacing flag: both fields of each frame are there as coded, but the result does "
            f"not say so ({order} field first)."
        )
    if video.dolby_vision:
        yield "Dolby Vision metadata: the base layer stays."
    if video.dynamic_hdr:
        yield "HDR10+ metadata (per scene): FFV1 and PNG have no place for it."


def _records(batch: FrameBatch, before: list[ExtractedFrame]) -> list[ExtractedFrame]:
    origin = before[0].pts if before else batch.pts[0]
    return [
        ExtractedFrame(batch.first_index + at, pts, pts - origin, batch.durations[at], digest)
        for at, (pts, digest) in enumerate(zip(batch.pts, frame_hashes(batch), strict=True))
    ]


def _chain(first: FrameBatch, rest: Iterator[FrameBatch]) -> Iterator[FrameBatch]:
    yield first
    yield from rest


def _local(source: str) -> str | None:
    return None if "://" in source else source


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise OutputError(
            f"the manifest cannot be written: {error.strerror}", where=str(path)
        ) from error

"""One source and one destination: reading the frames, writing them, and reading them back."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

from pipelines.events import Event, Progress
from pipelines.extract.losses import clip_losses, picture_losses
from pipelines.extract.manifest import (
    ExtractedFrame,
    Manifest,
    file_sha256,
    manifest_of,
    path_from,
    stream_facts,
)
from vsr.errors import OutputError, VerifyError
from vsr.media.codecs import CODECS
from vsr.media.containers import container_of
from vsr.media.frame_hash import frame_hashes
from vsr.media.probe import probe
from vsr.media.read.part import Located, Part, part_frames
from vsr.media.read.reader import ReadRequest, ReadStats, open_reader
from vsr.media.write.atomic import AtomicFile
from vsr.media.write.pictures import PictureSet, is_pictures, png
from vsr.media.write.writer import Writer
from vsr.plan import Request
from vsr.plan.color import decide_color
from vsr.plan.notes import Notes
from vsr.types import (
    EncodePlan,
    FrameBatch,
    MediaInfo,
    ModelPlan,
    Plan,
    Trim,
    VideoStreamInfo,
)
from vsr.types.place import on_disk

__all__ = ["ExtractJob", "ExtractReport", "batch_size", "frame_batches"]

Listener = Callable[[Event], None]

_BATCH_BYTES = 32 << 20
# Checksums in each slice; their number is the encoder's choice, which suits small pictures too.
_FFV1 = (("level", "3"), ("coder", "1"), ("context", "1"), ("slicecrc", "1"))


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


class ExtractJob:
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
        """Find out before the source is decoded whether the destination can be written.

        Raises:
            OutputError: it cannot.
        """
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
        request = ReadRequest(self.path, self.video, batch=batch_size(self.video))
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
        replaced = os.path.lexists(self.destination)
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
            try:
                notes.commit()
            except BaseException:
                # A clip is not there without its manifest, unless it has replaced another one.
                if not replaced:
                    Path(self.destination).unlink(missing_ok=True)
                raise
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
            manifest = self._manifest("png", frames, picture_losses(self.video))
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
            batch=batch_size(video),
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
        for batch in frame_batches(str(path), clip, self.reader):
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
        return clip_losses(self.video, clip, self._container)


def frame_batches(path: str, video: VideoStreamInfo, reader: str) -> Iterator[FrameBatch]:
    """All frames of a stream, and nothing else."""
    request = ReadRequest(path, video, batch=batch_size(video))
    with open_reader(reader, request) as opened:
        yield from (item for item in opened if isinstance(item, FrameBatch))


def batch_size(video: VideoStreamInfo) -> int:
    """Frames per batch that take a moderate amount of memory."""
    size = 3 * video.width * video.height * video.format.bytes_per_sample
    return max(1, min(8, _BATCH_BYTES // size))


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
    return source if on_disk(source) else None


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise OutputError(
            f"the manifest cannot be written: {error.strerror}", where=str(path)
        ) from error

"""What a file is: its streams, and what the first frames of its videos prove."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, cast

import av
import av.error
from av.container import InputContainer
from av.sidedata.sidedata import Type as SideDataType
from av.stream import Disposition, Stream
from av.video.codeccontext import VideoCodecContext

from vsr.errors import InputError, UsageError
from vsr.media.av_errors import map_av_error
from vsr.media.demux.continuity import Continuity
from vsr.media.demux.depth import demuxed
from vsr.media.demux.sample import ColorTags, Sample, frame_rate, is_variable, longest_stretch
from vsr.media.pipes.interrupted import carried
from vsr.media.read.repack import native_range, repack_for
from vsr.media.read.timestamps import DEEPEST_REORDER, has_packet_pts
from vsr.media.side_data import has_dolby_colors, side_data
from vsr.media.source import decoder_of, hidden_borders, open_source, tagged_site
from vsr.types import (
    PIXEL_FORMATS,
    Chapter,
    ChromaSite,
    Color,
    ColorRange,
    HdrMetadata,
    Matrix,
    MediaInfo,
    PixelFormat,
    Primaries,
    StreamInfo,
    StreamKind,
    Transfer,
    VideoStreamInfo,
)
from vsr.types.place import on_disk

__all__ = ["probe"]

_PACKETS = 256  # timestamps sampled per video stream
_MOST_PACKETS, _MOST_BYTES = 20_000, 128 << 20  # read of the whole file while sampling

# AVFieldOrder (libavcodec/defs.h): TT, BB, TB and BT are interlaced, and of those TT and BT show
# the top field first.
_INTERLACED_ORDERS, _TOP_FIRST_ORDERS = (2, 3, 4, 5), (2, 5)

# Codecs whose standard fixes the siting.
_SITES = {"mjpeg": ChromaSite.CENTER, "mpeg1video": ChromaSite.CENTER}

_DOLBY_VISION_TAGS = {"dvh1", "dvhe", "dva1", "dvav", "dav1"}
_UNEVEN = {"mpeg4"}  # packets may hold two frames or none


def probe(path: str | Path) -> MediaInfo:
    """Look at a file: read its header, some of its packets, and decode a few frames.

    Everything is reported as it is tagged; untagged stays unspecified. Timestamps and rates come
    from the first 256 packets of each video stream, discarded ones (edit lists) left out.

    Raises:
        InputError: it cannot be opened, has no video stream, or none that can be decoded.
        UsageError: ``path`` is no path.
    """
    if not isinstance(path, str | Path):
        raise UsageError(f"path must be text or a pathlib.Path, not {path!r}")
    path = str(path)
    with carried(), open_source(path) as container:
        try:
            return _Prober(path, container).run()
        except av.error.FFmpegError as error:
            raise map_av_error(error, path, "read the file") from error


class _Prober:
    def __init__(self, path: str, container: InputContainer) -> None:
        self.path = path
        self.container = container
        self.warnings: list[str] = []
        self.reached_end = False
        self.joinable = False  # recordings may follow each other in it

    def run(self) -> MediaInfo:
        videos = [
            s
            for s in self.container.streams.video
            if not s.disposition & Disposition.attached_pic and s.codec_context is not None
        ]
        samples = {v.index: Sample.of(v) for v in videos}
        self._sample(videos, samples)
        streams = tuple(self._stream(s, samples.get(s.index)) for s in self.container.streams)
        duration = self.container.duration
        info = MediaInfo(
            path=self.path,
            container=self.container.format.name,
            size=Path(self.path).stat().st_size if on_disk(self.path) else 0,
            duration=None if duration is None else Fraction(duration, av.time_base),
            streams=streams,
            chapters=tuple(_chapter(c) for c in self.container.chapters()),
            metadata=tuple(self.container.metadata.items()),
            warnings=tuple(self.warnings),
        )
        if not info.videos:
            raise self._no_video(info)
        return info

    def _no_video(self, info: MediaInfo) -> InputError:
        if any(s.kind == "video" and not s.is_cover for s in info.streams):
            return InputError(
                "none of its video streams can be decoded: " + " ".join(self.warnings),
                where=self.path,
                remedy="Convert the file with another program first.",
            )
        kinds = sorted({"cover art" if s.is_cover else s.kind for s in info.streams})
        return InputError(
            f"it has no video stream, only {', '.join(kinds)}" if kinds else "it has no streams",
            where=self.path,
            remedy="Name a file with moving pictures.",
        )

    def _sample(self, videos: Sequence[av.VideoStream], samples: dict[int, Sample]) -> None:
        """Read packets until every video stream has been seen enough of, or the limits are hit."""
        packets = size = 0
        waiting = {v.index for v in videos}
        decoders = {v.index: decoder_of(v) for v in videos}
        try:
            for packet in self._packets(videos):
                packets, size = packets + 1, size + packet.size
                sample = samples.get(packet.stream_index)
                if sample is not None and packet.size:
                    decoder = decoders[packet.stream_index]
                    self._look_at(cast("av.Packet[av.VideoStream]", packet), decoder, sample)
                    if sample.packets >= _PACKETS and len(sample.frames) >= 1:
                        waiting.discard(packet.stream_index)
                if not waiting or packets >= _MOST_PACKETS or size >= _MOST_BYTES:
                    break
            else:
                self.reached_end = True
        except av.error.FFmpegError as error:
            self.warnings.append(f"Reading stopped early while probing: {error}.")
        for video in videos:
            sample = samples[video.index]
            if sample.wants_frames:
                try:
                    sample.take(decoders[video.index].decode(None))
                except av.error.FFmpegError:
                    sample.errors += 1

    def _packets(self, videos: Sequence[av.VideoStream]) -> Iterator[av.Packet[Any]]:
        packets = demuxed(self.container, self.container.streams)
        if not videos:
            return packets
        continuity = Continuity(self.container, videos[0].index)
        self.joinable = continuity.possible
        return continuity.through(packets)

    def _look_at(
        self, packet: av.Packet[av.VideoStream], decoder: VideoCodecContext, sample: Sample
    ) -> None:
        sample.note(packet)
        if sample.wants_frames:
            try:
                sample.take(decoder.decode(packet))
            except av.error.FFmpegError:
                sample.errors += 1

    def _stream(self, stream: Stream, sample: Sample | None) -> StreamInfo:
        context: Any = stream.codec_context
        kind: StreamKind = stream.type if stream.type != "unknown" else "data"
        common: dict[str, Any] = {
            "index": stream.index,
            "kind": kind,
            "codec": _codec_name(stream),
            "time_base": stream.time_base or Fraction(1, av.time_base),
            "start": stream.start_time,
            "duration": stream.duration,
            "dispositions": _dispositions(stream.disposition),
            "metadata": tuple(stream.metadata.items()),
            "profile": context.profile if context is not None else None,
            "bit_rate": (context.bit_rate or None) if context is not None else None,
        }
        if isinstance(stream, av.AudioStream) and context is not None:
            return StreamInfo(
                **common,
                sample_rate=context.sample_rate or None,
                channels=context.channels or None,
                layout=context.layout.name if context.channels else None,
            )
        if not isinstance(stream, av.VideoStream):
            return StreamInfo(**common)
        if context is None:
            self.warnings.append(f"Stream {stream.index} is video that no decoder here knows.")
            return StreamInfo(**common)
        return self._video(stream, common, sample or Sample.of(stream))

    def _video(self, stream: av.VideoStream, common: dict[str, Any], sample: Sample) -> StreamInfo:
        is_cover = bool(stream.disposition & Disposition.attached_pic)
        context = stream.codec_context
        first = sample.frames[0] if sample.frames else None
        if first is None and not is_cover:
            self.warnings.append(
                f"Stream {stream.index} ({common['codec']}) gave no frame from its first "
                f"{sample.packets} packets ({sample.errors} of them refused)."
            )
            return StreamInfo(**common)
        native = first.format.name if first is not None else context.pix_fmt or "rgb24"
        repack = repack_for(native)
        if repack is None and not is_cover:
            self.warnings.append(
                f"Stream {stream.index} has samples in the format {native}, which is not handled."
            )
            return StreamInfo(**common)
        fmt = repack.format if repack is not None else PIXEL_FORMATS["gbrp"]
        pts = sorted(set(sample.pts))
        if not self.reached_end:
            pts = pts[:-DEEPEST_REORDER]  # later packets may fill gaps between the last ones
        order = context.field_order
        interlaced = order in _INTERLACED_ORDERS or any(f.interlaced_frame for f in sample.frames)
        timing: Literal["presentation", "decoding", "sparse"] = "presentation"
        if not has_packet_pts(self.container) or sample.out_of_order:
            timing = "decoding"
        elif sample.is_sparse(interlaced=interlaced):
            timing = "sparse"
        steady = longest_stretch(pts, common["time_base"]) if self.joinable else pts
        untimed = sample.untimed * len(steady) // max(1, len(pts))
        rate = None if is_cover else frame_rate(stream, steady, untimed, self.reached_end)
        if timing == "decoding" and first is not None and first.dts is not None:
            common["start"] = first.dts
        elif sample.leading and rate:
            common["start"] = sample.start(1 / (rate * common["time_base"]))
        elif pts:
            common["start"] = pts[0]
        exact = (
            self.reached_end
            and has_packet_pts(self.container)
            and timing != "sparse"
            and common["codec"] not in _UNEVEN
            and 0 < len(sample.pts) == len(pts)
            and not sample.untimed
        )
        kinds = {data.type for data in side_data(sample.frames)}
        return VideoStreamInfo(
            **common,
            width=first.width if first is not None else context.width,
            height=first.height if first is not None else context.height,
            native_format=native,
            format=fmt,
            color=_color(stream, first, sample.tags, native, fmt, common["codec"]),
            sar=stream.sample_aspect_ratio or Fraction(1),
            average_rate=rate,
            display_matrix=_display_matrix(sample.frames),
            crop=(0, 0, 0, 0) if is_cover else hidden_borders(stream),
            interlaced=interlaced,
            top_field_first=order in _TOP_FIRST_ORDERS or order not in _INTERLACED_ORDERS,
            variable_rate=not sample.untimed and is_variable(steady),
            timing=timing,
            frames=1 if is_cover else len(pts) if exact else self._estimate(stream, rate),
            frames_exact=exact or is_cover,
            hdr=_hdr(sample.frames),
            dolby_vision=(context.codec_tag or "") in _DOLBY_VISION_TAGS
            or bool(kinds & {SideDataType.DOVI_METADATA, SideDataType.DOVI_RPU_BUFFER}),
            dolby_colors=has_dolby_colors(sample.frames[:1]),
            dynamic_hdr=bool(
                kinds & {SideDataType.DYNAMIC_HDR_PLUS, SideDataType.DYNAMIC_HDR_VIVID}
            ),
            side_data=tuple(sorted(kind.name.lower() for kind in kinds)),
        )

    def _estimate(self, stream: av.VideoStream, rate: Fraction | None) -> int | None:
        """Number of frames as far as the container tells."""
        if stream.frames:
            return stream.frames
        if rate is None:
            return None
        if stream.duration is not None and stream.time_base is not None:
            return round(stream.duration * stream.time_base * rate)
        if self.container.duration is not None:
            return round(Fraction(self.container.duration, av.time_base) * rate)
        return None


def _codec_name(stream: Stream) -> str:
    if stream.codec_context is not None:
        return stream.codec_context.codec.canonical_name
    if stream.type in ("data", "attachment"):
        return (getattr(stream, "name", None) if stream.type == "data" else None) or "unknown"
    return "unknown"


def _dispositions(flags: Disposition) -> tuple[str, ...]:
    return tuple(sorted(flag.name for flag in flags if flag.name))


def _chapter(chapter: Any) -> Chapter:
    return Chapter(
        id=chapter["id"],
        start=chapter["start"],
        end=chapter["end"],
        time_base=chapter["time_base"] or Fraction(1, av.time_base),
        metadata=tuple(chapter["metadata"].items()),
    )


def _color(
    stream: av.VideoStream,
    frame: av.VideoFrame | None,
    tags: ColorTags,
    native: str,
    fmt: PixelFormat,
    codec: str,
) -> Color:
    """The tags of the first frame, or the container's where the frame has none."""
    sources: list[Any] = [s for s in (frame, tags) if s is not None]
    matrix = _tag(Matrix, (s.colorspace for s in sources))
    if fmt.family != "rgb" and matrix is Matrix.RGB:
        # FFmpeg tags grey pictures from RGB codecs (PNG) so; YCbCr and grey samples cannot be RGB.
        matrix = Matrix.UNSPECIFIED
    site = _SITES.get(codec, ChromaSite.UNSPECIFIED)
    if codec not in _SITES and fmt.log2_chroma_w and fmt.log2_chroma_h:
        site = tagged_site(stream)
    return Color(
        matrix=matrix,
        primaries=_tag(Primaries, (s.color_primaries for s in sources)),
        transfer=_tag(Transfer, (s.color_trc for s in sources)),
        range=native_range(native) or _tag(ColorRange, (s.color_range for s in sources)),
        site=site,
    )


def _tag(kind: Any, values: Iterable[int]) -> Any:
    """The first value that is a code point of ``kind`` other than unspecified or reserved."""
    for value in values:
        if value in kind._value2member_map_ and kind(value) is not kind.UNSPECIFIED:
            return kind(value)
    return kind.UNSPECIFIED


def _first(frames: Sequence[av.VideoFrame], kind: SideDataType) -> bytes | None:
    return next((bytes(data) for data in side_data(frames) if data.type is kind), None)


def _display_matrix(frames: Sequence[av.VideoFrame]) -> tuple[int, ...] | None:
    """FFmpeg's AVDisplayMatrix (libavutil/display.h): nine native-endian int32."""
    data = _first(frames, SideDataType.DISPLAYMATRIX)
    if data is None:
        return None
    matrix = struct.unpack("=9i", data[:36])
    return None if matrix == (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30) else matrix


def _hdr(frames: Sequence[av.VideoFrame]) -> HdrMetadata | None:
    """SMPTE ST 2086 and CTA-861.3 metadata, from FFmpeg's structures of the same names.

    AVMasteringDisplayMetadata is ten rationals (red, green, blue and white as x and y, smallest and
    largest luminance) and two flags; AVContentLightMetadata is two unsigned integers.
    """
    primaries = low = high = cll = fall = None
    mastering = _first(frames, SideDataType.MASTERING_DISPLAY_METADATA)
    if mastering is not None:
        *numbers, has_primaries, has_luminance = struct.unpack("=22i", mastering[:88])
        values = [Fraction(n, d or 1) for n, d in zip(numbers[::2], numbers[1::2], strict=True)]
        if has_primaries:
            primaries = tuple(zip(values[0:8:2], values[1:8:2], strict=True))
        if has_luminance:
            low, high = values[8], values[9]
    light = _first(frames, SideDataType.CONTENT_LIGHT_LEVEL)
    if light is not None:
        cll, fall = (value or None for value in struct.unpack("=2I", light[:8]))
    if primaries is None and high is None and cll is None and fall is None:
        return None
    return HdrMetadata(primaries, low, high, cll, fall)

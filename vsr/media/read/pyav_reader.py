"""The reader that works everywhere: PyAV (FFmpeg) decoding on the CPU."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import suppress
from fractions import Fraction
from types import TracebackType
from typing import ClassVar, Self, cast

import av
import av.error
from av.container import InputContainer
from av.stream import Discard, Stream
from av.video.codeccontext import VideoCodecContext

from vsr.errors import DecodeError, InputError
from vsr.media.av_errors import av_errors
from vsr.media.demux.continuity import Continuity
from vsr.media.demux.insistent import Insistent
from vsr.media.demux.side_packets import SidePackets
from vsr.media.demux.skip import skip_to
from vsr.media.read.batching import Batcher
from vsr.media.read.damage import Damage
from vsr.media.read.deinterlace import Deinterlacer
from vsr.media.read.notes import UNREADABLE, UNREADABLE_REST, cut_short
from vsr.media.read.reader import ReadRequest, ReadStats
from vsr.media.read.storage import HostStorage, Storage
from vsr.media.read.timestamps import DecodingTimes, frame_pts
from vsr.media.source import decoder_of, open_source, video_stream
from vsr.types import PIXEL_FORMATS, FrameBatch, SidePacket
from vsr.types.place import is_once

__all__ = ["PyAVReader"]

# Seconds to seek before the wanted frame, one try after the other: MPEG-TS, MPEG-PS and open GOPs
# in MP4 land too late at first.
_BACK_OFFS = (0, 1, 2, 5, 10, 30)


class PyAVReader:
    """See :class:`vsr.media.read.reader.Reader`.

    A whole file is read in one demux loop. A part of one is read by seeking to its first frame,
    while a second demuxer collects the other streams' packets (:mod:`vsr.media.read.side_packets`).
    """

    exact: ClassVar[bool] = True

    def __init__(self, request: ReadRequest) -> None:
        self._request = request
        self._stats = ReadStats(side_packets=dict.fromkeys(request.side_streams, 0))
        self._damage = Damage(self._stats, request.trim)
        self._told = request.video.timing == "presentation"  # packets tell when frames are shown
        self._container: InputContainer | None = None
        self._at_work = threading.RLock()  # held while the iteration uses the container
        self._left = False
        self._skip: int | None = None  # up to this timestamp, what is not needed is left out
        self._broken = False  # the file cannot be read to its end
        self._packets = 0  # video packets seen, discarded ones included
        self._missing = 0  # frames that packets promised and the decoder did not give
        self._last_end = Fraction(0)  # latest end of any packet seen, in seconds
        self._video_end = Fraction(0)  # the same of the video's packets

    @property
    def stats(self) -> ReadStats:
        """What happened so far."""
        return self._stats

    @classmethod
    def available(cls) -> str | None:
        """``None``: PyAV is a dependency and a CPU is always there."""
        return None

    @classmethod
    def problem(cls, request: ReadRequest) -> str | None:  # noqa: ARG003 - others look at it
        """``None``: whatever could be probed can be read."""
        return None

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._left = True
        self._close()

    def _close(self) -> None:
        """Close the file, unless it is being read: FFmpeg would go on reading what is gone.

        Then the iteration does it when it ends, which it does at its next packet.
        """
        if self._at_work.acquire(blocking=False):
            try:
                if self._container is not None:
                    self._container.close()
            finally:
                self._at_work.release()

    def _stay(self) -> None:
        """Raise if the reader has been left, which another thread than the iteration's may do."""
        if self._left:
            raise RuntimeError("the reader was left before its iteration had ended")

    @property
    def _open_container(self) -> InputContainer:
        if self._container is None:
            raise RuntimeError("the reader must be entered before it is iterated over")
        return self._container

    def _open(self) -> None:
        if self._container is not None:
            self._container.close()
        # FFmpeg's default is slice threading, which most files cannot use.
        self._container, self._stream, self._decoder = self._source("AUTO")
        self._times = DecodingTimes(self._request.video)
        self._time_base = self._stream.time_base or self._request.video.time_base

    def _source(self, threads: str) -> tuple[InputContainer, av.VideoStream, VideoCodecContext]:
        """The file, opened anew, with its stream and what decodes it."""
        container = open_source(self._request.path)
        stream = video_stream(container, self._request.video.index)
        return container, stream, decoder_of(stream, threads)

    def _storage(self) -> Storage:
        """Where decoded frames go."""
        return HostStorage(self._request, self._stats)

    def __iter__(self) -> Iterator[FrameBatch | SidePacket]:
        items = self._items()
        try:
            while True:
                with self._at_work:
                    self._stay()
                    item = next(items, None)
                if item is None:
                    return
                yield item
        finally:
            with self._at_work:
                items.close()
            if self._left:
                self._close()

    def _items(self) -> Generator[FrameBatch | SidePacket, None, None]:
        batcher = Batcher(self._request, self._stats, self._time_base, self._storage())
        for event in self._part(batcher) if self._request.trim else self._whole():
            if isinstance(event, SidePacket):
                self._stats.side_packets[event.stream] += 1
                yield event
            else:
                yield from batcher.add(event)
        yield from batcher.finish()
        self._close_the_books(batcher)

    def _whole(self) -> Iterator[av.VideoFrame | SidePacket]:
        """Frames and side packets of the whole file."""
        return self._frames_and_packets(frozenset(self._request.side_streams))

    def _part(self, batcher: Batcher) -> Iterator[av.VideoFrame | SidePacket]:
        """The same of a part: frames may begin before it and end with the first one behind it."""
        trim = self._request.trim
        end = None if trim.end is None else trim.end * self._time_base
        with SidePackets.of(self._request, self._time_base, self._stay) as side:
            for frame in self._frames_from(trim.start):
                if frame.pts is not None:
                    yield from side.until(frame.pts * self._time_base)
                yield frame
                if batcher.end is not None:
                    end = batcher.end * self._time_base
                    break
            yield from side.rest(end)
            if side.broken and batcher.end is not None:
                self._stats.warnings.append(UNREADABLE_REST)

    def _frames_from(self, start: int | None) -> Iterator[av.VideoFrame]:
        """Frames from ``start``, or some before it, to the end of the file."""
        seekable = self._request.seek and self._told and not is_once(self._request.path)
        if start is not None and seekable:
            # bwdif looks at the frame before, so that must have been decoded too.
            wanted = start - 1 if self._request.deinterlace else start
            joined = Continuity(self._open_container, self._stream.index).possible
            for seconds in (None,) if joined and not self._request.steady else _BACK_OFFS:
                self._damage.begin(sought=True)
                try:
                    self._go_to(wanted, seconds)
                except av.error.FFmpegError:
                    break
                frames = self._frames()
                first = next(frames, None)
                if first is not None and first.pts is not None and first.pts <= wanted:
                    yield first
                    yield from frames
                    return
            self._skip = None
            self._damage.begin(sought=False)
            self._open()
        yield from self._frames()

    def _go_to(self, wanted: int, seconds: int | None) -> None:
        """Seek to ``seconds`` before ``wanted``; ``None``: skip what comes before, unread."""
        if seconds is None:
            self._skip = wanted
            return
        target = wanted - round(seconds / self._time_base)
        self._open_container.seek(target, stream=self._stream, backward=True)
        # The container only knows of its own streams' decoders.
        self._decoder.flush_buffers()

    def _frames(self) -> Iterator[av.VideoFrame]:
        return cast("Iterator[av.VideoFrame]", self._frames_and_packets(frozenset()))

    def _frames_and_packets(self, wanted: frozenset[int]) -> Iterator[av.VideoFrame | SidePacket]:
        """Frames, and the packets of the streams ``wanted``, from where the demuxer stands."""
        events = self._decoded(wanted)
        return self._deinterlaced(events) if self._request.deinterlace else events

    def _decoded(self, wanted: frozenset[int]) -> Iterator[av.VideoFrame | SidePacket]:
        promised = given = refused = 0
        last = None
        for packet in self._demuxed(wanted):
            # Not packet.stream_index: that is 0 in the empty packets at the end.
            index = packet.stream.index
            if index != self._stream.index:
                if packet.size and index in wanted:
                    yield SidePacket(index, packet)
                continue
            video_packet = cast("av.Packet[av.VideoStream]", packet)
            promised += frame_pts(video_packet) is not None
            self._packets += packet.size > 0
            self._damage.promised(video_packet)
            frames = self._decode(video_packet, self._decoder)
            if frames is None:
                refused += 1
                continue
            for frame in frames:
                if self._request.video.timing == "decoding":
                    frame.pts = self._times.of(frame)
                last = frame.pts
                yield frame
            given += len(frames)
        missing = promised - given - refused
        again = self._told and not is_once(self._request.path)
        if missing > 0 and last is not None and again:
            counted = self._stats.corrupt_packets
            for frame in self._tail(last):
                missing -= 1
                yield frame
            missing -= self._stats.corrupt_packets - counted
        self._missing = max(0, missing)

    def _tail(self, last: int) -> Iterator[av.VideoFrame]:
        """Frames that come after the timestamp ``last``, decoded once more.

        When packets among the last ones are damaged, PyAV gives up draining a decoder that works in
        frame threads, and the good frames that those still hold are lost. With slice threads the
        decoder holds none.
        """
        container, stream, decoder = self._source("SLICE")
        with container:
            continuity = Continuity(container, stream.index)
            packets = continuity.through(Insistent(container, [stream]))
            if continuity.possible:
                packets = skip_to(packets, stream.index, last)
            else:
                with suppress(av.error.FFmpegError):  # what cannot is decoded from the beginning
                    container.seek(last, stream=stream, backward=True)
            for packet in packets:
                self._stay()
                frames = self._decode(packet, decoder, after=last)
                yield from (f for f in frames or () if f.pts is not None and f.pts > last)

    def _demuxed(self, wanted: frozenset[int]) -> Iterator[av.Packet[Stream]]:
        """Packets until the end of the file, and one empty packet that drains the decoder.

        Sound and subtitles are looked at even if nobody wants them: when they end together with
        the video, the file is whole.
        """
        container = self._open_container
        watched = [
            s
            for s in container.streams
            if s.index in wanted or s.index == self._stream.index or s.type in ("audio", "subtitle")
        ]
        for stream in container.streams:
            if stream not in watched:
                stream.discard = Discard.all
        counted = 0
        continuity = Continuity(container, self._stream.index)
        source = Insistent(container, watched)
        packets = continuity.through(source)
        if self._skip is not None:
            packets = skip_to(packets, self._stream.index, self._skip)
        with av_errors(self._request.path, "read on", DecodeError):
            for packet in packets:
                self._stay()
                self._stats.corrupt_packets += source.failures - counted
                counted = source.failures
                if packet.size and packet.pts is not None:
                    end = (packet.pts + (packet.duration or 0)) * packet.time_base
                    self._last_end = max(self._last_end, end)
                    if packet.stream_index == self._stream.index:
                        self._video_end = max(self._video_end, end)
                self._stats.joins = continuity.joins
                self._stats.outliers = continuity.outliers.mended
                self._broken = source.broken is not None
                yield packet
            if source.broken and not self._packets:
                raise source.broken

    def _decode(
        self,
        packet: av.Packet[av.VideoStream],
        decoder: VideoCodecContext,
        after: int | None = None,
    ) -> list[av.VideoFrame] | None:
        """Frames that are finished with this packet, or ``None``: the decoder refused it.

        Damage is counted inside the wanted part, and behind the timestamp ``after``.
        """
        try:
            frames = decoder.decode(packet)
        except av.error.FFmpegError:
            self._damage.refused(packet.pts, after)
            return None
        self._damage.given(frames, after)
        return frames

    def _deinterlaced(
        self, events: Iterator[av.VideoFrame | SidePacket]
    ) -> Iterator[av.VideoFrame | SidePacket]:
        shape: tuple[int, int, str] | None = None
        bwdif: Deinterlacer | None = None
        for event in events:
            if isinstance(event, SidePacket):
                yield event
                continue
            self._stats.flagged += event.interlaced_frame
            self._stats.unflagged += not event.interlaced_frame
            if bwdif is None or shape != (event.width, event.height, event.format.name):
                if bwdif is not None:
                    yield from bwdif.flush()
                shape = (event.width, event.height, event.format.name)
                bwdif = self._deinterlacer(event)
            yield from bwdif.push(event)
        if bwdif is not None:
            yield from bwdif.flush()

    def _deinterlacer(self, first: av.VideoFrame) -> Deinterlacer:
        """A deinterlacer for frames like ``first``.

        Where frames are flagged, unflagged ones between them (film in a broadcast) stay as they
        are; where the first one is not, the request means all of them.
        """
        native = first.format.name
        every = self._request.every_frame
        planar = native in PIXEL_FORMATS or native.startswith("yuvj")
        return Deinterlacer(
            self._request.path,
            native if planar else self._request.video.format.name,
            self._time_base,
            every_frame=not first.interlaced_frame if every is None else every,
        )

    def _close_the_books(self, batcher: Batcher) -> None:
        """Say what is missing, and raise if everything is."""
        warnings, path = self._stats.warnings, self._request.path
        self._stats.end = batcher.end
        if self._stats.frames == 0:
            if self._request.may_be_empty:
                return
            if self._stats.corrupt_packets:
                raise DecodeError(
                    f"none of {self._packets} video packets could be decoded",
                    where=path,
                    remedy="Check with a player whether the file is whole.",
                )
            raise InputError("the requested part holds no frame", where=path)
        if batcher.end is None:
            warnings.extend(self._warnings())

    def _warnings(self) -> Iterator[str]:
        """What the container announced and the file did not hold."""
        container, stream = self._open_container, self._stream
        if self._broken:
            yield UNREADABLE
        if self._broken or self._request.trim.start is not None:
            return
        # The two fields of an interlaced picture may be two packets.
        if self._missing and self._told and not self._request.video.interlaced:
            yield f"{self._missing} video packets gave no frame."
        yield from cut_short(container, stream, self._packets, self._video_end, self._last_end)

"""The way out: frames and packets in, a verified file under its final name out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from math import lcm
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import av
import av.error
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream

from vsr.errors import OutputError
from vsr.media.av_errors import av_errors
from vsr.media.containers import CONTAINERS
from vsr.media.source import open_source
from vsr.media.write.audio import AudioLane
from vsr.media.write.copied.whole import add_attachment, add_cover, cover_packet, preview
from vsr.media.write.encoder import VideoEncoder, encoder_tick
from vsr.media.write.into.file import FileSink
from vsr.media.write.into.pipe import PipeSink
from vsr.media.write.into.sink import Sink, VideoLane, WriteResult, Written
from vsr.media.write.pixel_shape import reserve_shape
from vsr.media.write.remux import Lane, add_copy
from vsr.media.write.subtitles import SubtitleLane
from vsr.media.write.tags import chapters, describe_stream, file_metadata
from vsr.types import (
    Color,
    FrameBatch,
    Matrix,
    Plan,
    Primaries,
    SidePacket,
    StreamAction,
    Transfer,
    VideoStreamInfo,
)
from vsr.types.place import STANDARD, result_name

if TYPE_CHECKING:
    pass

__all__ = ["WriteResult", "Writer"]

# Larger movie time scales make QuickTime's 32-bit durations overflow within hours.
_MAX_MOVIE_TIMESCALE = 1_000_000
# Where sound and picture have no common one: exact for the picture, to 20 us for the sound.
_FINE_MOVIE_TIMESCALE = 50_000
# Codecs of whose colours FFmpeg's muxer knows nothing, by row of the table: FFV1's bitstream does
# not say what they are, and editors read ProRes's from the container.
_UNTAGGED_CODECS = {"ffv1", "prores"}


class Writer:
    """Writes the result of a plan. A context manager, used by one thread.

    ::

        with Writer(plan) as writer:
            for item in work:
                writer.mux(item) if isinstance(item, SidePacket) else writer.write(item)
            result = writer.finish()

    Leaving the block before :meth:`finish` has returned removes the temporary file and touches
    nothing else. Encoder, header and all streams are set up on entry, so that settings which
    cannot work fail before the first frame.

    Args:
        plan: the plan.
        scratch: folder of the temporary file, on the same disk as the result; by default the
            result's own.
        mark: for its name, as :class:`vsr.media.write.atomic.AtomicFile` takes it.

    Raises (on entry):
        OutputError: the destination cannot be written, or the container refuses a stream.
        EncodeError: the encoder refuses its settings.
        InputError: the source cannot be opened again for its stream parameters.
    """

    def __init__(self, plan: Plan, scratch: Path | None = None, mark: str = "") -> None:
        self._plan = plan
        self._scratch, self._mark = scratch, mark
        self._where = result_name(plan.destination)
        self._container = CONTAINERS[plan.container]
        self._lanes: dict[int, Lane] = {}
        self._warnings: list[str] = []
        self._output: OutputContainer | None = None
        self._source: InputContainer | None = None
        self._sink: Sink | None = None
        self._shapes = 0
        self._video: VideoLane

    def __enter__(self) -> Self:
        plan = self._plan
        if plan.destination == STANDARD:
            self._sink = PipeSink(plan)
        else:
            self._sink = FileSink(plan, self._scratch, self._mark)
        try:
            self._source = open_source(plan.source)
            with av_errors(self._where, "write the file", OutputError):
                self._output = self._sink.open(self._container.muxer, self._muxer_options())
                self._start(self._output, self._source)
                self._sink.begun(self._encoder.stream.index, self._shapes)
        except BaseException:
            self._abandon()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._abandon()

    def write(self, batch: FrameBatch) -> None:
        """Encode frames: planes on the CPU in the plan's format and size, in order.

        Raises:
            EncodeError: the frames are not what the plan says, or the encoder failed.
            OutputError: the file cannot be written (the disk is full).
        """
        for packet in self._encoder.encode(batch):
            self._mux(packet)

    @property
    def encoder(self) -> VideoEncoder:
        """The encoder, open, with its stream in the result."""
        return self._encoder

    def join(self, video: VideoLane) -> None:
        """Take the pictures from ``video`` by :meth:`mux_video`, instead of encoding frames."""
        self._video = video

    def mux_video(self, packet: Packet[Any]) -> None:
        """Write a packet of pictures, which has its stream and times.

        Raises:
            OutputError: the file cannot be written (the disk is full).
        """
        self._mux(packet)

    def mux(self, packet: SidePacket) -> None:
        """Write a packet of another stream, which is consumed; those not planned are ignored.

        Raises:
            OutputError: the file cannot be written (the disk is full).
        """
        lane = self._lanes.get(packet.stream)
        if lane is not None:
            for ready in lane.take(packet.packet):
                self._mux(ready)

    def finish(self, before_commit: Callable[[Path], str | None] = lambda _: None) -> WriteResult:
        """Write what is left, verify the file, and give it its name.

        Args:
            before_commit: called with the temporary file when it is complete and verified; what
                it raises keeps the file from getting its name, and what it returns is another
                name for it, in the same folder.

        Raises:
            NameTakenError: its name was taken meanwhile. OutputError: the file cannot be written.
            EncodeError: the encoder failed.
            VerifyError: what was written is not what it must be; it is removed.
        """
        sink, output = self._sink, self._output
        if sink is None or output is None:
            raise OutputError("the writer is not open", where=self._where)
        video = self._video
        for packet in video.flush():
            self._mux(packet)
        if not video.times:
            raise OutputError("there was no frame to write", where=self._where)
        for lane in self._lanes.values():
            for packet in lane.flush():
                self._mux(packet)
        self._output = None
        with av_errors(self._where, "finish the file", OutputError):
            output.close()
        written = Written(video, list(self._lanes.values()), tuple(self._warnings))
        return sink.finish(written, before_commit)

    def _start(self, output: OutputContainer, source: InputContainer) -> None:
        plan = self._plan
        actions = [action for action in plan.streams if action.action != "drop"]
        pictures, begins = preview(
            source,
            [action.stream.index for action in actions if action.stream.is_cover],
            [action.stream.index for action in actions if action.stream.kind == "audio"],
        )
        in_order: list[StreamAction | None] = [None, *actions]
        in_order.sort(key=lambda a: plan.video.index if a is None else a.stream.index)
        for action in in_order:
            if action is None:
                self._encoder = VideoEncoder(output, plan)
                self._video = self._encoder
                describe_stream(self._encoder.stream, plan.video, same_samples=False)
            elif action.action != "attach" and not action.stream.is_cover:
                begin = begins.get(action.stream.index)
                self._lanes[action.stream.index] = self._lane(output, source, action, begin)
        # Covers and attachments last: readers count them behind the streams that have packets.
        covers = []
        for action in actions:
            stream, index = source.streams[action.stream.index], action.stream.index
            if action.stream.is_cover and index not in pictures:
                self._warnings.append(f"The cover art in stream {index} could not be read.")
            elif action.action == "attach":
                add_attachment(output, stream, action, pictures.get(index, b""))
            elif action.stream.is_cover:
                covers.append((add_cover(output, stream, action), pictures[index]))
        if plan.chapters:
            output.set_chapters(chapters(plan))
        if plan.metadata:
            output.metadata.update(file_metadata(plan))
        if self._container.muxer in ("matroska", "webm"):
            self._reserve_shapes()
        output.start_encoding()
        for cover, picture in covers:
            output.mux(cover_packet(cover, picture))

    def _reserve_shapes(self) -> None:
        shapes: list[tuple[Stream, Fraction]] = [(self._encoder.stream, self._plan.sar)]
        shapes.extend(
            (lane.stream, lane.action.stream.sar)
            for lane in self._lanes.values()
            if isinstance(lane.action.stream, VideoStreamInfo)
        )
        for stream, sar in shapes:
            if sar != 1:
                reserve_shape(stream, sar)
                self._shapes += 1

    def _lane(
        self,
        output: OutputContainer,
        source: InputContainer,
        action: StreamAction,
        begin: Fraction | None,
    ) -> Lane:
        stream: Any = source.streams[action.stream.index]
        plan = self._plan
        if action.action == "copy":
            return add_copy(output, stream, action, plan, self._container, begin)
        if action.stream.kind == "subtitle":
            return SubtitleLane(output, stream, action, plan.time_shift)
        return AudioLane(output, stream, action, plan.time_shift)

    def _muxer_options(self) -> dict[str, str]:
        plan, options = self._plan, dict(self._plan.container_options)
        if self._container.time_base is not None:
            # Matroska's muxer would move every stream if one began before zero.
            options.setdefault("avoid_negative_ts", "disabled")
        else:
            # Start offsets stand in the edit list, in ticks of the movie: they are to be exact.
            video = encoder_tick(plan).denominator
            rates = [a.stream.sample_rate or 1 for a in plan.streams if a.action != "drop"]
            scale = lcm(video, *rates)
            if scale > _MAX_MOVIE_TIMESCALE:
                scale = video * -(-_FINE_MOVIE_TIMESCALE // video)
            options.setdefault("movie_timescale", str(scale))
            if plan.encode.name in _UNTAGGED_CODECS and _tagged(plan.encode.tags):
                # Otherwise colour is only written if matrix, primaries and transfer are tagged.
                options["movflags"] = options.get("movflags", "") + "+write_colr"
        return options

    def _mux(self, packet: Packet[Any]) -> None:
        if self._output is None:
            raise OutputError("the writer is not open", where=self._where)
        with av_errors(self._where, "write the file", OutputError):
            self._output.mux(packet)

    def _abandon(self) -> None:
        """Close everything and remove the temporary file; nothing is left of it after a commit."""
        if self._sink is not None:
            # Removed before it is closed, so that no time goes into completing it.
            self._sink.discard()
        if self._output is not None:
            output, self._output = self._output, None
            # The file is gone already, and what stopped the writing is being raised.
            with suppress(av.error.FFmpegError, OSError):
                output.close()
        if self._source is not None:
            self._source.close()
            self._source = None


def _tagged(color: Color) -> bool:
    """Whether at least one of the three tags is there; if none is, FFmpeg guesses all three."""
    unsaid = (Matrix.UNSPECIFIED, Primaries.UNSPECIFIED, Transfer.UNSPECIFIED)
    return (color.matrix, color.primaries, color.transfer) != unsaid

"""The way in: what every reader promises, and the table of readers.

A reader gives the frames of one video stream as batches of tensors, and between them the untouched
packets of the streams that are carried along, in the order in which the file interleaves them.
Whatever decodes the pictures (a CPU, NVDEC, DALI), side packets come from PyAV's demuxer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from types import TracebackType
from typing import ClassVar, Literal, Protocol, Self, cast

from vsr.errors import BackendError, UsageError
from vsr.types import Color, FrameBatch, SidePacket, Trim, VideoStreamInfo

__all__ = ["READERS", "ReadRequest", "ReadStats", "Reader", "open_reader", "reader_class"]


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """What is to be read, and how. It pickles.

    Attributes:
        path: the file.
        video: the stream that is decoded, as :func:`vsr.media.probe.probe` found it; frames are
            held to its size and format.
        batch: frames per batch; the last batch may be smaller.
        color: passed on in every batch; ``None``: the stream's tags as they are.
        trim: the part that is wanted, as :func:`vsr.media.read.timestamps.snap_trim` gives it.
        deinterlace: run bwdif, one frame per frame.
        on_resize: what to do when the picture size or format changes inside the file: raise, or
            scale to ``video``'s size.
        side_streams: indices of the streams whose packets are wanted.
        seek: seek to where the part begins; else everything before it is decoded as well.
        steady: the timestamps are known not to begin anew anywhere in the file. Where they might
            (:mod:`vsr.media.demux.continuity`), a part is looked for packet by packet otherwise.
        may_be_empty: a part without a single frame is no error.
        every_frame: deinterlace frames that are not flagged as interlaced, too; ``None``: if the
            first frame read is not.
        device: where the frames are wanted, ``cpu`` or ``cuda:N``. Readers that decode on a CPU
            give them in its memory all the same.
    """

    path: str
    video: VideoStreamInfo
    batch: int = 1
    color: Color | None = None
    trim: Trim = field(default_factory=Trim)
    deinterlace: bool = False
    on_resize: Literal["error", "scale"] = "error"
    side_streams: tuple[int, ...] = ()
    seek: bool = True
    steady: bool = False
    may_be_empty: bool = False
    every_frame: bool | None = None
    device: str = "cpu"


@dataclass(slots=True)
class ReadStats:
    """What happened so far; complete once iteration has ended.

    Attributes:
        frames: frames given.
        corrupt_packets: packets that the demuxer or decoder refused.
        concealed_frames: frames given although the decoder flagged them as damaged.
        run_in_damage: frames between where the reader sought to and the part's first one that are
            damaged or missing: the part's may be predicted from them.
        invented_pts: frames without a timestamp, which were spaced evenly.
        moved_pts: frames whose timestamp was not after the previous one's, moved to one tick
            after it.
        largest_move: ticks by which one of them was moved at most.
        joins: places where timestamps began anew and were moved to go on.
        outliers: packets with damaged timestamps, which got some between their neighbours'.
        gaps, gap_frames: places where timestamps jump, and about how many frames are missing there.
        scaled: frames that had another size or format and were scaled.
        recolored: frames tagged with another matrix or range than the stream's, and converted.
        miscolored: frames tagged with a matrix, primaries or a transfer that could not be.
        flagged, unflagged: frames to be deinterlaced that are flagged as interlaced, or are not.
        side_packets: packets given of each side stream.
        end: timestamp of the first frame behind the part, ``None`` if none was seen.
        warnings: everything odd, one sentence each.
    """

    frames: int = 0
    corrupt_packets: int = 0
    concealed_frames: int = 0
    run_in_damage: int = 0
    invented_pts: int = 0
    moved_pts: int = 0
    largest_move: int = 0
    joins: int = 0
    outliers: int = 0
    gaps: int = 0
    gap_frames: int = 0
    scaled: int = 0
    recolored: int = 0
    miscolored: int = 0
    flagged: int = 0
    unflagged: int = 0
    side_packets: dict[int, int] = field(default_factory=dict)
    end: int | None = None
    warnings: list[str] = field(default_factory=list)


class Reader(Protocol):
    """Reads one :class:`ReadRequest`, once, in one thread.

    Attributes:
        exact: every sample is the one that the standard's decoder gives.

    Iteration gives :class:`~vsr.types.FrameBatch` and :class:`~vsr.types.SidePacket`. Frames come
    in presentation order with strictly increasing pts, none is left out, and the decoder is
    drained at the end. Batches may be on any device; :attr:`vsr.types.FrameBatch.ready` then says
    when they may be read. Side packets come in the order of the file.

    Raises (while entering or iterating):
        InputError: the file cannot be opened or read, the requested part has no frame, or the
            picture changes its size and ``on_resize`` is ``error``.
        DecodeError: the decoder gave up.
        BackendError: the device failed.
    """

    exact: ClassVar[bool]

    def __init__(self, request: ReadRequest) -> None: ...

    @property
    def stats(self) -> ReadStats:
        """What happened so far."""
        ...

    @classmethod
    def available(cls) -> str | None:
        """``None`` if this reader can run on this machine, else the reason why not."""
        ...

    @classmethod
    def problem(cls, request: ReadRequest) -> str | None:
        """Why it cannot read what ``request`` asks for, or ``None``; no file is opened.

        The reason reads on after a colon.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def __iter__(self) -> Iterator[FrameBatch | SidePacket]: ...


#: name -> "module:Class"; imported when named.
READERS: dict[str, str] = {
    "pyav": "vsr.media.read.pyav_reader:PyAVReader",
    "nvdec": "vsr.media.read.gpu.nvdec:NvdecReader",
    "dali": "vsr.media.read.gpu.dali:DaliReader",
}


def reader_class(name: str) -> type[Reader]:
    """The class of a row, imported now.

    Raises:
        UsageError: there is no such row.
    """
    if name not in READERS:
        raise UsageError(
            f"there is no reader called {name!r}", remedy=f"Choose one of {', '.join(READERS)}."
        )
    module, _, attribute = READERS[name].partition(":")
    return cast("type[Reader]", getattr(import_module(module), attribute))


def open_reader(name: str, request: ReadRequest) -> Reader:
    """The reader called ``name`` for ``request``, to be used in a ``with`` statement.

    Raises:
        UsageError: there is no such reader.
        BackendError: it cannot run on this machine, or not read this; the error says why.
    """
    reader = reader_class(name)
    reason = reader.available()
    if reason is not None:
        raise BackendError(
            f"the reader {name!r} cannot run here: {reason}",
            where=request.path,
            remedy="Choose another reader; `vsr doctor` lists those that work here.",
        )
    reason = reader.problem(request)
    if reason is not None:
        raise BackendError(
            f"the reader {name!r} cannot read this: {reason}",
            where=request.path,
            remedy="Leave --reader out, or use --reader pyav, which reads everything.",
        )
    return reader(request)

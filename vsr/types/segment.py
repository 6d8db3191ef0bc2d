"""A segment: the part of a job that is decoded, upscaled and encoded alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["ReadTally", "Segment", "SegmentTally"]


@dataclass(frozen=True, slots=True)
class Segment:
    """Whole frames of the video, consecutive. It pickles and knows nothing of who works on it.

    Attributes:
        index: place in the job, from 0.
        first: how many frames of the part lie before it, as far as the packets tell.
        frames: how many it holds, as far as the packets tell; ``None``: all that are left.
        start: pts of its first frame in the stream's ticks; ``None``: where the part begins.
        end: pts before which it ends (exclusive); ``None``: where the part ends.
        how: how its frames are found: ``seek`` to ``start``; ``decode`` the file from its
            beginning up to ``start``; or ``count`` the part's frames from its first one, where
            packets do not tell when frames are shown.
        every_frame: deinterlace frames that are not flagged as interlaced, too; ``None``: as the
            first frame read says.
    """

    index: int
    first: int
    frames: int | None
    start: int | None = None
    end: int | None = None
    how: Literal["seek", "decode", "count"] = "seek"
    every_frame: bool | None = None


@dataclass(frozen=True, slots=True)
class ReadTally:
    """What the reader met in one segment; see :class:`vsr.media.read.reader.ReadStats`.

    The fields are the reader's of the same names.
    """

    frames: int = 0
    corrupt_packets: int = 0
    concealed_frames: int = 0
    invented_pts: int = 0
    moved_pts: int = 0
    largest_move: int = 0
    gaps: int = 0
    gap_frames: int = 0
    scaled: int = 0
    recolored: int = 0
    miscolored: int = 0
    flagged: int = 0
    unflagged: int = 0
    end: int | None = None


@dataclass(frozen=True, slots=True)
class SegmentTally:
    """What is kept of a finished segment beside its packets.

    Attributes:
        index: of the segment.
        read: what the reader met.
        last_duration: how long the last frame is shown, in ticks of the encoder.
        repeated: frames that equal the one before and were not put through the network again.
        busy: seconds of work of each stage: decode, infer, encode.
    """

    index: int
    read: ReadTally
    last_duration: int
    repeated: int
    busy: tuple[float, float, float]

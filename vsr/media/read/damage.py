"""What could not be decoded, or only with concealment: in a part, and on the way to it."""

from __future__ import annotations

from collections.abc import Iterable

import av

from vsr.media.read.reader import ReadStats
from vsr.media.read.timestamps import frame_pts
from vsr.types import Trim

__all__ = ["Damage"]


class Damage:
    """Counts damage: of the part in its own fields, of the run-in after a seek in another.

    Frames of the run-in are not given to anybody, but those of the part are predicted from them:
    what a decoder makes of damage there depends on where it began. Pictures that are shown before
    the first one after the seek (the leading ones of an open group) have lost their references by
    the seek and are none of the part's.

    Args:
        stats: where it is counted.
        trim: the part.
    """

    def __init__(self, stats: ReadStats, trim: Trim) -> None:
        self._stats, self._trim = stats, trim
        self._sought = False
        self._since: int | None = None  # timestamp of the first packet after the seek
        self._due: set[int] = set()  # frames of the run-in that packets promised

    def begin(self, *, sought: bool) -> None:
        """Count anew: from a place that was sought, or from the beginning of the file."""
        self._stats.corrupt_packets = self._stats.concealed_frames = self._stats.run_in_damage = 0
        self._sought, self._since = sought, None
        self._due.clear()

    def promised(self, packet: av.Packet[av.VideoStream]) -> None:
        """The next packet goes to the decoder."""
        pts = frame_pts(packet)
        if not self._sought or pts is None:
            return
        if self._since is None:
            self._since = pts
        if self._runs_in(pts):
            self._due.add(pts)
            self._stats.run_in_damage += 1

    def refused(self, pts: int | None, after: int | None) -> None:
        """The decoder refused a packet; only what is behind the timestamp ``after`` counts."""
        self._stats.corrupt_packets += self._counts(pts, after)

    def given(self, frames: Iterable[av.VideoFrame], after: int | None) -> None:
        """The decoder gave frames; only those behind the timestamp ``after`` count."""
        for frame in frames:
            if frame.pts in self._due and not frame.is_corrupt:
                self._due.discard(frame.pts)
                self._stats.run_in_damage -= 1
            self._stats.concealed_frames += frame.is_corrupt and self._counts(frame.pts, after)

    def _runs_in(self, pts: int) -> bool:
        start = self._trim.start
        return start is not None and self._since is not None and self._since <= pts < start

    def _counts(self, pts: int | None, after: int | None) -> bool:
        trim = self._trim
        return pts is None or (
            (trim.start is None or pts >= trim.start)
            and (trim.end is None or pts < trim.end)
            and (after is None or pts > after)
        )

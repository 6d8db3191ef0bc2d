"""What the first packets and frames of a video stream say, above all about its timestamps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple, Self, cast

import av

from vsr.media.read.timestamps import frame_pts

__all__ = ["Sample"]

_KEPT = 8  # frames
# Decoded to see whether timestamps that rise from packet to packet can be those of frames, and to
# find the first one that has any.
_LOOKED_AT = 32


class ColorTags(NamedTuple):
    """The container's tags of colour, by FFmpeg's names and numbers."""

    colorspace: int
    color_primaries: int
    color_trc: int
    color_range: int


@dataclass
class Sample:
    """What was seen of one video stream.

    Attributes:
        reorders: its decoder may give frames in another order than packets.
        tags: the container's; the decoder overwrites them with those of the frame at hand.
        pts: timestamps of the packets that frames come out of.
        packets: so many in all.
        untimed: those without a timestamp, between packets that have one.
        frames: the first ones.
        errors: packets that the decoder refused.
    """

    reorders: bool
    tags: ColorTags
    pts: list[int] = field(default_factory=list)
    packets: int = 0
    untimed: int = 0
    frames: list[av.VideoFrame] = field(default_factory=list)
    errors: int = 0
    _since: int = 0  # packets without a timestamp since the last one that has one
    _dts: int | None = None  # the last packet's
    _rising: bool = True  # both timestamps of all packets so far
    _shown: list[int | None] = field(default_factory=list)  # timestamps of all decoded frames

    @classmethod
    def of(cls, stream: av.VideoStream) -> Self:
        """Of a stream of which nothing has been decoded."""
        context = stream.codec_context
        tags = (getattr(context, name) for name in ColorTags._fields)
        return cls(context.has_b_frames, ColorTags(*tags))

    def note(self, packet: av.Packet[av.VideoStream]) -> None:
        """Count a packet, and keep its timestamp."""
        self.packets += 1
        pts = frame_pts(packet)
        self._since += packet.pts is None and bool(self.pts)
        if packet.dts is not None:
            self._rising &= self._dts is None or packet.dts > self._dts
            self._dts = packet.dts
        if pts is not None:
            self.untimed, self._since = self.untimed + self._since, 0
            self._rising &= not self.pts or pts > self.pts[-1]
            self.pts.append(pts)

    @property
    def wants_frames(self) -> bool:
        """Whether to decode further ones."""
        seen = len(self._shown)
        doubtful = (self.reorders and self._rising) or self.leading == seen
        return seen < _KEPT or (doubtful and seen < _LOOKED_AT)

    def take(self, frames: Iterable[av.VideoFrame]) -> None:
        """The next decoded frames."""
        for frame in frames:
            self._shown.append(frame.pts if frame.pts is not None else frame.dts)
            if len(self.frames) < _KEPT:
                self.frames.append(frame)

    @property
    def leading(self) -> int:
        """Frames before the first one that has a timestamp."""
        first = (at for at, time in enumerate(self._shown) if time is not None)
        return next(first, len(self._shown))

    def start(self, step: Fraction) -> int | None:
        """When the first frame is shown, at ``step`` ticks a frame; ``None``: no frame tells."""
        if self.leading == len(self._shown):
            return None
        return cast(int, self._shown[self.leading]) - round(self.leading * step)

    @property
    def out_of_order(self) -> bool:
        """Whether packets have rising timestamps and frames come out with others.

        Frames come out in the order in which they are shown, so these are times of decoding.
        """
        times = [time for time in self._shown if time is not None]
        return self._rising and any(b < a for a, b in pairwise(times))

    def is_sparse(self, *, interlaced: bool) -> bool:
        """Whether some frames have no timestamp, or none has.

        The two fields of an ``interlaced`` picture may be two packets, one of them without.
        """
        return None in self._shown or (self.untimed > 0 and not interlaced)

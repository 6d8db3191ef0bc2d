"""What the first packets and frames of a video stream say, above all about its timestamps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple, Self, cast

import av

from vsr.media.read.timestamps import frame_pts

__all__ = ["Sample", "frame_rate", "is_variable", "longest_stretch"]

_KEPT = 8  # frames
# Decoded to see whether timestamps that rise from packet to packet can be those of frames, and to
# find the first one that has any.
_LOOKED_AT = 32
# What a picture begins with in MPEG-4 part 2, and the type of those that are shown before the one
# that is coded before them (ISO/IEC 14496-2, 6.2.5).
_VOP, _B_VOP = b"\0\0\1\xb6", 2
# Seconds from a frame to the next that are no matter of the frame rate where recordings are joined.
_JUMP = 5


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
        may_pack: packets of its codec may hold a second picture, which is shown before the first.
        packed: some do.
    """

    reorders: bool
    tags: ColorTags
    may_pack: bool = False
    packed: bool = False
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
        may_pack = context.codec.canonical_name == "mpeg4"
        return cls(context.has_b_frames, ColorTags(*tags), may_pack)

    def note(self, packet: av.Packet[av.VideoStream]) -> None:
        """Count a packet, and keep its timestamp."""
        self.packets += 1
        self.packed = self.packed or (self.may_pack and _is_packed(bytes(packet)))
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

        Frames come out in the order in which they are shown, so these are times of decoding. Where
        packets hold two pictures, one of these gets the time of another packet, which holds none.
        """
        if self.packed:
            return True
        times = [time for time in self._shown if time is not None]
        return self._rising and any(b < a for a, b in pairwise(times))

    def is_sparse(self, *, interlaced: bool) -> bool:
        """Whether some frames have no timestamp, or none has.

        The two fields of an ``interlaced`` picture may be two packets, one of them without.
        """
        return None in self._shown or (self.untimed > 0 and not interlaced)


def longest_stretch(pts: Sequence[int], tick: Fraction) -> Sequence[int]:
    """The most of sorted timestamps between which no jump of more than five seconds lies."""
    jumps = [at for at in range(1, len(pts)) if (pts[at] - pts[at - 1]) * tick > _JUMP]
    pieces = [pts[a:b] for a, b in pairwise([0, *jumps, len(pts)])]
    return max(pieces, key=len)


def is_variable(pts: Sequence[int]) -> bool:
    """Whether sorted timestamps step unevenly by more than rounding to ticks explains.

    Rounding once moves a step by up to one tick and rounding twice (a remuxed file) by two; a step
    half as long again as another is a missing frame even where ticks are coarse.
    """
    steps = [b - a for a, b in pairwise(pts)]
    return bool(steps) and (max(steps) - min(steps) > 2 or 2 * max(steps) >= 3 * max(min(steps), 1))


def frame_rate(
    stream: av.VideoStream, pts: Sequence[int], untimed: int, whole: bool
) -> Fraction | None:
    """Frames per second over the file.

    Containers without frame counts claim odd rates (1000 for some Matroska files), so a claim is
    believed only when the sampled timestamps bear it out. ``untimed`` frames lie between those: a
    PES packet of an MPEG program stream has one timestamp for all its frames.
    """
    claims = [r for r in (stream.average_rate, stream.guessed_rate, stream.base_rate) if r]
    if len(pts) < 2 or stream.time_base is None:
        return claims[0] if claims else None
    seen = (len(pts) - 1 + untimed) / ((pts[-1] - pts[0]) * stream.time_base)
    slack = Fraction(1, 20) if whole and not untimed else Fraction(1, 2)
    for claim in claims:
        if abs(claim / seen - 1) <= slack:
            return claim
    return seen.limit_denominator(1001)


def _is_packed(data: bytes) -> bool:
    """Whether a packet of MPEG-4 part 2 holds a picture and one that is shown before it.

    AVI has one packet for each moment; DivX and XviD got along with that so ("packed bitstream"),
    and copies in other containers have the same packets.
    """
    second = data.partition(_VOP)[2].partition(_VOP)[2]
    return second != b"" and second[0] >> 6 == _B_VOP

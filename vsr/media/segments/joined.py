"""Finished segments as one stream of packets, with times that a muxer takes."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from av.packet import Packet
from av.video.stream import VideoStream

from vsr.errors import VerifyError
from vsr.media.segments.packet_file import PacketFile
from vsr.media.write.encoder import VideoEncoder

__all__ = ["JoinedVideo", "decoding_times"]


class JoinedVideo:
    """Takes the place of the encoder in a :class:`~vsr.media.write.writer.Writer`.

    Args:
        encoder: opened as the plan says, in the result. It encodes nothing: it gives the stream
            with the parameter sets that the segments' encoders must have had, too.
        parts: the segments in order.
        where: the result, for errors.

    Attributes:
        stream, time_base: the encoder's.
        times: presentation times of all frames, rising.

    Raises:
        VerifyError: a segment was encoded with other settings, or begins before its predecessor
            ends.
    """

    def __init__(self, encoder: VideoEncoder, parts: Sequence[PacketFile], where: str) -> None:
        self.stream: VideoStream = encoder.stream
        self.time_base = encoder.time_base
        self._parts = [part for part in parts if part.times]
        self._where = where
        self.times = array("q")
        own = bytes(encoder.stream.codec_context.extradata or b"")
        for part in self._parts:
            if part.extradata != own:
                raise VerifyError(
                    f"segment {part.tally.index} was encoded with other parameter sets",
                    where=where,
                    remedy="Start anew with --fresh.",
                )
            ordered = sorted(part.times)
            if self.times and ordered[0] <= self.times[-1]:
                raise VerifyError(
                    f"segment {part.tally.index} begins before its predecessor ends", where=where
                )
            self.times.extend(ordered)
        self._reorder = max((_reorder(part.times) for part in self._parts), default=0)

    def flush(self) -> Iterable[Packet[Any]]:
        """Nothing is held back."""
        return ()

    def __iter__(self) -> Iterator[Packet[Any]]:
        """The packets in decoding order, each with its stream, times and duration."""
        follows = dict(zip(self.times, self.times[1:], strict=False))
        times = decoding_times(self.times, self._reorder)
        for part in self._parts:
            for encoded in part:
                packet: Packet[Any] = Packet(encoded.data)
                packet.stream = self.stream
                packet.time_base = self.time_base
                packet.pts, packet.dts = encoded.pts, next(times)
                after = follows.get(encoded.pts)
                packet.duration = part.tally.last_duration if after is None else after - encoded.pts
                packet.is_keyframe = encoded.key
                yield packet


def decoding_times(times: Sequence[int], reorder: int) -> Iterator[int]:
    """Decoding time of each packet, in decoding order: strictly rising, never after its frame.

    Encoders count anew in each segment, and where frames come at irregular times their first
    decoding times may lie before the last ones of the segment before. The rule is theirs (x264's,
    for one): the n-th packet is decoded when the frame ``reorder`` places earlier is shown; the
    first ones as far before zero as that frame is after it.

    Args:
        times: presentation times, strictly rising.
        reorder: how many places a packet may be behind the order of presentation.
    """
    if not times:
        return
    delay = times[reorder] - times[0]
    for n in range(len(times)):
        yield times[n] - delay if n < reorder else times[n - reorder]


def _reorder(times: Sequence[int]) -> int:
    """How many places a packet is behind the order of presentation, at most."""
    rank = {pts: place for place, pts in enumerate(sorted(times))}
    return max((place - rank[pts] for place, pts in enumerate(times)), default=0)

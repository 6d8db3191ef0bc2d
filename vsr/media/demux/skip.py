"""To a place in a file by its packets, where seeking cannot be trusted."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import av

_P = TypeVar("_P", bound="av.Packet[Any]")

__all__ = ["skip_to"]

# Two, because frames before a key frame in the order of display may need the one before that.
_GROUPS = 2
# Where key frames are so rare, what comes before is decoded as well.
_MOST_HELD = 3000


def skip_to(packets: Iterable[_P], video: int, wanted: int) -> Iterator[_P]:
    """The packets, without those of the video that are not needed to decode ``wanted``.

    Args:
        packets: of a file, in its order.
        video: index of the video stream.
        wanted: timestamp of the first frame that must be right, in the stream's ticks.
    """
    groups: deque[list[_P]] = deque([[]])
    count, waiting = 0, True
    for packet in packets:
        if not waiting or packet.stream.index != video:
            yield packet
            continue
        if packet.is_keyframe and packet.size:
            groups.append([])
            if len(groups) > _GROUPS:
                count -= len(groups.popleft())
        groups[-1].append(packet)
        count += 1
        if packet.size == 0 or (packet.pts or 0) >= wanted or count > _MOST_HELD:
            waiting = False
            for group in groups:
                yield from group
    if waiting:
        for group in groups:
            yield from group

"""Packets of damaged recordings that FFmpeg's muxers would refuse, and the whole file with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import av.error
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer
from av.format import Flags
from av.packet import Packet
from av.stream import Stream

__all__ = ["HeaderCheck", "header_check"]

# Formats of recordings, whose AAC has a header in each packet (PyAV's stubs take the members for
# something else).
_RECORDINGS: int = cast(Any, Flags.ts_discont).value
# E-AC-3 (ETSI TS 102 366, E.1.3.1): the type of a frame that belongs to the one before; what has
# a lower number than this is AC-3.
_DEPENDENT, _LEAST_BSID = 1, 11


class HeaderCheck:
    """Reads the header of each packet as the muxer will.

    Where a packet of a recording is lost, FFmpeg's parser hands out what lies between two frames
    as a packet of its own, without the header that frames begin with.

    Args:
        name: FFmpeg's bitstream filter that reads it.
        source: the stream.
        sync: what a header begins with; packets before the first one that has it may be of another
            form. ``None``: all have a header.
        begins: tells of a packet whether it can be the first, by which the muxer goes.
    """

    def __init__(
        self,
        name: str,
        source: Stream,
        sync: bytes | None = None,
        begins: Callable[[bytes], bool] = lambda _: True,
    ) -> None:
        self._filter = BitStreamFilterContext(name, source)
        self._sync = sync
        self._begins = begins
        self._begun = False

    def refuses(self, packet: Packet[Any]) -> bool:
        """Whether ``packet``, which stays as it is, has no valid header."""
        data = bytes(packet)
        if self._sync is not None:
            if not data.startswith(self._sync):
                return False
            self._sync = None
        try:
            self._filter.filter(Packet(data))
        except av.error.FFmpegError:
            return True
        self._begun = self._begun or self._begins(data)
        return not self._begun


def header_check(source: Stream, codec: str, *, quicktime: bool) -> HeaderCheck | None:
    """The check that packets of ``source`` need, if any.

    Args:
        source: a sound stream of the source.
        codec: FFmpeg's name.
        quicktime: the result is an MP4 or MOV file.
    """
    context: Any = source.codec_context
    if codec == "aac" and not context.extradata:
        container = cast(InputContainer, source.container)
        recorded = container.format.flags & _RECORDINGS
        return HeaderCheck("aac_adtstoasc", source, None if recorded else b"\xff")
    if codec == "eac3" and quicktime:
        return HeaderCheck("eac3_core", source, begins=_is_whole)
    return None


def _is_whole(data: bytes) -> bool:
    """Whether a packet of E-AC-3 is one frame and those that depend on it, and nothing else."""
    at = 0
    while at + 6 <= len(data):
        if data[at + 5] >> 3 < _LEAST_BSID:
            return True  # AC-3 with or without more channels in E-AC-3
        if data[at : at + 2] != b"\x0b\x77" or (at and data[at + 2] >> 6 != _DEPENDENT):
            return False
        at += 2 * ((data[at + 2] & 7) << 8 | data[at + 3]) + 2
    return at == len(data)

"""Packets that differ from the source's in one thing."""

from __future__ import annotations

from typing import Any, Literal

from av.packet import Packet

__all__ = ["fresh_packet", "without_settings"]

_SETTINGS: Literal["new_extradata"] = "new_extradata"


def fresh_packet(packet: Packet[Any], data: bytes) -> Packet[Any]:
    """A packet with ``data``, and all else as in ``packet`` but for its side data."""
    fresh: Packet[Any] = Packet(data)
    fresh.stream, fresh.time_base = packet.stream, packet.time_base
    fresh.pts, fresh.dts, fresh.duration = packet.pts, packet.dts, packet.duration
    fresh.is_keyframe, fresh.is_corrupt = packet.is_keyframe, packet.is_corrupt
    return fresh


def without_settings(packet: Packet[Any]) -> tuple[Packet[Any], bytes | None]:
    """``packet`` without new settings for the decoder, and these, if it brought some."""
    if not packet.has_sidedata(_SETTINGS):
        return packet, None
    fresh = fresh_packet(packet, bytes(packet))
    settings = b""
    for data in packet.iter_sidedata():
        if data.data_type == _SETTINGS:
            settings = bytes(data)
        else:
            fresh.set_sidedata(data)
    return fresh, settings

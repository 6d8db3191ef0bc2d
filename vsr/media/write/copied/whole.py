"""Cover art and attached files, which have no times, and what the first packets tell."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import AttachmentStream, Disposition, Stream

from vsr.media.demux.depth import demuxed
from vsr.media.write.tags import describe_stream
from vsr.types import StreamAction

__all__ = ["add_attachment", "add_cover", "cover_packet", "preview"]

_PREVIEW_PACKETS = 500
_MIME_TYPES = {"mjpeg": ("jpg", "image/jpeg"), "png": ("png", "image/png")}


def preview(
    source: InputContainer, covers: Sequence[int], sounds: Sequence[int]
) -> tuple[dict[int, bytes], dict[int, Fraction]]:
    """Pictures of the cover streams, and when the sound streams begin, in seconds.

    Reads the first packets of ``source`` only; a stream that is not among them is left out.
    """
    pictures: dict[int, bytes] = {}
    begins: dict[int, Fraction] = {}
    wanted = {*covers, *sounds}
    if not wanted:
        return pictures, begins
    for count, packet in enumerate(demuxed(source, source.streams)):
        index = packet.stream_index
        if packet.size and index in covers:
            pictures.setdefault(index, bytes(packet))
        elif packet.size and index in sounds and packet.pts is not None:
            begins.setdefault(index, packet.pts * packet.time_base)
        if count > _PREVIEW_PACKETS or wanted <= pictures.keys() | begins.keys():
            break
    return pictures, begins


def add_cover(output: OutputContainer, source: Stream, action: StreamAction) -> Stream:
    """A stream for cover art (``copy``); its one packet is written after the header."""
    stream = output.add_stream_from_template(source, opaque=True)
    describe_stream(stream, action.stream)
    stream.disposition = Disposition.attached_pic
    return stream


def cover_packet(stream: Stream, picture: bytes) -> Packet[Any]:
    """The packet of a stream made by :func:`add_cover`."""
    packet: Packet[Any] = Packet(picture)
    packet.stream = stream
    packet.time_base = Fraction(1, 1000)
    packet.pts = packet.dts = 0
    packet.is_keyframe = True
    return packet


def add_attachment(
    output: OutputContainer, source: Stream, action: StreamAction, picture: bytes
) -> None:
    """Attach a file: a font of the source as it is, or cover art with a name players know."""
    tags = dict(action.stream.metadata)
    if isinstance(source, AttachmentStream):
        name, mime, data = f"attachment{source.index}", "application/octet-stream", source.data
    else:
        ending, mime = _MIME_TYPES.get(action.stream.codec, (action.stream.codec, "image/*"))
        name, data = f"cover.{ending}", picture
    name, mime = tags.pop("filename", name), tags.pop("mimetype", mime)
    attached = output.add_attachment(name, mime, data)
    attached.metadata.update(tags)

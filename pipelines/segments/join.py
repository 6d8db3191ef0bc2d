"""From finished segments to the result: nothing is encoded again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from pipelines.reading import read_request
from vsr.media.demux.side_packets import SidePackets
from vsr.media.read.notes import UNREADABLE_REST
from vsr.media.segments.joined import JoinedVideo
from vsr.media.segments.packet_file import PacketFile
from vsr.media.write.writer import Writer, WriteResult
from vsr.types import Plan

__all__ = ["join"]


def join(
    plan: Plan,
    parts: Sequence[PacketFile],
    end: int | None,
    scratch: Path,
    *,
    before_commit: Callable[[Path], str | None],
) -> WriteResult:
    """Write the result of ``plan`` from its segments and the other streams of its source.

    Args:
        plan: the plan.
        parts: its segments, in order, all of them.
        end: pts of the first frame behind the part in the source's ticks, if there is one.
        scratch: folder for the temporary file.
        before_commit: called with the file when it is complete and verified, before it is given
            its name; may return another one.

    Raises:
        OutputError: the file cannot be written.
        VerifyError: a segment is damaged or does not belong to this plan, or what was written is
            not what it must be.
    """
    tick, trim = plan.video.time_base, plan.trim
    start = None if trim.start is None else trim.start * tick
    stop = None if end is None else end * tick
    with Writer(plan, scratch) as writer:
        video = JoinedVideo(writer.encoder, parts, plan.destination)
        writer.join(video)
        streams = read_request(plan).side_streams
        with SidePackets(plan.source, plan.video.index, streams, start, stop) as side:
            for packet in video:
                at = (packet.dts or 0) * video.time_base - plan.time_shift
                for other in side.until(at):
                    writer.mux(other)
                writer.mux_video(packet)
            for other in side.rest(stop):
                writer.mux(other)
            cut = side.broken and stop is not None
        result = writer.finish(before_commit)
    return replace(result, warnings=(*result.warnings, UNREADABLE_REST)) if cut else result

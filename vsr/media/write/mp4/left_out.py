"""Tracks that are not in an MP4 or MOV file: FFmpeg's muxer leaves out what got no packet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
from av.container import InputContainer

from vsr.errors import VerifyError
from vsr.media.av_errors import av_errors
from vsr.media.source import ffmpeg_name
from vsr.media.write.remux import Lane
from vsr.plan.streams import title
from vsr.types import Plan

__all__ = ["LeftOut", "find_left_out", "places"]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What a file lacks of the streams that it was to have.

    Attributes:
        said: a sentence for each.
        untrue: sentences of the plan's ``given_up`` that say what becomes of them.
    """

    said: tuple[str, ...] = ()
    untrue: tuple[str, ...] = ()


def places(container: InputContainer) -> dict[int, int]:
    """The streams that a file has: index when it was written -> index in the file.

    Tracks of MP4 and MOV keep the numbers that they were to have, from 1, where others are left
    out; what is no track, such as cover art, has number 0.
    """
    if "mp4" in container.format.name.split(","):
        return {stream.id - 1: stream.index for stream in container.streams if stream.id > 0}
    return {stream.index: stream.index for stream in container.streams}


def find_left_out(path: Path, plan: Plan, lanes: Sequence[Lane]) -> LeftOut:
    """Which of the streams that got no packet are not in the finished file.

    Strict mode has nothing against it: nothing was lost, and that shows only when all the work is
    done. Sound of which nothing could be decoded was to be encoded again, with which no strict
    plan begins.

    Args:
        path: the file.
        plan: what it was made by.
        lanes: its streams other than the pictures.

    Raises:
        VerifyError: the file cannot be read.
    """
    empty = [lane for lane in lanes if not lane.tally.packets]
    if not empty:
        return LeftOut()
    with (
        av_errors(plan.destination, "read the written file back", VerifyError),
        av.open(ffmpeg_name(str(path))) as container,
    ):
        there = places(container)
    gone = [lane for lane in empty if lane.stream.index not in there]
    names = tuple(f"stream {lane.action.stream.index} (" for lane in gone)
    return LeftOut(
        said=tuple(_sentence(lane, plan) for lane in gone),
        untrue=tuple(sentence for sentence in plan.given_up if sentence.startswith(names)),
    )


def _sentence(lane: Lane, plan: Plan) -> str:
    why = f"nothing of it was found{' in this part' if plan.trim else ''}"
    if lane.tally.refused:
        why = "none of it could be decoded"
    return f"{title(lane.action.stream)}: {why}, and .{plan.container} holds no empty streams."

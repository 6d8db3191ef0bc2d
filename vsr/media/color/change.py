"""Frames that are tagged otherwise than the beginning of their stream, as in spliced broadcasts.

A run reads all samples of a stream in one way, which is decided from its beginning. A frame with
another matrix or range is brought to that; other primaries or another transfer cannot be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Protocol, TypeVar

from torch import Tensor

from vsr.media.color.convert import from_rgb, to_rgb
from vsr.media.color.matrix import MATRICES
from vsr.types import (
    ChromaSite,
    Color,
    ColorRange,
    Matrix,
    PixelFormat,
    Primaries,
    Transfer,
    VideoStreamInfo,
)

__all__ = ["FrameColors", "Reading"]

Tag = TypeVar("Tag", bound=IntEnum)

# These are shown with curves of their own; between all others players make little or no difference.
_OWN_CURVE = {Transfer.PQ, Transfer.HLG, Transfer.LINEAR, Transfer.LOG, Transfer.LOG_SQRT}


class Tagged(Protocol):
    """The tags of a decoded frame, FFmpeg's code points."""

    @property
    def colorspace(self) -> int: ...
    @property
    def color_range(self) -> int: ...
    @property
    def color_primaries(self) -> int: ...
    @property
    def color_trc(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Reading:
    """How the samples of one frame are to be read.

    Attributes:
        color: matrix and range are the frame's own.
        differs: one of these is not the stream's.
        lost: what else its tags say differs, too, and cannot be converted.
    """

    color: Color
    differs: bool
    lost: bool


class FrameColors:
    """Compares the tags of frames with those of their stream, and converts.

    What the person has said against the stream's tags holds for all frames. What a frame does not
    say is as in the stream.

    Args:
        video: the stream, with its tags.
        color: how its samples are read; what is not settled there is taken as usual.
    """

    def __init__(self, video: VideoStreamInfo, color: Color) -> None:
        self._video, self._decided = video, color
        self._color = replace(
            color,
            matrix=color.matrix if color.matrix in MATRICES else Matrix.BT709,
            range=color.range or _usual_range(video.format),
            site=ChromaSite.LEFT if color.site is ChromaSite.UNSPECIFIED else color.site,
        )
        self._known: dict[tuple[object, ...], Reading] = {}

    def of(self, frame: Tagged, fmt: PixelFormat, named: ColorRange) -> Reading:
        """How to read a frame.

        Args:
            frame: its tags.
            fmt: its planar format.
            named: the range that its native format's name implies.
        """
        tags = (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc)
        key = (*tags, fmt.name, named)
        if key not in self._known:
            own = Color(
                _tag(Matrix, tags[0], Matrix.UNSPECIFIED),
                _tag(Primaries, tags[2], Primaries.UNSPECIFIED),
                _tag(Transfer, tags[3], Transfer.UNSPECIFIED),
                # A decoder keeps to its format although the range changes, and says so here.
                _tag(ColorRange, tags[1], ColorRange.UNSPECIFIED) or named,
            )
            self._known[key] = self._compare(own, fmt)
        return self._known[key]

    def convert(
        self, planes: Sequence[Tensor], fmt: PixelFormat, reading: Reading
    ) -> tuple[Tensor, ...]:
        """Planes of ``fmt``, ``(N, H_p, W_p)``, in the stream's format and colour."""
        return from_rgb(*to_rgb(planes, fmt, reading.color), self._video.format, self._color)

    def _compare(self, own: Color, fmt: PixelFormat) -> Reading:
        first, decided, wanted = self._video.color, self._decided, self._color
        of_rgb = self._video.format.family == "rgb"
        matrix, lost = wanted.matrix, False
        if (
            fmt.family == "yuv"
            and own.matrix not in (Matrix.UNSPECIFIED, Matrix.RGB)
            and not _overruled(first.matrix, decided.matrix)
        ):
            if own.matrix in MATRICES and (decided.matrix in MATRICES or of_rgb):
                matrix = own.matrix
            else:
                lost = own.matrix is not decided.matrix
        alike = (fmt.family == "rgb") == of_rgb
        span = wanted.range if alike else _usual_range(fmt)
        if own.range and not (alike and _overruled(first.range, decided.range)):
            span = own.range
        if own.transfer not in (Transfer.UNSPECIFIED, first.transfer):
            lost = lost or bool({own.transfer, first.transfer} & _OWN_CURVE)
        if Primaries.UNSPECIFIED not in (own.primaries, first.primaries):
            lost = lost or own.primaries is not first.primaries
        differs = MATRICES[matrix] != MATRICES[wanted.matrix] or span is not wanted.range
        return Reading(replace(wanted, matrix=matrix, range=span), differs, lost)


def _usual_range(fmt: PixelFormat) -> ColorRange:
    return ColorRange.FULL if fmt.family == "rgb" else ColorRange.LIMITED


def _overruled(tagged: IntEnum, decided: IntEnum) -> bool:
    """Whether somebody has said that the stream's tag is wrong."""
    return tagged.name != "UNSPECIFIED" and decided is not tagged


def _tag(kind: type[Tag], value: int, unspecified: Tag) -> Tag:
    return kind(value) if value in kind._value2member_map_ else unspecified

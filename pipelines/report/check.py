"""That an evaluation and its pictures fit together, before anything is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from vsr.errors import UsageError
from vsr.types.evaluation import Candidate, Evaluation
from vsr.types.stills import Picture, Still

__all__ = ["check_evaluation", "check_stills", "png_size"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def check_evaluation(evaluation: Evaluation) -> None:
    """Raise unless all candidates were scored on the same frames.

    Raises:
        UsageError: there is no candidate, two have one name, their frames differ, or frames have
            times without a time base.
    """
    candidates = evaluation.candidates
    if not candidates:
        raise UsageError("an evaluation without candidates cannot be reported")
    _unique("candidates", (candidate.name for candidate in candidates))
    _unique("metrics", (metric.name for metric in evaluation.metrics))
    first = candidates[0]
    if any(frame.pts is not None for frame in first.frames) and evaluation.time_base is None:
        raise UsageError("frames have timestamps, but the evaluation has no time base")
    for other in candidates[1:]:
        if first.frames and other.frames:
            _same_frames(first, other)
        elif other.frames:
            raise UsageError(f"{other.name} has scores for frames, {first.name} has none")


def _same_frames(first: Candidate, other: Candidate) -> None:
    if len(first.frames) != len(other.frames):
        raise UsageError(
            f"{first.name} has scores for {len(first.frames)} frames, "
            f"{other.name} for {len(other.frames)}"
        )
    for a, b in zip(first.frames, other.frames, strict=True):
        if (a.index, a.pts, a.label) != (b.index, b.pts, b.label):
            raise UsageError(
                f"{first.name} and {other.name} were not scored on the same frames: "
                f"frame {a.index} ({a.label or a.pts}) faces frame {b.index} ({b.label or b.pts})"
            )


def check_stills(stills: Sequence[Still]) -> None:
    """Raise unless each frame's pictures show the same thing.

    Raises:
        UsageError: a frame has no picture or two of one name, a picture is not a PNG file, or its
            shape is not that of the others.
    """
    _unique("stills", (still.index for still in stills))
    for still in stills:
        if not still.pictures:
            raise UsageError(f"frame {still.index} has no picture")
        _unique(f"pictures of frame {still.index}", (picture.name for picture in still.pictures))
        sizes = [png_size(picture) for picture in still.pictures]
        width, height = max(sizes)
        for picture, (w, h) in zip(still.pictures, sizes, strict=True):
            # A smaller one may be rounded to whole pixels in either direction.
            if abs(w * height - h * width) > max(width, height):
                raise UsageError(
                    f"the pictures of frame {still.index} have different shapes: {picture.name} "
                    f"measures {w}x{h}, another {width}x{height}"
                )


def png_size(picture: Picture) -> tuple[int, int]:
    """Width and height, from the file's header (PNG specification, 11.2.2).

    Raises:
        UsageError: it is not a PNG file.
    """
    head = picture.png[:24]
    if len(head) < 24 or not head.startswith(_SIGNATURE):
        raise UsageError(f"the picture {picture.name} is not a PNG file")
    return int.from_bytes(head[16:20]), int.from_bytes(head[20:24])


def _unique(what: str, names: Iterable[object]) -> None:
    name, times = max(Counter(names).items(), key=lambda item: item[1], default=("", 0))
    if times > 1:
        raise UsageError(f"two {what} are called {name!r}")

"""Where one shot ends and the next begins: a passive detector of hard cuts.

The measure is that of PySceneDetect (B. Castellano, https://www.scenedetect.com): how much a frame
differs from the one before, averaged over its pixels and summed over luma and chroma
(``ContentDetector``, with the file's own Y'CbCr in place of HSV), compared with the differences
around it (``AdaptiveDetector``), so that fast motion is not taken for a cut. Frames are first
averaged down to some 64 columns, after B.-L. Yeo and B. Liu, "Rapid Scene Analysis on Compressed
Video", IEEE Trans. CSVT 5(6), 1995, which makes grain and small motion vanish. A flash is told
from a cut by what follows: the picture from before it comes back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from vsr.types import FrameBatch

__all__ = ["CutDetector", "Scene", "scenes"]

_COLUMNS, _ROWS = 64, 36  # a frame is looked at in no more samples than these
_PAST = 4  # differences before the frame that its own is compared with

# On real clips cuts begin at some 30, and steps that stand out without being one end at some 12.
_LEAST = 15.0
_RATIO = 2.5
# Around a difference of nothing at all (a still, or a frame that is shown twice) a ratio means
# little, so this much is always expected.
_FLOOR = 1.5
# The picture that comes back after a flash differs from the one before it by less than this part
# of what the flash does.
_RETURN = 0.5


class CutDetector:
    """Says before which frames a cut lies, given the frames in order.

    An answer takes ``lookahead`` further frames, so :meth:`push` gives those that are due and
    :meth:`finish` the last ones; there is one for every frame. The first frame's is ``False``:
    nothing lies before it.

    Found are hard cuts. Dissolves and fades have no frame at which the scene changes, and are not
    reported; neither is a flash, or a scene shorter than ``lookahead`` frames between two that are
    alike.

    Args:
        lookahead: frames seen before an answer is given. With 0 each answer is there at once, and
            the beginning of a dissolve or a flash may be taken for a cut.
        least: smallest difference that is a cut, in codes of 8 bits, summed over luma and chroma.
        ratio: how many times the second largest difference around it a cut's must be.
    """

    def __init__(self, *, lookahead: int = 2, least: float = _LEAST, ratio: float = _RATIO) -> None:
        self._lookahead, self._least, self._ratio = lookahead, least, ratio
        kept = _PAST + lookahead + 2
        self._frames: deque[tuple[Tensor, ...]] = deque(maxlen=kept)
        self._steps: deque[float | None] = deque(maxlen=kept)  # None: nothing lies before it
        self._answered = self._seen = 0

    def push(self, batch: FrameBatch) -> list[bool]:
        """Take frames; give the answers that are due, in the frames' order.

        Args:
            batch: planes on any device, in any format; a file's or of any other size, as long as
                it stays the same.
        """
        answers = []
        for frame in _thumbnails(batch):
            last = self._frames[-1] if self._frames else None
            self._steps.append(None if last is None else _distance(last, frame))
            self._frames.append(frame)
            self._seen += 1
            if self._seen - self._answered > self._lookahead:
                answers.append(self._answer())
        return answers

    def finish(self) -> list[bool]:
        """Give the answers that waited for further frames."""
        return [self._answer() for _ in range(self._seen - self._answered)]

    def _answer(self) -> bool:
        at = len(self._steps) - (self._seen - self._answered)
        self._answered += 1
        steps = list(self._steps)
        step = steps[at]
        if step is None or step < self._least:
            return False
        ahead = steps[at + 1 :]
        around = [s for s in (*steps[max(0, at - _PAST) : at], *ahead) if s is not None]
        # The second largest, because another cut may lie near.
        usual = sorted(around)[-2] if len(around) > 1 else 0.0
        if step < self._ratio * (usual + _FLOOR):
            return False
        return not self._is_flash(at, step)

    def _is_flash(self, at: int, step: float) -> bool:
        """Whether the frames before and behind belong together, on the way in or out of one."""
        frames = list(self._frames)
        into = (_distance(frames[at - 1], later) for later in frames[at + 1 :])
        before = frames[max(0, at - 1 - self._lookahead) : at - 1]
        out = (_distance(earlier, frames[at]) for earlier in before)
        return any(other < _RETURN * step for other in (*into, *out))


@dataclass(frozen=True, slots=True)
class Scene:
    """The frames from one cut to the next.

    Attributes:
        number: counted from 1.
        first: index of its first frame in presentation order, from 0.
        stop: index of the frame behind its last one.
        pts: of the first frame, in ticks of ``time_base``.
        time: seconds from the first frame of the file.
    """

    number: int
    first: int
    stop: int
    pts: int
    time: Fraction


def scenes(batches: Iterable[FrameBatch]) -> Iterator[Scene]:
    """The scenes of a video, each as soon as its end is known.

    Args:
        batches: all frames from the first one, as a reader gives them.
    """
    detector = CutDetector()
    starts: deque[tuple[int, Fraction]] = deque()  # pts and time of frames without an answer
    begun: tuple[int, int, Fraction] | None = None
    origin: Fraction | None = None
    index = number = 0

    def settle(answers: Iterable[bool]) -> Iterator[Scene]:
        nonlocal begun, index, number
        for cut in answers:
            pts, time = starts.popleft()
            if begun is None or cut:
                if begun is not None:
                    number += 1
                    yield Scene(number, begun[0], index, begun[1], begun[2])
                begun = (index, pts, time)
            index += 1

    for batch in batches:
        for pts in batch.pts:
            at = pts * batch.time_base
            origin = at if origin is None else origin
            starts.append((pts, at - origin))
        yield from settle(detector.push(batch))
    yield from settle(detector.finish())
    if begun is not None:
        yield Scene(number + 1, begun[0], index, begun[1], begun[2])


def _thumbnails(batch: FrameBatch) -> Iterator[tuple[Tensor, ...]]:
    """Each frame's planes but alpha, averaged down, in codes of 8 bits."""
    batch.wait()
    color_planes = batch.planes[: len(batch.planes) - batch.format.alpha]
    scale = 255 / ((1 << batch.format.bits) - 1)
    for index in range(len(batch)):
        yield tuple(
            adaptive_avg_pool2d(
                plane[index].to(torch.float32).unsqueeze(0),
                (min(_ROWS, plane.shape[1]), min(_COLUMNS, plane.shape[2])),
            ).mul_(scale)
            for plane in color_planes
        )


def _distance(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> float:
    return sum(float((x - y).abs().mean()) for x, y in zip(a, b, strict=True))

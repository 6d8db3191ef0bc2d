"""Mean and variance over whole frames, which FDIWN weights its features by: measured or given.

A network of this kind asks a :data:`Statistics` for the moments of its maps, always in the same
order. :func:`measure` answers with those of the map itself. A :class:`Record` keeps the answers of
one pass, and a :class:`Replay` gives them in another, so that a part of a frame can be weighted
like the whole, or a frame like the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Area", "Moments", "Record", "Recorded", "Replay", "Statistics", "join", "measure"]

#: Samples of a channel that are summed in one go: float32 sums of more lose digits.
_SUMMED = 1 << 14


class Moments(NamedTuple):
    """Mean and population variance per frame and channel, ``(N, C, 1, 1)`` float32 each."""

    mean: Tensor
    variance: Tensor


#: Features ``(N, C, H, W)`` to the moments they are weighted by.
Statistics = Callable[[Tensor], Moments]

#: The moments of one pass through a network, in the order in which it asks for them.
Recorded = Sequence[Moments]

#: Rows and columns of a map.
Area = tuple[slice, slice]

_ALL: Area = (slice(None), slice(None))


def measure(x: Tensor) -> Moments:
    """The moments of ``x`` itself, ``(N, C, H, W)``.

    As :func:`vsr.models.fdiwn.channel_statistics`, without gradients and eight times as fast on
    channels_last features: batch normalisation's own kernel takes bands of rows.
    """
    if x.is_cuda:  # its own kernel is fast there, and bands would be thousands of launches
        variance, mean = torch.var_mean(x.float(), (2, 3), correction=0, keepdim=True)
        return Moments(mean, variance)
    _, channels, height, width = x.shape
    rows = max(1, _SUMMED // width)
    # Given running statistics in float32, the kernel answers in float32 whatever x is; with a
    # momentum of 0 it leaves them alone.
    running = x.new_zeros((2, channels), dtype=torch.float32)
    means, variances, shares = [], [], []
    for top in range(0, height, rows):
        bands = [frame[None, :, top : top + rows] for frame in x]
        pairs = [torch.batch_norm_update_stats(b, running[0], running[1], 0.0) for b in bands]
        means.append(torch.stack([mean for mean, _ in pairs]))
        variances.append(torch.stack([variance for _, variance in pairs]))
        shares.append(bands[0].shape[2] / height)
    mean, variance = _pooled(torch.stack(means), torch.stack(variances), shares)
    return Moments(mean[:, :, None, None], variance[:, :, None, None])


def join(parts: Sequence[Recorded], sizes: Sequence[int]) -> list[Moments]:
    """The moments of a whole from those of its parts.

    Args:
        parts: what was recorded of each.
        sizes: how many samples each has.
    """
    shares = [size / sum(sizes) for size in sizes]
    return [
        Moments(
            *_pooled(
                torch.stack([part.mean for part in same]),
                torch.stack([part.variance for part in same]),
                shares,
            )
        )
        for same in zip(*parts, strict=True)
    ]


def _pooled(means: Tensor, variances: Tensor, shares: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Moments of parts, stacked, as those of the whole; exact.

    Chan, Golub and LeVeque, "Algorithms for computing the sample variance", 1983.
    """
    share = means.new_tensor(shares, dtype=torch.float32).view(-1, *[1] * (means.dim() - 1))
    mean = (share * means).sum(0)
    return mean, (share * (variances + (means - mean).square())).sum(0)


class Record:
    """Measures, answers, and keeps what it measured, for one pass.

    Args:
        given: what to answer in place of what is measured.
        area: what of each map is measured.

    Attributes:
        measured: the moments of each map so far.
    """

    def __init__(self, given: Recorded | None = None, area: Area = _ALL) -> None:
        self.measured: list[Moments] = []
        self._given = given
        self._area = area

    def __call__(self, x: Tensor) -> Moments:
        """Answer the next question of the network."""
        rows, columns = self._area
        self.measured.append(measure(x[:, :, rows, columns]))
        return self.measured[-1] if self._given is None else self._given[len(self.measured) - 1]


class Replay:
    """Answers with what was recorded in another pass, and measures nothing.

    Args:
        given: of a pass of the same network.
    """

    def __init__(self, given: Recorded) -> None:
        self._answers = iter(given)

    def __call__(self, _x: Tensor) -> Moments:
        """Answer the next question of the network."""
        return next(self._answers)

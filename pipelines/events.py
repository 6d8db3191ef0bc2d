"""What a running job tells whoever listens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Event", "Listener", "Progress", "Warned"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the run is.

    Attributes:
        frames: frames handed to the encoder so far, those of an earlier run of the job included.
            Fewer than before when a worker has died and its segment begins anew.
        total: frames expected, ``None`` if the container does not say.
        fps: frames per second of this run.
        eta: seconds left at that rate, ``None`` if ``total`` is unknown.
        bound_by: the busiest stage so far (``decode``, ``infer``, ``encode``).
    """

    frames: int
    total: int | None
    fps: float
    eta: float | None
    bound_by: str


@dataclass(frozen=True, slots=True)
class Warned:
    """Something a person should know, one sentence."""

    message: str


Event = Progress | Warned

Listener = Callable[[Event], None]

"""What a running job tells whoever listens."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Event", "Progress", "Warned"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the run is.

    Attributes:
        frames: frames handed to the encoder so far.
        total: frames expected, ``None`` if the container does not say.
        fps: frames per second since the first frame.
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

"""A batch's planes in the memory of a device."""

from __future__ import annotations

from typing import Any

import torch

from vsr.media.read.reader import ReadRequest
from vsr.media.read.storage import empty_planes

__all__ = ["DevicePlanes"]


class DevicePlanes:
    """What the storages of readers on a device share; each puts frames in its own way.

    Work on the planes is queued on the device's default stream, and nothing waits but who reads
    the batch.
    """

    def __init__(self, request: ReadRequest) -> None:
        self._request = request
        self._device = torch.device(request.device)
        self._planes: tuple[torch.Tensor, ...] = ()

    def _at(self, at: int) -> list[torch.Tensor]:
        """The planes of the frame at ``at``, in a batch that is begun if there is none."""
        if not self._planes:
            self._planes = empty_planes(self._request, self._device)
        return [plane[at] for plane in self._planes]

    def take(self, count: int) -> tuple[tuple[torch.Tensor, ...], Any]:
        """The planes of the first ``count`` frames, and the event that says they are filled."""
        planes, self._planes = self._planes, ()
        ready = None
        if self._device.type == "cuda":
            ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
            ready.record(torch.cuda.default_stream(self._device))
        return tuple(plane[:count] for plane in planes), ready

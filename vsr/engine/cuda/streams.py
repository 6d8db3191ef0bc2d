"""Three CUDA streams for one batch after the other: into the device, network, out of it.

Issuing work takes the host far less time than doing it takes the device, so a batch is issued while
those before are computed: its samples come in and become RGB beside the network, and an earlier
batch's result becomes samples and goes out. Streams wait for each other by events on the device;
the host waits once a batch, when somebody is about to read the result.

Copies are asynchronous only from and to page-locked memory. torch's allocator of that keeps what
is given back and hands it out again once the copies that used it are done: a ring whose places are
free as soon as nobody refers to them, however long a frame is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor

from vsr.errors import BackendError

__all__ = ["CudaLayer", "Layer", "Pipeline", "Ready"]


class Layer(Protocol):
    """What is needed of CUDA; a stream is whatever :meth:`stream` gives."""

    def stream(self) -> Any:
        """A new stream."""
        ...

    def current(self) -> Any:
        """The caller's stream."""
        ...

    def on(self, stream: Any) -> AbstractContextManager[object]:
        """Work inside is issued to ``stream``."""
        ...

    def hand_over(self, source: Any, target: Any, tensors: Sequence[Tensor]) -> None:
        """What is issued to ``target`` from now on waits for what ``source`` has been given.

        The tensors, made on ``source``, are read there and stay alive for it.
        """
        ...

    def upload(self, plane: Tensor) -> Tensor:
        """A plane on the device; its copy is issued, not awaited."""
        ...

    def download(self, plane: Tensor) -> Tensor:
        """A plane in page-locked memory, where it may be read once the stream has come this far."""
        ...

    def event(self, stream: Any) -> Any:
        """Something whose ``synchronize()`` waits for all that ``stream`` has been given."""
        ...


class CudaLayer:
    """See :class:`Layer`.

    Args:
        device: a CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def stream(self) -> torch.cuda.Stream:
        """See the protocol."""
        made = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        made.wait_stream(self.current())  # weights may be on their way still
        return made

    def current(self) -> torch.cuda.Stream:
        """See the protocol."""
        return torch.cuda.current_stream(self._device)

    def on(self, stream: torch.cuda.Stream) -> AbstractContextManager[object]:
        """See the protocol."""
        return torch.cuda.stream(stream)

    def hand_over(
        self, source: torch.cuda.Stream, target: torch.cuda.Stream, tensors: Sequence[Tensor]
    ) -> None:
        """See the protocol."""
        target.wait_stream(source)
        for tensor in tensors:
            tensor.record_stream(target)

    def upload(self, plane: Tensor) -> Tensor:
        """See the protocol."""
        if plane.device.type == "cpu" and not plane.is_pinned():
            plane = torch.empty_like(plane, pin_memory=True).copy_(plane)
        return plane.to(self._device, non_blocking=True)

    def download(self, plane: Tensor) -> Tensor:
        """See the protocol."""
        held = torch.empty(plane.shape, dtype=plane.dtype, device="cpu", pin_memory=True)
        return held.copy_(plane, non_blocking=True)

    def event(self, stream: torch.cuda.Stream) -> torch.cuda.Event:
        """See the protocol."""
        # Whoever waits sleeps: encoders want the core.
        made = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        made.record(stream)
        return made


class Ready:
    """When a result may be read.

    Attributes:
        where: device and batch, for messages.
    """

    def __init__(self, event: Any, where: str) -> None:
        self._event = event
        self.where = where

    def synchronize(self) -> None:
        """Wait for it.

        Raises:
            BackendError: the device failed meanwhile; it reports that when somebody waits.
        """
        try:
            self._event.synchronize()
        except RuntimeError as error:
            raise BackendError(f"{self.where} failed: {error}") from error


class Pipeline:
    """Issues batches to three streams.

    Args:
        layer: CUDA, or what stands in for it.
    """

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        self._upload, self._network, self._download = (layer.stream() for _ in range(3))

    def planes(
        self,
        planes: Sequence[Tensor],
        enter: Callable[[Sequence[Tensor]], Sequence[Tensor]],
        network: Callable[[Sequence[Tensor]], Sequence[Tensor]],
        leave: Callable[[Sequence[Tensor]], Sequence[Tensor]],
        where: str,
    ) -> tuple[list[Tensor], Ready]:
        """Issue a batch.

        Args:
            planes: on the host or the device.
            enter, network, leave: what the streams do one after the other: the planes on the
                device in, what the next one takes out.
            where: device and batch, for messages.

        Returns:
            What ``leave`` gives, in page-locked memory, and when it may be read.
        """
        layer = self._layer
        layer.hand_over(layer.current(), self._upload, [p for p in planes if p.is_cuda])
        with layer.on(self._upload):
            small = enter([layer.upload(plane) for plane in planes])
        layer.hand_over(self._upload, self._network, small)
        with layer.on(self._network):
            large = network(small)
        layer.hand_over(self._network, self._download, large)
        with layer.on(self._download):
            results = [layer.download(plane) for plane in leave(large)]
            return results, Ready(layer.event(self._download), where)

    def alone(self, x: Tensor, network: Callable[[Tensor], Tensor]) -> Tensor:
        """``network(x)`` for the caller's stream, in turn with the batches."""
        layer = self._layer
        layer.hand_over(layer.current(), self._network, [x])
        with layer.on(self._network):
            large = network(x)
        layer.hand_over(self._network, layer.current(), [large])
        return large

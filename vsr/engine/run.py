"""The frames' way: read, upscale, hand on, each in its own thread over bounded queues."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

from vsr.engine.clock import StageClock, bound_by
from vsr.engine.distinct import Distinct, Item
from vsr.engine.prefetch import Prefetch
from vsr.engine.upscaler import Upscaler
from vsr.types import Color, FrameBatch, PixelFormat

__all__ = ["STAGES", "Clocks", "Upscaled", "upscaled"]

#: The stages of a run, in their order.
STAGES = ("decode", "infer", "encode")

#: Batches finished and waiting between two stages. Two hide jitter; more only cost memory, because
#: the slowest stage bounds the run whatever the queues hold.
_DEPTH = 2
#: Seconds that somebody who stops a run waits for a frame that is in the network. Its thread holds
#: nothing but tensors, so it may finish alone.
_PATIENCE = 1.0


@dataclass(frozen=True, slots=True)
class Clocks:
    """One clock per stage of a run."""

    decode: StageClock = field(default_factory=lambda: StageClock("decode"))
    infer: StageClock = field(default_factory=lambda: StageClock("infer"))
    encode: StageClock = field(default_factory=lambda: StageClock("encode"))

    def __iter__(self) -> Iterator[StageClock]:
        return iter((self.decode, self.infer, self.encode))

    @property
    def bound_by(self) -> str:
        """Name of the busiest stage."""
        return bound_by(self)


class Upscaled:
    """The items of a run, in order; iterated once.

    Attributes:
        repeated: frames so far that equal their predecessor and took over its result.
    """

    def __init__(self, items: Iterator[Item], distinct: Distinct) -> None:
        self._items = items
        self._distinct = distinct

    def __iter__(self) -> Iterator[Item]:
        return self._items

    @property
    def repeated(self) -> int:
        """Frames so far."""
        return self._distinct.repeated


def _awaited(items: Iterable[Item], clock: StageClock) -> Iterator[Item]:
    """The items once their frames can be read.

    The network's thread goes on issuing work to a GPU meanwhile; whoever wants the frames waits.
    """
    for item in items:
        if isinstance(item, FrameBatch) and item.ready is not None:
            with clock.work():
                item.ready.synchronize()
            yield replace(item, ready=None)
        else:
            yield item


def _is_batch(item: object) -> bool:
    return isinstance(item, FrameBatch)


@contextmanager
def upscaled(
    source: Iterable[Item],
    upscaler: Upscaler,
    format: PixelFormat,  # noqa: A002 - the field's own word
    color: Color,
    clocks: Clocks,
    *,
    batch: int = 1,
) -> Iterator[Upscaled]:
    """Upscale the batches of ``source``; packets and borders pass through in their place.

    Decoding runs in one thread and the network in another; what the ``with`` block gives is
    iterated in the caller's thread (which encodes). Leaving the block stops both threads, and an
    error in either is raised to the iterating caller.

    Args:
        source: a reader, or several one after the other with borders between them, across which
            no frame's result is used.
        upscaler: the network.
        format: of the results' planes.
        color: what the results' samples mean.
        clocks: ``decode`` and ``infer`` are advanced here, ``encode`` by the caller.
        batch: frames per call of the network. Frames that equal their predecessor do not count.
    """

    def enlarge(frames: FrameBatch) -> FrameBatch:
        with clocks.infer.work():
            return upscaler.upscale(frames, format, color, wait=False)

    distinct = Distinct(enlarge, batch, upscaler.reset)
    with ExitStack() as stack:
        decoded = stack.enter_context(
            Prefetch(clocks.decode.pulling(source), depth=_DEPTH, name="decode", counts=_is_batch)
        )
        larger = stack.enter_context(
            Prefetch(
                distinct(decoded), depth=_DEPTH, name="infer", counts=_is_batch, grace=_PATIENCE
            )
        )
        # The network's thread waits for the decoder's: stop the upstream one first.
        stack.callback(decoded.close)
        yield Upscaled(_awaited(larger, clocks.infer), distinct)

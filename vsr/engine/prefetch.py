"""The only thread boundary: run an iterator in a thread of its own, a bounded way ahead."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

__all__ = ["Prefetch"]

T = TypeVar("T")

#: Items beyond this many wait even if none of them counts: light things (audio packets) must not
#: pile up without bound while the heavy ones (frames) are missing.
_MOST_ITEMS = 1024


class Prefetch(Generic[T]):
    """Iterate ``source`` in a thread, at most ``depth`` counted items ahead of the consumer.

    Order is kept. An exception in the source is raised to the consumer at the place where it
    happened, after everything before it has been delivered. Closing stops the thread at its next
    item; leaving the ``with`` block closes.

    Args:
        source: consumed in the thread only.
        depth: how many counted items may be finished and not yet taken.
        name: of the thread, for debuggers.
        counts: which items count towards ``depth``; all by default.
        grace: seconds that :meth:`close` waits for the thread. One network call on a large frame
            can outlast it; the thread is a daemon and then ends with its item or the process.
    """

    def __init__(
        self,
        source: Iterable[T],
        *,
        depth: int,
        name: str,
        counts: Callable[[T], bool] = lambda _: True,
        grace: float = 5.0,
    ) -> None:
        self._source = source
        self._depth = depth
        self._counts = counts
        self._grace = grace
        self._items: deque[T] = deque()
        self._counted = 0
        self._error: BaseException | None = None
        self._ended = False
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"vsr-{name}", daemon=True)

    def __enter__(self) -> Prefetch[T]:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def running(self) -> bool:
        """Whether the thread is still at work."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Ask the thread to stop and wait for it, ``grace`` seconds at most."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(self._grace)

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._changed:
                while not (self._items or self._ended or self._closed):
                    self._changed.wait()
                if self._closed or not self._items:
                    break
                item = self._items.popleft()
                if self._counts(item):
                    self._counted -= 1
                self._changed.notify_all()
            yield item
        if self._error is not None and not self._closed:
            raise self._error

    def _has_room(self) -> bool:
        return self._counted < self._depth and len(self._items) < _MOST_ITEMS

    def _run(self) -> None:
        try:
            for item in self._source:
                with self._changed:
                    while not (self._has_room() or self._closed):
                        self._changed.wait()
                    if self._closed:
                        return
                    self._items.append(item)
                    if self._counts(item):
                        self._counted += 1
                    self._changed.notify_all()
        except BaseException as error:  # noqa: BLE001 - the consumer raises it
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

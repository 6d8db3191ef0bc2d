"""Workers on the nodes of a Ray cluster, one for each device."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipelines.distributed.actor import NodeWorker, Task
from pipelines.distributed.cluster import Cluster, Place, node_error
from pipelines.distributed.collect import Arriving
from pipelines.segments.dispatch import MOST_FAILURES, Dispatcher, Worker
from pipelines.segments.serve import Message
from pipelines.segments.settings import (
    changed_meanwhile,
    source_identity,
    versions,
    weights_hash,
)
from vsr.errors import BackendError, DependencyError, InputError, VerifyError
from vsr.media.av_errors import av_errors
from vsr.models.registry import weights_path
from vsr.types import Plan, Segment

__all__ = ["RayPool"]

#: Chunks of finished segments that are on their way here at a time, over all workers.
_MOST_ARRIVING = 8
#: Ranges of files that are on their way to workers at a time, over all of them.
_MOST_GIVING = 16
#: Seconds until a worker that has nothing to say is asked again.
_LISTEN = 5.0
#: Seconds between looks for new nodes.
_LOOK = 5.0
#: Seconds for which a cluster without any node for us is not given up.
_PATIENCE = 60.0
#: Seconds after which a person should know that nobody has begun.
_SILENCE = 30.0


@dataclass(slots=True, kw_only=True, eq=False)
class _Actor(Worker):
    """A worker on a node; ``listening`` is the call that brings what it says."""

    place: Place
    handle: Any
    listening: Any
    made: deque[tuple[int, int]] = field(default_factory=deque)
    arriving: Arriving | None = None


class RayPool(Dispatcher[_Actor]):
    """Gives segments to workers on a cluster and brings their files here.

    A worker on each device of the nodes, also of those that join later. Of finished segments a few
    chunks are on their way at a time, the earliest segment's first; a worker whose files have not
    been fetched gets no more to do. When a node is lost, its segments go to others.

    Args:
        cluster: the cluster, connected.
        plan: the plan.
        folder: where finished files go.
        advanced, finished, warned: as for :class:`~pipelines.segments.dispatch.Dispatcher`.

    Raises:
        InputError: the source cannot be read.
        ModelError: there are no such weights.
    """

    def __init__(
        self,
        cluster: Cluster,
        plan: Plan,
        folder: Path,
        *,
        advanced: Callable[[int, tuple[float, ...]], None],
        finished: Callable[[int], None],
        warned: Callable[[str], None],
    ) -> None:
        super().__init__(advanced=advanced, finished=finished, warned=warned)
        self._ray = cluster.ray
        self._cluster, self._plan, self._folder = cluster, plan, folder
        weights = weights_path(plan.model.name, plan.model.scale, plan.model.weights)
        device = "cuda:0" if plan.device.startswith("cuda") else "cpu"
        source = str(Path(plan.source).absolute())
        self._task = Task(
            plan=replace(plan, device=device, source=source),
            threads=0,
            source=source_identity(source),
            weights=None if weights is None else str(weights.absolute()),
            weights_size=0 if weights is None else weights.stat().st_size,
            weights_hash=weights_hash(plan),
            versions=versions(),
            ship=cluster.ship,
        )
        self._files = {"source": source, "weights": self._task.weights or ""}
        self._most = 0
        self._looked = 0.0
        self._lonely = self._heard = time.monotonic()
        self._not_before: dict[Place, float] = {}
        self._chunks: dict[Any, _Actor] = {}
        self._giving: list[Any] = []
        self._wanted: deque[tuple[_Actor, str, int, int]] = deque()
        self._devices: set[str] = set()

    def _begin(self, most: int) -> None:
        self._most = most
        if not self._cluster.places(self._plan.device):
            raise self._deserted()
        self._recruit()

    def _hopeful(self) -> bool:
        return bool(self._left) and time.monotonic() - self._lonely < _PATIENCE

    def _deserted(self) -> BackendError:
        return BackendError(
            "no node of the cluster can work on the job (any more)",
            remedy="`ray status` says what there is; the same command goes on with what is kept.",
        )

    def _recruit(self) -> None:
        """Start workers where there are none yet."""
        now = time.monotonic()
        if now - self._looked < _LOOK:
            return
        self._looked = now
        taken = {worker.place for worker in self._workers}
        for place in self._cluster.places(self._plan.device):
            if len(self._workers) >= min(self._most, len(self._left)):
                break
            dead = self._deaths[place] >= MOST_FAILURES
            if place not in taken and not dead and self._not_before.get(place, 0) <= now:
                self._start(place)

    def _start(self, place: Place) -> None:
        strategies = self._ray.util.scheduling_strategies
        kind = self._ray.remote(NodeWorker).options(
            num_cpus=place.cpus,
            num_gpus=place.gpus,
            max_concurrency=8,
            scheduling_strategy=strategies.NodeAffinitySchedulingStrategy(place.node, soft=False),
        )
        handle = kind.remote(replace(self._task, threads=0 if place.gpus else int(place.cpus)))
        listening = handle.listen.remote(_LISTEN)
        self._workers.append(_Actor(place=place, handle=handle, listening=listening))

    def _listen(self) -> None:
        self._recruit()
        self._give()
        self._fetch()
        if not self._workers:
            time.sleep(min(1.0, _LOOK))
            return
        self._lonely = time.monotonic()
        calls = {worker.listening: worker for worker in self._workers}
        waited = [*calls, *self._chunks, *self._giving]
        ready, _ = self._ray.wait(waited, num_returns=1, timeout=1.0)
        if ready:
            more, _ = self._ray.wait(waited, num_returns=len(waited), timeout=0)
            ready = list(dict.fromkeys((*ready, *more)))
        for call in ready:
            if call in self._giving:
                # Whether it came in time, its worker says: it goes on or is lost.
                self._giving.remove(call)
                continue
            worker = calls.get(call) or self._chunks.pop(call, None)
            if worker is None or worker not in self._workers:
                continue
            try:
                told = self._ray.get(call)
            except self._ray.exceptions.RayError as error:
                self._lose(worker, node_error(error, self._name(worker)))
            else:
                self._understand(worker, call, told)
        if not self._devices and time.monotonic() - self._heard > _SILENCE:
            self._warn_once("No worker has begun yet: the cluster may be busy with other jobs.")

    def _understand(self, worker: _Actor, call: Any, told: Any) -> None:
        if call is worker.listening:
            worker.listening = worker.handle.listen.remote(_LISTEN)
            for message in told:
                self._take(worker, message)
        elif worker.arriving is not None:
            self._arrive(worker, worker.arriving, told)

    def _take(self, worker: _Actor, message: Message) -> None:
        word, told = message
        if word == "hello":
            self._greet(*told)
        elif word == "range":
            self._wanted.append((worker, *told))
        elif word == "made":
            worker.made.append(told)
        elif word == "over":
            self._lose(worker)
        else:
            super()._take(worker, message)

    def _greet(self, device: str, shared: bool) -> None:
        if not shared:
            self._warn_once("Some nodes do not have the source: it is sent to them as needed.")
        self._devices.add(device)
        if len(self._devices) > 1:
            self._warn_once(
                f"The nodes differ ({', '.join(sorted(self._devices))}): parts of the video may "
                "differ in the last bit."
            )

    def _give(self) -> None:
        """Send ranges of files to those who want them."""
        while self._wanted and len(self._giving) < _MOST_GIVING:
            worker, which, offset, count = self._wanted.popleft()
            if worker in self._workers:
                data = self._range(which, offset, count)
                self._giving.append(worker.handle.give.remote(which, offset, data))

    def _range(self, which: str, offset: int, count: int) -> bytes:
        name = self._files[which]
        with av_errors(name, "read the file", InputError), Path(name).open("rb") as file:
            status = os.fstat(file.fileno())
            file.seek(offset)
            data = file.read(count)
        changed = which == "source" and status.st_mtime_ns != self._task.source["changed"]
        if changed or len(data) != count:
            raise changed_meanwhile(name)
        return data

    def _fetch(self) -> None:
        """Ask for chunks of finished segments, the earliest segment's first."""
        for worker in self._workers:
            if worker.made and worker.arriving is None:
                worker.arriving = Arriving(self._folder, *worker.made.popleft())
        busy = set(map(id, self._chunks.values()))
        waiting = [w for w in self._workers if w.arriving is not None and id(w) not in busy]
        for worker in sorted(waiting, key=lambda w: w.arriving.index if w.arriving else 0):
            if len(self._chunks) < _MOST_ARRIVING and worker.arriving is not None:
                call = worker.handle.chunk.remote(worker.arriving.index, worker.arriving.got)
                self._chunks[call] = worker

    def _arrive(self, worker: _Actor, arriving: Arriving, data: bytes) -> None:
        arriving.add(data)
        if not data:
            worker.error = BackendError(f"a finished segment broke off at {self._name(worker)}")
            self._lose(worker)
        elif arriving.complete:
            try:
                arriving.commit()
            except VerifyError as error:
                worker.error = BackendError(f"{error.what} on its way from {self._name(worker)}")
                self._lose(worker)
                return
            worker.arriving = None
            worker.handle.collected.remote(arriving.index)
            self._done(worker, arriving.index)

    def _send(self, worker: _Actor, segment: Segment | None) -> None:
        worker.handle.answer.remote(segment)

    def _lose(self, worker: _Actor, error: BackendError | DependencyError | None = None) -> None:
        """A worker has ended or died."""
        if worker not in self._workers:
            return
        worker.error = worker.error or error
        self._chunks = {call: w for call, w in self._chunks.items() if w is not worker}
        if worker.arriving is not None:
            worker.arriving.discard()
            worker.arriving = None
        if error is None:
            self._ray.wait([worker.handle.close.remote()], timeout=_LOOK)
        self._ray.kill(worker.handle)
        self._bury(worker)

    def _death(self, worker: _Actor) -> BackendError:
        return BackendError(f"the worker on {self._name(worker)} has ended by itself")

    def _name(self, worker: _Actor) -> str:
        return f"node {worker.place.address}"

    def _too_often(self, worker: _Actor) -> bool:
        # Such a place is left out, and the others go on.
        return not any(
            self._deaths[place] < MOST_FAILURES
            for place in (*self._cluster.places(self._plan.device), worker.place)
        )

    def _renew(self, worker: _Actor) -> str:
        # The cluster takes a while to know that a node is gone.
        self._not_before[worker.place] = time.monotonic() + _LOOK
        if self._deaths[worker.place] >= MOST_FAILURES:
            return "It is left out from now on."
        return "Its segments go to others; it is started anew if its node is still there."

    def _stop(self) -> None:
        closing = [worker.handle.close.remote() for worker in self._workers]
        if closing:
            self._ray.wait(closing, num_returns=len(closing), timeout=_LOOK)
        for worker in self._workers:
            if worker.arriving is not None:
                worker.arriving.discard()
            self._ray.kill(worker.handle)
        self._workers.clear()

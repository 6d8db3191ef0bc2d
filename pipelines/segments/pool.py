"""Several worker processes on one job."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import connection, get_context
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.segments.devices import WorkerSpec
from pipelines.segments.dispatch import Dispatcher, Worker
from pipelines.segments.serve import Message, serve
from vsr.errors import BackendError
from vsr.types import Plan, Segment

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

__all__ = ["Pool"]

#: Seconds that a process is given to end by itself.
_PATIENCE = 5.0


@dataclass(slots=True, kw_only=True, eq=False)
class _Process(Worker):
    """One process of this machine."""

    spec: WorkerSpec
    process: SpawnProcess
    pipe: Connection


class Pool(Dispatcher[_Process]):
    """Gives segments to processes and starts those anew that die.

    Args:
        plan: the plan.
        folder: where finished files go.
        specs: one for each worker.
        advanced, finished, warned: as for :class:`~pipelines.segments.dispatch.Dispatcher`.
    """

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        specs: Sequence[WorkerSpec],
        *,
        advanced: Callable[[int, tuple[float, ...]], None],
        finished: Callable[[int], None],
        warned: Callable[[str], None],
    ) -> None:
        super().__init__(advanced=advanced, finished=finished, warned=warned)
        self._plan = plan
        self._folder = folder
        self._specs = specs

    def _begin(self, most: int) -> None:
        for spec in self._specs[:most]:
            self._start(spec)

    def _start(self, spec: WorkerSpec) -> None:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        plan = replace(self._plan, device=spec.device)
        process = context.Process(
            target=serve,
            args=(plan, str(self._folder), spec.threads, theirs),
            name=f"vsr-worker-{spec.device}",
            daemon=True,
        )
        process.start()
        theirs.close()
        self._workers.append(_Process(place=spec, spec=spec, process=process, pipe=ours))

    def _listen(self) -> None:
        for ready in connection.wait([worker.pipe for worker in self._workers]):
            worker = next(w for w in self._workers if w.pipe is ready)
            try:
                message: Message = worker.pipe.recv()
            except (EOFError, OSError):
                worker.process.join(_PATIENCE)
                worker.pipe.close()
                self._bury(worker)
            else:
                self._take(worker, message)

    def _send(self, worker: _Process, segment: Segment | None) -> None:
        # One that is dead is found out by its silence.
        with suppress(OSError):
            worker.pipe.send(segment)

    def _renew(self, worker: _Process) -> str:
        self._start(worker.spec)
        return "It is started anew."

    def _death(self, worker: _Process) -> BackendError:
        code = worker.process.exitcode
        how = f"ended with code {code}"
        if code is not None and code < 0:
            how = f"was ended by {_signal_name(-code)}"
        at = f" at segment {worker.hand[0].index}" if worker.hand else ""
        return BackendError(
            f"a worker on {worker.spec.device} {how}{at}",
            where=self._plan.source,
            remedy="If it was SIGKILL, memory ran out: use fewer workers or a smaller --batch.",
        )

    def _stop(self) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join(_PATIENCE)
            worker.pipe.close()
        self._workers.clear()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"

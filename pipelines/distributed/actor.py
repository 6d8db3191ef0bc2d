"""A worker on a node of the cluster: the driver asks it what there is to say, and answers.

Nothing here knows Ray: the class becomes an actor where it is started. It imports nothing heavy
before it knows how many threads it may use.
"""

from __future__ import annotations

import os
import platform
import queue
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.distributed.collect import CHUNK
from pipelines.segments.serve import Message, sendable
from vsr.errors import DependencyError

if TYPE_CHECKING:
    from pipelines.distributed.shipping import ShippedFile
    from vsr.types import Plan, Segment

__all__ = ["NodeWorker", "Task"]

_PREFIX = "vsr-node-"


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker has to know.

    Attributes:
        plan: the plan, with this worker's device.
        threads: CPU threads of torch, 0 for all.
        source: what the source is known by (:func:`~pipelines.segments.settings.source_identity`).
        weights: the driver's weights file, ``None`` if the model needs none; ``weights_size``,
            ``weights_hash``: its bytes and its SHA-256.
        versions: what must be the same here.
        ship: read nothing from shared storage.
    """

    plan: Plan
    threads: int
    source: dict[str, Any]
    weights: str | None
    weights_size: int
    weights_hash: str
    versions: dict[str, Any]
    ship: bool = False


class NodeWorker:
    """Works on segments in a thread; its methods may be called from several others.

    Says what workers say (:data:`~pipelines.segments.serve.Message`), and besides:
    ``hello``: (name of its device, whether it reads the source itself);
    ``range``: (``source`` or ``weights``, offset, bytes) that it wants with :meth:`give`;
    ``made``: (index, bytes) of a finished segment, to be fetched with :meth:`chunk`;
    ``over``: nothing more will come.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._said: queue.Queue[Message] = queue.Queue()
        self._answers: queue.Queue[Segment | None] = queue.Queue()
        self._files: dict[str, ShippedFile] = {}
        self._folder = _scratch()
        threading.Thread(target=self._run, name="vsr-node", daemon=True).start()

    def listen(self, seconds: float) -> list[Message]:
        """What was said since the last call, after ``seconds`` at the latest."""
        said: list[Message] = []
        with suppress(queue.Empty):
            said.append(self._said.get(timeout=seconds))
            while True:
                said.append(self._said.get_nowait())
        return _merged(said)

    def answer(self, segment: Segment | None) -> None:
        """The answer to ``next``."""
        self._answers.put(segment)

    def give(self, which: str, offset: int, data: bytes) -> None:
        """The answer to ``range``."""
        self._files[which].give(offset, data)

    def chunk(self, index: int, offset: int) -> bytes:
        """A part of a finished segment."""
        with self._path(index).open("rb") as file:
            file.seek(offset)
            return file.read(CHUNK)

    def collected(self, index: int) -> None:
        """A segment is where it belongs and is not needed here any more."""
        self._path(index).unlink(missing_ok=True)

    def close(self) -> None:
        """Remove what is on this node's disk."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, index: int) -> Path:
        from pipelines.segments.worker import segment_path

        return segment_path(self._folder, index)

    def _say(self, word: str, told: Any = None) -> None:
        self._said.put((word, told))

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - it is raised in the driver
            self._say("failed", sendable(error))
        self._say("over")

    def _work(self) -> None:
        task = self._task
        if task.threads:
            os.environ["OMP_NUM_THREADS"] = str(task.threads)
        import torch

        from pipelines.memory import keep_freed_memory, peak_memory
        from pipelines.segments.settings import versions
        from pipelines.segments.worker import Listening, SegmentWorker

        if task.threads:
            torch.set_num_threads(task.threads)
        keep_freed_memory()
        _check_versions(task.versions, versions())
        with ExitStack() as stack:
            shared = self._find_source(stack)
            plan = self._find_weights()
            self._say("hello", (_device_name(plan.device), shared))
            listening = Listening(
                advanced=lambda frames, clocks: self._say(
                    "frames", (frames, tuple(clock.busy for clock in clocks))
                ),
                finished=lambda segment: self._say(
                    "made", (segment.index, self._path(segment.index).stat().st_size)
                ),
                again=lambda segment: self._say("again", segment),
                warned=lambda message: self._say("warning", message),
            )
            SegmentWorker(plan, self._folder, listening).run(self._segments())
        self._say("end", peak_memory())

    def _segments(self) -> Iterator[Segment]:
        while True:
            self._say("next")
            segment = self._answers.get()
            if segment is None:
                return
            yield segment

    def _find_source(self, stack: ExitStack) -> bool:
        """Have the source shipped if it is not on shared storage; whether it is."""
        from pipelines.segments.settings import source_identity
        from vsr.errors import InputError
        from vsr.media.source import read_through

        task = self._task
        with suppress(InputError):
            if not task.ship and source_identity(task.plan.source) == task.source:
                return True
        file = self._ship("source", task.plan.source, task.source["size"])
        stack.enter_context(read_through(task.plan.source, file.open))
        return False

    def _find_weights(self) -> Plan:
        """The plan with weights that are on this node."""
        from vsr.errors import ModelError
        from vsr.models.registry import weights_path
        from vsr.models.weights import sha256

        task, model = self._task, self._task.plan.model
        if task.weights is None:
            return task.plan
        with suppress(ModelError):
            path = weights_path(model.name, model.scale, model.weights)
            if not task.ship and path is not None and sha256(path) == task.weights_hash:
                return task.plan
        file = self._ship("weights", task.weights, task.weights_size)
        local = self._folder / Path(task.weights).name
        with local.open("wb") as out, file.open() as data:
            shutil.copyfileobj(data, out, CHUNK)
        return replace(task.plan, model=replace(model, weights=str(local)))

    def _ship(self, which: str, name: str, size: int) -> ShippedFile:
        from pipelines.distributed.shipping import ShippedFile

        file = ShippedFile(
            name,
            size,
            self._folder / which,
            lambda offset, count: self._say("range", (which, offset, count)),
        )
        self._files[which] = file
        return file


def _merged(said: list[Message]) -> list[Message]:
    """The same with one word about frames instead of many in a row."""
    merged: list[Message] = []
    for word, told in said:
        if word == "frames" and merged and merged[-1][0] == "frames":
            told = (merged[-1][1][0] + told[0], told[1])
            merged.pop()
        merged.append((word, told))
    return merged


def _check_versions(wanted: dict[str, Any], found: dict[str, Any]) -> None:
    other = [name for name in wanted if found.get(name) != wanted[name]]
    if other:
        name = other[0]
        raise DependencyError(
            f"node {platform.node()} has {name} {_dotted(found.get(name))}, this machine "
            f"{_dotted(wanted[name])}: pictures would depend on who made them",
            remedy="Install the same versions on all nodes.",
        )


def _dotted(version: Any) -> str:
    return ".".join(map(str, version)) if isinstance(version, list | tuple) else str(version)


def _device_name(device: str) -> str:
    import torch

    if device.startswith("cuda"):
        return str(torch.cuda.get_device_name(device))
    return str(torch.backends.cpu.get_cpu_capability())


def _scratch() -> Path:
    """A new folder on this node's disk; those of workers that are no more are removed."""
    base, prefix = Path(tempfile.gettempdir()), f"{_PREFIX}{platform.node()}-"
    for old in base.glob(f"{prefix}*"):
        owner = old.name.removeprefix(prefix).partition("-")[0]
        if owner.isdigit() and not _lives(int(owner)):
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-"))


def _lives(process: int) -> bool:
    if os.name == "nt":  # where signal 0 is another name of Ctrl-C
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is somebody else's
        return True
    return True

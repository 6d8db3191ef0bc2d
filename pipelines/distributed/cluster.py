"""The connection to a Ray cluster, and what there is on it."""

from __future__ import annotations

import logging
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsr.errors import BackendError, DependencyError, UsageError
from vsr.plan import DeviceFacts
from vsr.types import Mode, Plan

if TYPE_CHECKING:
    from pipelines.distributed.pool import RayPool

__all__ = ["Cluster", "Place", "node_error"]

_REMEDY = "`ray start --head` begins a cluster here; `ray status` says whether there is one."


@dataclass(frozen=True, slots=True)
class Place:
    """Where one worker can be: a GPU of a node, or all CPUs of one.

    Attributes:
        node: Ray's name of the node; ``address``: its IP address.
        slot: number of the GPU among the node's, 0 for CPUs.
        cpus, gpus: what is taken of the node.
    """

    node: str
    address: str
    slot: int
    cpus: float
    gpus: int


class Cluster:
    """A Ray cluster; the process stays connected to it until it ends or calls ``ray.shutdown``.

    Args:
        address: ``auto`` for the cluster that this machine belongs to (or ``RAY_ADDRESS`` names),
            ``HOST:PORT`` of a head node this machine belongs to, or ``ray://HOST:PORT``.
        ship: have nodes read nothing from shared storage.

    Attributes:
        ray: the module.

    Raises:
        DependencyError: Ray is not installed.
        BackendError: there is no such cluster.
    """

    def __init__(self, address: str = "auto", *, ship: bool = False) -> None:
        self.ship = ship
        # Ray would otherwise warn about a default that will change, and which is not used here.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        with _same_handlers():
            self.ray = _connected(address)

    def choose_device(
        self,
        device: str = "auto",
        backend: str = "auto",
        *,
        model: str = "fdiwn",
        dtype: str | None = None,
        mode: Mode = "exact",
    ) -> DeviceFacts:
        """What :func:`vsr.engine.device.choose_device` says on a node: one with a GPU, if any has.

        Raises:
            UsageError: ``device`` names a GPU by its number.
            BackendError: the cluster has no such device.
            VsrError: as that function does.
        """
        if device not in ("auto", "cpu", "cuda"):
            raise UsageError(
                f"{device!r} is a device of one machine, and --ray is for several",
                remedy="Use --device cuda or cpu, or leave it out.",
            )
        wanted = device
        if device == "auto":
            wanted = "cuda" if self.places("cuda") else "cpu"
        places = self.places(wanted)
        if not places:
            raise BackendError(
                f"the cluster has no {'GPU' if wanted == 'cuda' else 'CPU'} for workers",
                remedy="`ray status` lists what it has.",
            )
        ask = self.ray.remote(_ask)
        # Not tied to a node: whichever is free can tell.
        options = ask.options(num_cpus=min(1, places[0].cpus), num_gpus=places[0].gpus)
        try:
            told = self.ray.get(options.remote(wanted, backend, model, dtype, mode))
        except self.ray.exceptions.RayError as error:
            raise node_error(error, "a node") from error
        if isinstance(told, Exception):
            raise told
        facts: DeviceFacts = told
        return facts

    def places(self, device: str) -> list[Place]:
        """Where workers can be, on nodes that are alive.

        Args:
            device: ``cpu`` or ``cuda`` (``cuda:0``).
        """
        found: list[Place] = []
        for node in self.ray.nodes():
            resources = node["Resources"]
            cpus, gpus = float(resources.get("CPU", 0)), int(resources.get("GPU", 0))
            if not node["Alive"]:
                continue
            name, address = node["NodeID"], node["NodeManagerAddress"]
            if device.startswith("cuda"):
                share = 1.0 if cpus >= gpus else 0.0
                found += [Place(name, address, slot, share, 1) for slot in range(gpus)]
            elif cpus >= 1:
                found.append(Place(name, address, 0, cpus, 0))
        # Every node gets its first worker before any gets its second.
        return sorted(found, key=lambda place: place.slot)

    def pool(
        self,
        plan: Plan,
        folder: Path,
        *,
        advanced: Callable[[int, tuple[float, ...]], None],
        finished: Callable[[int], None],
        warned: Callable[[str], None],
    ) -> RayPool:
        """Workers for a job; the arguments are those of :class:`RayPool`."""
        from pipelines.distributed.pool import RayPool

        return RayPool(self, plan, folder, advanced=advanced, finished=finished, warned=warned)


def _connected(address: str) -> Any:
    """The module ``ray``, connected to the cluster at ``address``."""
    try:
        # Not all machines where types are checked have it.
        ray: Any = import_module("ray")
    except ImportError as error:
        raise DependencyError(
            "a job on a cluster needs Ray, which is not installed",
            remedy="pip install 'fdiwn-vsr[ray]'",
        ) from error
    if not ray.is_initialized():
        try:
            ray.init(address, logging_level=logging.ERROR, log_to_driver=False)
        except Exception as error:
            # Ray raises what it likes: ConnectionError, ValueError, RuntimeError.
            said = str(error).strip().partition("\n")[0]
            raise BackendError(f"no Ray cluster at {address!r}: {said}", remedy=_REMEDY) from error
    return ray


@contextmanager
def _same_handlers() -> Iterator[None]:
    """Have signals do afterwards what they did before: Ray makes SIGTERM a ``SystemExit``."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Ray cannot set any there
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            if handler is not None:  # one that was not set in Python cannot be set again
                signal.signal(number, handler)

    try:
        yield
    except SystemExit:
        restore()
        signal.raise_signal(signal.SIGTERM)  # it came while Ray's handler was there
        raise
    finally:
        restore()


def node_error(error: BaseException, who: str) -> BackendError | DependencyError:
    """What happened to something on a node, in our words."""
    missing = re.search(r"No module named '([\w.]+)'", str(error))
    if missing is not None:
        return DependencyError(
            f"{who} cannot import {missing[1]}",
            remedy="Install the same version of fdiwn-vsr[ray] on all nodes.",
        )
    kind = type(error).__name__
    return BackendError(f"{who} is lost ({kind})", remedy="`ray status` says which nodes live.")


def _ask(
    device: str, backend: str, model: str, dtype: str | None, mode: Mode
) -> DeviceFacts | Exception:
    """Runs on a node."""
    from vsr.engine.device import choose_device
    from vsr.errors import VsrError

    try:
        return choose_device(device, backend, model=model, dtype=dtype, mode=mode)
    except VsrError as error:
        return error

"""What a finished segment depends on: if any of it changes, the segment is of no use."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import av
import torch

from vsr import __version__
from vsr.errors import InputError
from vsr.media.av_errors import av_errors
from vsr.models.registry import weights_path
from vsr.models.weights import sha256
from vsr.types import Plan
from vsr.types.plain import to_plain

__all__ = [
    "changed_meanwhile",
    "check_unchanged",
    "job_settings",
    "source_identity",
    "versions",
    "weights_hash",
]

#: Bytes at each end of the source that are hashed.
_ENDS = 1 << 20

#: Fields of the plan that decide what the pictures of the result are.
_FIELDS = (
    *("trim", "time_shift", "deinterlace", "on_resize", "reader", "backend", "dtype", "batch"),
    *("mode", "width", "height", "sar", "color", "encode", "container"),
)


def job_settings(plan: Plan, source: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Everything that the pictures depend on, by name, as text.

    The source is known by its size, the time of its last change, and the hash of its first and
    last mebibyte. Hashing all of a film takes minutes on a slow disk each time a job goes on;
    size and time change with every edit, and where a program sets the time back, the ends of
    media files hold index and headers, which change with the content. Its name does not count.

    Which of several devices of a kind is used does not count either, nor how many workers.

    Args:
        plan: the plan.
        source: what :func:`source_identity` said of its source; by default it is asked now.

    Raises:
        InputError: the source cannot be read.
        ModelError: there are no such weights.
    """
    found: dict[str, Any] = {name: to_plain(getattr(plan, name)) for name in _FIELDS}
    found["video"] = plan.video.index
    found["device"] = plan.device.partition(":")[0]
    found["model"] = f"{plan.model.name} x{plan.model.scale}"
    found["weights"] = weights_hash(plan)
    found["source"] = dict(source_identity(plan.source) if source is None else source)
    found["versions"] = versions()
    return dict(sorted(_flat("", found)))


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(f"{name}.{key}" if name else key, item)
    elif isinstance(value, list) and value and all(_is_pair(item) for item in value):
        yield from _flat(name, dict(value))
    else:
        yield name, str(value)


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def versions() -> dict[str, Any]:
    """Versions of everything that has a say in what pictures look like."""
    return {
        "vsr": __version__,
        "torch": torch.__version__,
        **{name: list(version) for name, version in av.library_versions.items()},
    }


def weights_hash(plan: Plan) -> str:
    """SHA-256 of the weights that ``plan`` uses; empty if its model has none.

    Raises:
        ModelError: there are no such weights.
    """
    path = weights_path(plan.model.name, plan.model.scale, plan.model.weights)
    return "" if path is None else sha256(path)


def source_identity(source: str) -> dict[str, Any]:
    """What the file ``source`` is known by: ``size``, ``changed`` and the hash of its ``ends``.

    Raises:
        InputError: it cannot be read.
    """
    with av_errors(source, "read the file", InputError), Path(source).open("rb") as file:
        status = Path(source).stat()
        digest = hashlib.sha256(file.read(_ENDS))
        file.seek(max(0, status.st_size - _ENDS))
        digest.update(file.read(_ENDS))
    return {
        "size": status.st_size,
        "changed": status.st_mtime_ns,
        "ends": digest.hexdigest(),
    }


def check_unchanged(source: str, before: Mapping[str, Any]) -> None:
    """See that the file is still what :func:`source_identity` said of it.

    Raises:
        InputError: it is not, or it cannot be read any more.
    """
    if source_identity(source) != before:
        raise changed_meanwhile(source)


def changed_meanwhile(path: str) -> InputError:
    """The error to raise where a file is no longer the one that the job began with."""
    return InputError(
        "the file was changed while the job was at work on it",
        where=path,
        remedy="If it is still being recorded or copied, wait for its end. Then run the same "
        "command again: it begins anew.",
    )

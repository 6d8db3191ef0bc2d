"""Weights files as whole jobs: check them, bring them into the user's cache, hand them on."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from pipelines.report.files import check_results
from vsr.errors import ModelError, OutputError, UsageError
from vsr.models.cache import cache_path, install, installed, new_file
from vsr.models.download import AUTHORS_FILES, AUTHORS_URL, Checkpoint, fetch
from vsr.models.registry import MODELS, fitting_model
from vsr.models.sets import all_weights, problem
from vsr.models.weights import read_metadata, read_weights, save_weights, sha256, to_bytes
from vsr.plan import WeightsFacts
from vsr.plan.weights import AUTHORS, AUTO, SETS
from vsr.types import WeightsFile, is_set_name

__all__ = [
    "Checked",
    "export_weights",
    "fetch_authors",
    "import_weights",
    "verify_weights",
    "weights_facts",
]


@dataclass(frozen=True, slots=True)
class Checked:
    """A weights file that was looked at.

    Attributes:
        file: which one. problem: why it cannot be used, ``None`` if it can.
    """

    file: WeightsFile
    problem: str | None


def weights_facts() -> WeightsFacts:
    """What the planner is told about weights.

    Raises:
        ModelError: the list of what ships cannot be read.
    """
    needing = frozenset(name for name, spec in MODELS.items() if spec.has_weights)
    return WeightsFacts(files=tuple(all_weights()), models=needing)


def verify_weights() -> list[Checked]:
    """Compare every file that ships or is installed with the hash it must have.

    A file beside the shipped ones that their list does not name is a problem too.

    Raises:
        ModelError: the list of what ships cannot be read.
    """
    checked = []
    for file in all_weights():
        found = problem(file)
        if found is None and not file.sha256:
            found = "the list of shipped files (SHA256SUMS) does not name this file"
        checked.append(Checked(file, found))
    return checked


def import_weights(source: str, name: str, *, overwrite: bool = False) -> WeightsFile:
    """Bring weights into the user's cache, where ``--weights NAME`` finds them.

    Model and scale are recognised by the names and shapes of the tensors. The file becomes
    ``.safetensors`` in float32, whatever it was; only what goes into the set ``authors`` is kept
    as it is, and has to be one of the published files.

    Args:
        source: a weights file, ours (``.safetensors``) or the authors' (``.pt``).
        name: the set it goes into; one set may hold weights for several models and scales.
        overwrite: replace what the set has for this model and scale.

    Raises:
        UsageError: the name cannot be one of a set of the user's.
        ModelError: the file holds no weights of a known model.
        OutputError: the set already has weights for it, or they cannot be written.
    """
    _check_name(name)
    path = Path(source)
    state = read_weights(path)
    fits = fitting_model(state)
    if fits is None:
        raise ModelError(
            "these are no weights of a model this version knows",
            where=source,
            remedy=f"Models are: {', '.join(n for n, s in MODELS.items() if s.has_weights)}.",
        )
    model, scale = fits
    digest = sha256(path)
    published = {checkpoint.sha256 for checkpoint in AUTHORS_FILES}
    if name == AUTHORS and digest not in published:
        raise UsageError(
            "this is not one of the files that the authors published",
            where=source,
            remedy="Import it under another name.",
        )
    known = {(file.set, file.model, file.scale) for file in installed()}
    if name != AUTHORS and not overwrite and (name, model, scale) in known:
        raise OutputError(
            f"the set {name!r} already has weights for {model} at x{scale}",
            where=source,
            remedy="Choose another name, or replace them with --overwrite.",
        )
    if name == AUTHORS:
        target = _copy_in(path, model, scale, digest)
    else:
        target = _convert_in(state, path, name, model, scale, digest)
    return next(file for file in installed() if file.path == str(target))


def _check_name(name: str) -> None:
    if not is_set_name(name):
        raise UsageError(
            f"{name!r} cannot be the name of a set",
            remedy="Names have letters, digits, - and _, and begin with a letter or a digit.",
        )
    if name == AUTO or (name in SETS and name != AUTHORS):
        raise UsageError(f"the name {name!r} is taken", remedy="Choose another one with --name.")


def _copy_in(path: Path, model: str, scale: int, digest: str) -> Path:
    target = cache_path(AUTHORS, model, scale, digest, ".pt")
    with new_file(target.parent) as (part, out), path.open("rb") as file:
        shutil.copyfileobj(file, out)
    install(part, target)
    return target


def _convert_in(
    state: dict[str, torch.Tensor], path: Path, name: str, model: str, scale: int, digest: str
) -> Path:
    metadata = {
        "model": model,
        "scale": str(scale),
        "source": path.name,
        "source_sha256": digest,
    }
    content = to_bytes(state, metadata)
    target = cache_path(name, model, scale, hashlib.sha256(content).hexdigest(), ".safetensors")
    with new_file(target.parent) as (part, out):
        out.write(content)
    install(part, target)
    return target


def export_weights(
    source: str, destination: str, *, half: bool = True, overwrite: bool = False
) -> WeightsFile:
    """Write weights as ``.safetensors``, to ship or to hand on.

    Args:
        source: a weights file, ours (``.safetensors``) or the authors' (``.pt``).
        destination: the result, ``.safetensors``.
        half: store float16 instead of float32.
        overwrite: replace a file that is already there.

    Raises:
        ModelError: the file holds no weights of a known model, or they do not fit into float16.
        UsageError: the destination has another ending.
        OutputError: it cannot be written, or would replace the source.
    """
    path = Path(destination)
    if path.suffix != ".safetensors":
        raise UsageError(f"{path.name} does not end in .safetensors", remedy="Name it so.")
    if path.exists() and not overwrite:
        raise OutputError(
            "the file already exists",
            where=destination,
            remedy="Choose another name, or replace it with --overwrite.",
        )
    check_results([path], [source])
    origin = Path(source)
    state = read_weights(origin)
    fits = fitting_model(state)
    if fits is None:
        raise ModelError("these are no weights of a model this version knows", where=source)
    said = read_metadata(origin) if origin.suffix == ".safetensors" else {"source": origin.name}
    metadata = {**said, "model": fits[0], "scale": str(fits[1])}
    save_weights(path, state, metadata, dtype=torch.float16 if half else torch.float32)
    return WeightsFile("", fits[0], fits[1], destination, sha256(path), "installed")


def fetch_authors(
    base: str = AUTHORS_URL,
    *,
    timeout: float | None = None,
    begin: Callable[[Checkpoint], None] = lambda _: None,
) -> Iterator[tuple[WeightsFile, bool]]:
    """Download the checkpoints of FDIWN's authors into the set ``authors``, one after another.

    Args:
        base: address below which their repository's files are, such as that of a mirror.
        timeout: seconds without a byte after which the server counts as gone, 30 by default.
        begin: called before each file.

    Yields:
        Each file, and whether it was downloaded rather than already there.

    Raises:
        UsageError, ModelError, OutputError: as :func:`vsr.models.download.fetch`; the files that
            were complete before are kept.
    """
    for checkpoint in AUTHORS_FILES:
        begin(checkpoint)
        yield fetch(checkpoint, base, timeout=timeout)

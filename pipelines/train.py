"""The job of training a network on a folder of images."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from pipelines.queue.lock import Lock
from vsr.engine.device import choose_device
from vsr.errors import BackendError, NameTakenError, OutputError, UsageError
from vsr.models.weights import read_weights, sha256, unwritable, write_file
from vsr.processor import bfloat16_instructions, heed_quota
from vsr.training.data.contrast import CONTRAST_FORMAT, contrast_name
from vsr.training.data.crops import Batches
from vsr.training.data.degrade import VideoDegrade
from vsr.training.data.images import CURVES, DATA, SETTINGS, find_images
from vsr.training.data.store import (
    DRAWING_FORMAT,
    Store,
    drawing_names,
    fingerprint,
    hold_out,
    prepare,
)
from vsr.training.data.usable import PANNED, PATCH, VALIDATED, Least
from vsr.training.graph import step_recorder
from vsr.training.learner import Learner
from vsr.training.loop import CHECKPOINT, LOG, Loop, Outcome, Stepped, Validated
from vsr.training.recipe import recipe_for
from vsr.training.settings import TrainSettings
from vsr.training.validation import validation_pairs

__all__ = [
    "Prepared",
    "Started",
    "TrainEvent",
    "TrainReport",
    "_prefers_bfloat16",
    "settle",
    "train",
]

#: Locked while a process works at the run.
LOCK = ".lock"
#: Side of the square of a held-out image that is validated on, HR pixels.
HELD_OUT_SIZE = 240


@dataclass(frozen=True, slots=True)
class Prepared:
    """Images that have been prepared, of how many."""

    images: int
    total: int


@dataclass(frozen=True, slots=True)
class Started:
    """Training begins.

    Attributes:
        device: where. training, validation: how many pictures.
        step: the one it goes on from, 0 for a new run.
        how: what computes the network there, where that is worth telling.
    """

    device: str
    training: int
    validation: int
    step: int
    how: str = ""


TrainEvent = Prepared | Started | Stepped | Validated
Listener = Callable[[TrainEvent], None]


@dataclass(frozen=True, slots=True)
class TrainReport:
    """What a run came to.

    Attributes:
        weights: the file with the best weights. folder: of the run.
        device: where it ran.
        outcome: steps, times, validation.
    """

    weights: str
    folder: str
    device: str
    outcome: Outcome


def train(
    settings: TrainSettings,
    out: str | Path,
    *,
    device: str = "auto",
    store: str | Path | None = None,
    cuda_graphs: bool = True,
    command: str = "",
    on_event: Listener | None = None,
) -> TrainReport:
    """Train, or go on with a run that was stopped.

    Args:
        settings: what is trained, on what and how.
        out: folder of the run; created if it is missing. A run that is in it goes on.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        store: folder for prepared images, to share them between runs; in ``out`` by default.
        cuda_graphs: on a GPU the kernels of a step are recorded once and launched as one.
        command: the command line, for the weights' metadata.
        on_event: called with what happens, from the calling thread.

    Raises:
        UsageError: the settings make no sense, or are not those of the run in ``out``; another
            process is at that run.
        InputError: images are missing, unreadable or too small.
        OutputError: the folder cannot be written, or has files that the run would replace.
        VsrError: other kinds of it; see :mod:`vsr.errors`.
    """
    begun = time.perf_counter()
    heed_quota()
    tell = on_event or (lambda _: None)
    recipe = recipe_for(settings.model, settings.scale)
    where = torch.device(choose_device(device, model=settings.model).device)
    start = read_weights(Path(settings.start_from)) if settings.start_from else None
    folder = Path(out)
    stores = Path(store) if store is not None else folder / "store"
    images = _Images.found(settings, (folder, stores))
    sources = _sources(settings, images)
    weights = folder / f"{settings.model}_x{settings.scale}.safetensors"
    with _opened(folder):
        _claim(folder, settings, sources, weights.name)
        training, pairs = _data(settings, images, stores, tell)
        torch.manual_seed(settings.seed)
        net = recipe.build(settings.model, settings.scale, start)
        recorder = step_recorder(where) if cuda_graphs else None
        learner = Learner(net, recipe, settings, where, recorder)
        recipe.arrange(learner.net, where, compiled=settings.compiled)
        with Batches(
            training, settings.batch, settings.patch,
            seed=settings.seed, detail=settings.detail, device=where,
        ) as batches:  # fmt: skip
            loop = Loop(
                learner, batches, pairs, folder, weights,
                _metadata(settings, command, len(images.training)),
                on_event=tell, begun=begun,
            )  # fmt: skip
            loop.restore()
            how = recipe.how_it_runs(learner.net, where, _dtype(settings), settings.patch)
            tell(Started(str(where), len(training.entries), len(pairs), learner.step, how))
            outcome = loop.run()
    return TrainReport(str(weights), str(folder), str(where), outcome)


class _RunLock(Lock):
    """The right to work at a run, whose processes would else write over each other's files."""

    called, user, rest, option = "run", "`vsr train`", "", "--out"


def _opened(folder: Path) -> _RunLock:
    """Make the run's folder, and let nobody else work in it until the end."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the run's folder cannot be made ({error.strerror})",
            where=str(folder),
            remedy="Choose another folder for --out.",
        ) from error
    return _RunLock(folder, folder / LOCK)


@dataclass(frozen=True, slots=True)
class _Images:
    """The images of ``data``, and those of ``validation`` where there is such a folder."""

    training: list[Path]
    validation: list[Path]

    @classmethod
    def found(cls, settings: TrainSettings, but: tuple[Path, ...]) -> _Images:
        """All but those below the folders ``but``."""
        others = settings.validation
        return cls(
            find_images(Path(settings.data), but=but),
            [] if others is None else find_images(Path(others), but=but),
        )


def _sources(settings: TrainSettings, images: _Images) -> dict[str, tuple[str, str]]:
    """What the run is made from: a line that changes with it, and where that lies, by name."""
    found = {"images": (fingerprint(images.training, Path(settings.data)), settings.data)}
    if settings.validation is not None:
        line = f"validation {fingerprint(images.validation, Path(settings.validation))}"
        found["images for validation"] = (line, settings.validation)
    if settings.start_from is not None:
        line = f"start {sha256(Path(settings.start_from))}"
        found["weights to start from"] = (line, settings.start_from)
    return found


def _claim(
    folder: Path, settings: TrainSettings, sources: dict[str, tuple[str, str]], weights: str
) -> None:
    """Begin a run in the folder, or see that the run in it is this one, made from the same."""
    _tidy(folder, weights)
    path, data_path = folder / SETTINGS, folder / DATA
    if not path.is_file():
        _check_new(folder, weights)
        write_file(data_path, "".join(f"{line}\n" for line, _ in sources.values()).encode("ascii"))
        settings.save(path)
        return
    before = TrainSettings.load(path)
    if changed := before.differences(settings):
        raise UsageError(
            f"the run in this folder has other settings ({'; '.join(changed)})",
            where=str(folder),
            remedy="Repeat its command to go on with it, or choose another folder for --out. "
            "To build on its weights, name them with --start-from.",
        )
    known = data_path.read_text("ascii", "replace").splitlines() if data_path.is_file() else []
    for name, (line, where) in sources.items():
        if line not in known and (name == "images" or len(known) > 1):
            raise UsageError(
                f"the {name} have changed since the run in {folder} began",
                where=where,
                remedy="Choose another folder for --out; to build on its weights, name them with "
                "--start-from.",
            )


def _check_new(folder: Path, weights: str) -> None:
    """Raise if a new run would go on from a file that is not its own, or replace one."""
    there = [name for name in (CHECKPOINT, weights, LOG, CURVES) if (folder / name).exists()]
    if there:
        raise NameTakenError(
            f"the folder has {' and '.join(there)} and no {SETTINGS} to say of which run",
            where=str(folder),
            remedy="Choose another folder for --out, or take them out of this one.",
        )


def _tidy(folder: Path, weights: str) -> None:
    """Remove what a process that was killed while it wrote has left of the run's files."""
    names = "|".join(map(re.escape, (SETTINGS, DATA, CHECKPOINT, LOG, CURVES, weights)))
    left = re.compile(rf"\.({names})\.[0-9a-f]{{16}}\.part")
    try:
        for path in folder.iterdir():
            if left.fullmatch(path.name):
                path.unlink()
    except OSError as error:
        raise unwritable(folder, error) from error


def _data(
    settings: TrainSettings, images: _Images, stores: Path, tell: Listener
) -> tuple[Store, list[tuple[torch.Tensor, torch.Tensor]]]:
    """What is trained on, and the pictures that are validated on."""
    data = Path(settings.data)
    degrade = VideoDegrade(settings.seed) if settings.degrade == "video" else None
    least = PATCH if degrade is None else PANNED

    def stored(
        images: list[Path],
        folder: Path,
        least: Least,
        shrink: bool,
        drawings: int = 0,
        sizes: int = 1,
        contrast: bool = False,
    ) -> Store:
        seed = settings.seed if degrade else 0
        patch = least.side(settings.patch)
        facts: tuple[object, ...] = (settings.scale, settings.degrade, seed, patch, shrink)
        if drawings or sizes > 1:
            facts = (*facts, drawings, sizes, DRAWING_FORMAT)
        if contrast:
            facts = (*facts, "contrast", CONTRAST_FORMAT)
        return prepare(
            images,
            folder,
            stores / f"x{settings.scale}-{fingerprint(images, folder, *facts)}",
            scale=settings.scale,
            patch=patch,
            least=least,
            shrink=shrink,
            degrade=degrade,
            drawings=drawings,
            sizes=sizes,
            contrast=contrast,
            on_image=lambda done, total: tell(Prepared(done, total)),
        )

    names = [path.relative_to(data).as_posix() for path in images.training]
    more = (settings.drawings, settings.sizes, settings.contrast)
    if settings.validation is not None:
        folder = Path(settings.validation)
        others = stored(images.validation, folder, VALIDATED, False)
        training = stored(images.training, data, least, True, *more)
        return training, validation_pairs(others, None)
    held = hold_out(names)
    drawn = drawing_names(settings.drawings)
    if len(drawn) > 1:
        held |= hold_out(drawn)
    whole = stored(images.training, data, least, True, *more)
    trained = {*names, *drawn} - held
    training = whole.part(trained | {contrast_name(name) for name in trained})
    return training, validation_pairs(whole.part(held), HELD_OUT_SIZE)


def _metadata(settings: TrainSettings, command: str, images: int) -> dict[str, str]:
    start = f", from {Path(settings.start_from).name}" if settings.start_from else ""
    sizes = f" in {settings.sizes} sizes" if settings.sizes > 1 else ""
    drawn = f" and {settings.drawings} drawings" if settings.drawings else ""
    twice = ", with more contrast too" if settings.contrast else ""
    what = f"{images} images{sizes}{twice}{drawn}"
    return {
        "model": settings.model,
        "scale": str(settings.scale),
        "format": "1",
        "training": f"vsr train, {settings.degrade} degradation, {what}{start}",
        "command": command,
        "seed": str(settings.seed),
        "data": f"{Path(settings.data).name}: {what}",
        "licence": "that of the person who trained; mind the licences of the images",
    }


def _dtype(settings: TrainSettings) -> torch.dtype:
    """Of the products."""
    return torch.bfloat16 if settings.precision == "bfloat16" else torch.float32


def _prefers_bfloat16(device: str) -> bool:
    """Whether a device (``auto``, ``cpu``, ``cuda:N``) multiplies bfloat16 faster than float32."""
    if choose_device(device).device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(bfloat16_instructions())


def settle(device: str, precision: str, compiled: str, **wishes: Any) -> TrainSettings:
    """Settings with what ``auto`` leaves open decided for this machine.

    Args:
        device: as for :func:`train`.
        precision: ``float32``, ``bfloat16``, or ``auto``: the one the device is faster at.
        compiled: ``on``, ``off``, or ``auto``: where there is a C++ compiler, which torch needs for
            GPUs too, the network gains by it, and the run is long enough to repay the minute it
            takes.
        **wishes: the other fields of :class:`TrainSettings`.

    Raises:
        UsageError: the settings make no sense.
        BackendError: compiling was asked for and there is no compiler.
    """
    if precision == "auto":
        precision = "bfloat16" if _prefers_bfloat16(device) else "float32"
    compiler = any(shutil.which(name) for name in ("g++", "clang++", "c++"))
    where = torch.device(choose_device(device).device)
    if compiled == "on" and not compiler:
        raise BackendError(
            "compiling the network needs a C++ compiler, and none is installed",
            remedy="Install g++ or clang++, or train with --compile off.",
        )
    steps, budget = wishes.get("steps", 0), wishes.get("time_budget", 0)
    long = budget >= 600 if budget else steps == 0 or steps >= 500
    settings = TrainSettings(precision=precision, **wishes)  # type: ignore[arg-type]
    if compiled != "auto":
        return replace(settings, compiled=compiled == "on")
    recipe = recipe_for(settings.model, settings.scale)
    helps = recipe.compiling_helps(where, _dtype(settings), settings.patch)
    return replace(settings, compiled=helps and bool(compiler) and long)

"""The job of training a network on a folder of images: from settings to a report."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from pipelines.train.data import (
    Images,
    Prepared,
    Taught,
    sources_of,
    teacher_of,
    training_data,
)
from pipelines.train.folder import claim, opened
from pipelines.train.settle import product_type
from vsr.engine.device import choose_device
from vsr.engine.fitting import out_of_memory
from vsr.models.weights import read_weights
from vsr.processor import heed_quota
from vsr.training.data.crops import Batches
from vsr.training.graph import step_recorder
from vsr.training.learner import Learner
from vsr.training.loop import Loop, Outcome, Stepped, Validated
from vsr.training.recipe import recipe_for
from vsr.training.settings import TrainSettings

__all__ = ["Started", "TrainEvent", "TrainReport", "train"]


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


TrainEvent = Prepared | Taught | Started | Stepped | Validated
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
            process is at that run; the teacher is for another scale.
        InputError: images are missing, unreadable or too small.
        OutputError: the folder cannot be written, or has files that the run would replace.
        OutOfMemoryError: there is no room for a step.
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
    teacher = teacher_of(settings, where)
    images = Images.found(settings, (folder, stores))
    sources = sources_of(settings, images)
    weights = folder / f"{settings.model}_x{settings.scale}.safetensors"
    with opened(folder):
        claim(folder, settings, sources, weights.name)
        training, pairs = training_data(settings, images, stores, teacher, tell)
        del teacher  # what it takes of a GPU's memory is wanted for the steps
        torch.manual_seed(settings.seed)
        net = recipe.build(settings.model, settings.scale, start)
        recorder = step_recorder(where) if cuda_graphs else None
        learner = Learner(net, recipe, settings, where, recorder)
        recipe.arrange(learner.net, where, compiled=settings.compiled)
        with Batches(
            training, settings.batch, settings.patch,
            seed=settings.seed, detail=settings.detail, taught=settings.teacher_share,
            device=where,
        ) as batches:  # fmt: skip
            loop = Loop(
                learner, batches, pairs, folder, weights,
                _metadata(settings, command, len(images.training)),
                on_event=tell, begun=begun,
            )  # fmt: skip
            loop.restore()
            how = recipe.how_it_runs(learner.net, where, product_type(settings), settings.patch)
            tell(Started(str(where), len(training.entries), len(pairs), learner.step, how))
            crops = f"{settings.batch:,} crops of {settings.patch}x{settings.patch}"
            with out_of_memory(where, f"steps of {crops}", "Use a smaller --batch or --patch."):
                outcome = loop.run()
    return TrainReport(str(weights), str(folder), str(where), outcome)


def _metadata(settings: TrainSettings, command: str, images: int) -> dict[str, str]:
    start = f", from {Path(settings.start_from).name}" if settings.start_from else ""
    if settings.teacher:
        start += f", {settings.teacher_share:.0%} taught by {Path(settings.teacher).name}"
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

"""What a run is made from: images, the pairs prepared from them, and a teacher's pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from vsr.engine.upscaler import Upscaler
from vsr.errors import ModelError, UsageError
from vsr.models.registry import fitting_model
from vsr.models.weights import read_weights, sha256
from vsr.training.data.contrast import CONTRAST_FORMAT, contrast_name
from vsr.training.data.degrade import VideoDegrade
from vsr.training.data.images import find_images
from vsr.training.data.store import (
    DRAWING_FORMAT,
    Store,
    drawing_names,
    fingerprint,
    hold_out,
    prepare,
)
from vsr.training.data.teacher import taught
from vsr.training.data.usable import PANNED, PATCH, VALIDATED, Least
from vsr.training.settings import TrainSettings
from vsr.training.validation import validation_pairs

__all__ = ["Images", "Prepared", "Taught", "sources_of", "teacher_of", "training_data"]

#: Side of the square of a held-out image that is validated on, HR pixels.
HELD_OUT_SIZE = 240


@dataclass(frozen=True, slots=True)
class Prepared:
    """Images that have been prepared, of how many."""

    images: int
    total: int


@dataclass(frozen=True, slots=True)
class Taught:
    """Pictures that the teacher has made, of how many."""

    pictures: int
    total: int


#: Told while a run's data are prepared.
Listener = Callable[["Prepared | Taught"], None]


@dataclass(frozen=True, slots=True)
class Images:
    """The images of ``data``, and those of ``validation`` where there is such a folder."""

    training: list[Path]
    validation: list[Path]

    @classmethod
    def found(cls, settings: TrainSettings, but: tuple[Path, ...]) -> Images:
        """All but those below the folders ``but``."""
        others = settings.validation
        return cls(
            find_images(Path(settings.data), but=but),
            [] if others is None else find_images(Path(others), but=but),
        )


def sources_of(settings: TrainSettings, images: Images) -> dict[str, tuple[str, str]]:
    """What the run is made from: a line that changes with it, and where that lies, by name."""
    found = {"images": (fingerprint(images.training, Path(settings.data)), settings.data)}
    if settings.validation is not None:
        line = f"validation {fingerprint(images.validation, Path(settings.validation))}"
        found["images for validation"] = (line, settings.validation)
    if settings.start_from is not None:
        line = f"start {sha256(Path(settings.start_from))}"
        found["weights to start from"] = (line, settings.start_from)
    if settings.teacher is not None:
        found["teacher's weights"] = (f"teacher {sha256(Path(settings.teacher))}", settings.teacher)
    return found


def teacher_of(settings: TrainSettings, device: torch.device) -> Upscaler | None:
    """The network that is learnt from, if there is one.

    Raises:
        ModelError: its weights cannot be read, or are no model's.
        UsageError: they are for another scale.
    """
    if settings.teacher is None:
        return None
    path = Path(settings.teacher)
    fits = fitting_model(read_weights(path))
    if fits is None:
        raise ModelError(
            "these are not the weights of a model that could teach",
            where=settings.teacher,
            remedy="Name weights of fdiwn or fdiwn-m with --teacher.",
        )
    model, scale = fits
    if scale != settings.scale:
        raise UsageError(
            f"the teacher enlarges {scale} times, and what it teaches {settings.scale} times",
            where=settings.teacher,
            remedy=f"Name weights for x{settings.scale} with --teacher.",
        )
    return Upscaler(scale, model, path, device=device)


def training_data(
    settings: TrainSettings,
    images: Images,
    stores: Path,
    teacher: Upscaler | None,
    tell: Listener,
) -> tuple[Store, list[tuple[torch.Tensor, torch.Tensor]]]:
    """What is trained on, and the pictures that are validated on.

    Raises:
        InputError: images cannot be read, or are too small.
        OutputError: the prepared pictures cannot be written.
    """
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
    ) -> tuple[Store, Path]:
        seed = settings.seed if degrade else 0
        patch = least.side(settings.patch)
        facts: tuple[object, ...] = (settings.scale, settings.degrade, seed, patch, shrink)
        if drawings or sizes > 1:
            facts = (*facts, drawings, sizes, DRAWING_FORMAT)
        if contrast:
            facts = (*facts, "contrast", CONTRAST_FORMAT)
        target = stores / f"x{settings.scale}-{fingerprint(images, folder, *facts)}"
        store = prepare(
            images,
            folder,
            target,
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
        return store, target

    names = [path.relative_to(data).as_posix() for path in images.training]
    more = (settings.drawings, settings.sizes, settings.contrast)
    if settings.validation is not None:
        folder = Path(settings.validation)
        others, _ = stored(images.validation, folder, VALIDATED, False)
        pairs = validation_pairs(others, None)
        training, target = stored(images.training, data, least, True, *more)
    else:
        held = hold_out(names)
        drawn = drawing_names(settings.drawings)
        if len(drawn) > 1:
            held |= hold_out(drawn)
        whole, target = stored(images.training, data, least, True, *more)
        trained = {*names, *drawn} - held
        training = whole.part(trained | {contrast_name(name) for name in trained})
        pairs = validation_pairs(whole.part(held), HELD_OUT_SIZE)
    if teacher is not None:
        training = taught(
            training,
            target,
            teacher,
            teacher.weights_sha256,
            on_picture=lambda done, total: tell(Taught(done, total)),
        )
    return training, pairs

"""What a run was asked for: everything its weights depend on, as one value."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from vsr.errors import InputError, UsageError
from vsr.models.weights import write_file
from vsr.training.losses import Loss

__all__ = ["LARGEST_SEED", "TrainSettings"]

#: What all that draws at random takes.
LARGEST_SEED = (1 << 63) - 1
#: Settings that are paths.
_PATHS = ("data", "validation", "start_from", "teacher")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """A run's settings; two runs of equal settings on one machine give the same weights.

    Attributes:
        model, scale: what is trained.
        data: folder of images. validation: folder of images to validate on; ``None`` holds out
            every thirteenth of ``data`` and of the drawings.
        degrade: how LR is made: ``bicubic``, or ``video`` (bicubic, then blur, noise, and an
            encoder).
        drawings: so many are trained on beside the images of ``data``.
        sizes: the images of ``data`` are taken in so many, each half the one before.
        contrast: the images of ``data`` are taken with more contrast besides.
        steps: optimiser steps in all; 0: as many as ``time_budget`` allows, or the schedule's own.
        time_budget: seconds, 0 for none.
        batch: crops in a step. patch: side of a crop, LR pixels.
        rate: peak learning rate. schedule: ``cosine`` or ``paper`` (halved four times).
        warmup: share of the steps in which the rate rises.
        loss: ``l1``, ``charbonnier`` or ``psnr`` (:mod:`vsr.training.losses`).
        optimiser: ``adam``, ``adamw``, or ``muon`` for the convolutions and Adam for the rest.
        weight_decay: AdamW's; 0 with the others.
        average: decay of the moving average of the weights.
        clip: gradients are clipped at this many times their usual norm; 0 never clips.
        precision: ``float32`` or ``bfloat16`` (autocast of the trunk).
        compiled: the network's blocks are compiled, which changes last bits.
        detail: crops that compete for a place by their detail; 1 draws evenly.
        seed: of everything random.
        start_from: weights file that the network starts from.
        teacher: weights file of this scale, whose results are learnt beside the originals.
        teacher_share: their share, above 0 and at most 1.
        validate_every, save_every: steps between validations, and between checkpoints.
    """

    model: str = "fdiwn"
    scale: int = 2
    data: str = ""
    validation: str | None = None
    degrade: Literal["bicubic", "video"] = "bicubic"
    drawings: int = 0
    sizes: int = 1
    contrast: bool = False
    steps: int = 0
    time_budget: float = 0.0
    batch: int = 16
    patch: int = 48
    rate: float = 8e-4
    schedule: Literal["cosine", "paper"] = "cosine"
    warmup: float = 0.02
    loss: Loss = "l1"
    optimiser: Literal["adam", "adamw", "muon"] = "muon"
    weight_decay: float = 0.0
    average: float = 0.998
    clip: float = 2.0
    precision: Literal["float32", "bfloat16"] = "float32"
    compiled: bool = False
    detail: int = 3
    seed: int = 1
    start_from: str | None = None
    teacher: str | None = None
    teacher_share: float = 0.75
    validate_every: int = 500
    save_every: int = 100

    def __post_init__(self) -> None:
        limits = {
            "batch": 1, "patch": 8, "detail": 1, "validate_every": 1, "save_every": 1, "seed": 0,
            "drawings": 0, "sizes": 1, "steps": 0, "time_budget": 0, "clip": 0, "weight_decay": 0,
        }  # fmt: skip
        for name, least in limits.items():
            if getattr(self, name) < least:
                raise UsageError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if self.seed > LARGEST_SEED:
            raise UsageError(f"seed must be at most {LARGEST_SEED}, not {self.seed}")
        if not 0 < self.rate < 1:
            raise UsageError(f"a learning rate of {self.rate} is not between 0 and 1")
        if not 0 <= self.warmup < 1 or not 0 <= self.average < 1:
            raise UsageError("warmup and average are shares: from 0 to below 1")
        if not 0 < self.teacher_share <= 1:
            raise UsageError(f"a teacher's share of {self.teacher_share} is not above 0, up to 1")
        if self.teacher is not None and self.degrade != "bicubic":
            raise UsageError(
                "a teacher is for clean pictures, and the degradation is video",
                remedy="Leave --teacher or --degrade video out.",
            )
        if self.steps and self.time_budget:
            raise UsageError("steps and a time budget exclude each other")
        if self.weight_decay and self.optimiser != "adamw":
            raise UsageError(
                f"weight decay is adamw's, and the optimiser is {self.optimiser}",
                remedy="Choose --optimiser adamw, or leave --weight-decay out.",
            )

    def save(self, path: Path) -> None:
        """Write as JSON, all of it or nothing.

        Raises:
            OutputError: it cannot be written.
        """
        write_file(path, (json.dumps(asdict(self), indent=1) + "\n").encode())

    @classmethod
    def load(cls, path: Path) -> TrainSettings:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: the file is damaged.
        """
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return cls(**content)
        except (OSError, ValueError, TypeError) as error:
            raise InputError(
                "the run's settings cannot be read",
                where=str(path),
                remedy="Choose another folder for --out.",
            ) from error

    def differences(self, other: TrainSettings) -> list[str]:
        """What ``other`` has otherwise, as ``name: this instead of that``.

        Paths that are only written otherwise (``photos/``, ``./photos``) are the same.
        """
        return [
            f"{f.name}: {getattr(other, f.name)} instead of {getattr(self, f.name)}"
            for f in fields(self)
            if _compared(f.name, getattr(self, f.name)) != _compared(f.name, getattr(other, f.name))
        ]


def _compared(name: str, value: Any) -> Any:
    return os.path.normpath(value) if name in _PATHS and value else value

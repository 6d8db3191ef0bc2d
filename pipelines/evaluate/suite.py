"""The paper's table again: ours, the authors' weights and the paper side by side."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipelines.evaluate.benchmark import find_images
from pipelines.evaluate.images import evaluate_images
from pipelines.evaluate.machine import contenders_for, machine_settings
from pipelines.evaluate.options import EvalOptions, check_options
from pipelines.evaluate.paper import COST, DATASETS, RESULTS
from pipelines.evaluate.score import Listener
from pipelines.events import Event, Progress
from vsr.engine.contender import Contender, network
from vsr.engine.upscaler import Upscaler
from vsr.errors import InputError, UsageError
from vsr.models.cost import count_cost
from vsr.types import Evaluation

__all__ = ["Suite", "SuiteCost", "SuiteRow", "evaluate_suite"]

_SCALES = (2, 3, 4)
_ENDINGS = (".pt", ".pth", ".safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteRow:
    """One method on one benchmark at one scale.

    Attributes:
        dataset, scale: which.
        method: ``ours``, ``ours in quarters``, ``authors``, ``authors in quarters``, ``bicubic`` or
            ``paper``.
        psnr_y: dB, mean over the images; ``None`` where the paper has none.
        ssim_y: likewise.
        images: how many; ``None`` for the paper.
        seconds: time per image; ``None`` for the paper.
    """

    dataset: str
    scale: int
    method: str
    psnr_y: float | None
    ssim_y: float | None
    images: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteCost:
    """What the network costs at one scale, for an output of 1280x720.

    Attributes:
        scale: which.
        parameters: counted.
        multiply_adds: counted, of all convolutions.
        multiply_adds_once: counted as if the groups that are used several times ran once.
        paper_parameters: as the paper states, rounded to thousands.
        paper_multiply_adds: as the paper states.
    """

    scale: int
    parameters: int
    multiply_adds: int
    multiply_adds_once: int
    paper_parameters: int
    paper_multiply_adds: int


@dataclass(frozen=True, slots=True)
class Suite:
    """The whole table.

    Attributes:
        rows: benchmark by benchmark, scale by scale.
        costs: one for each scale.
        evaluations: what the rows are from, image by image.
        settings, notes: as in :class:`vsr.types.Evaluation`.
    """

    rows: tuple[SuiteRow, ...]
    costs: tuple[SuiteCost, ...]
    evaluations: tuple[Evaluation, ...] = field(repr=False)
    settings: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def evaluate_suite(
    data: str,
    authors: str | None = None,
    options: EvalOptions | None = None,
    *,
    scales: Sequence[int] = _SCALES,
    on_event: Listener | None = None,
) -> Suite:
    """Run the paper's benchmarks, those of them that are there.

    Every network is run twice: on whole images, as for a video, and on four overlapping quarters,
    which is how the paper's figures were made.

    Args:
        data: folder with folders ``Set5``, ``Set14``, ``B100``, ``Urban100``, ``Manga109``.
        authors: folder with the authors' weights, one file a scale with ``x2``, ``x3`` or ``x4`` in
            its name; or what names weights otherwise.
        options: model, weights, device; metrics are PSNR and SSIM on Y.
        scales: which of 2, 3, 4.
        on_event: called with progress.

    Raises:
        InputError: none of the benchmarks is there, or one cannot be read.
        ModelError: weights cannot be loaded.
        UsageError: the model is not in the paper.
    """
    options = replace(options or EvalOptions(), metrics=("psnr_y", "ssim_y"), stills=0)
    check_options(options)
    if (options.model, 2) not in RESULTS:
        raise UsageError(f"the paper has no {options.model}", remedy="It has fdiwn and fdiwn-m.")
    folders = _present(data)
    # Weights that are missing are to be known before the hours of the first scale.
    theirs = {} if authors is None else {scale: _weights(authors, scale) for scale in scales}
    contenders = {scale: _contenders(scale, options, theirs.get(scale)) for scale in scales}
    progress = _Progress(len(find_images(f, s)) for s in scales for f in folders.values())
    rows: list[SuiteRow] = []
    evaluations: list[Evaluation] = []
    for scale in scales:
        for name, folder in folders.items():
            found = evaluate_images(
                str(folder),
                scale,
                options,
                contenders=contenders[scale],
                on_event=None if on_event is None else progress.of_part(on_event),
            ).evaluation
            evaluations.append(found)
            rows += _rows(name, scale, found, options.model)
    missing = [name for name in DATASETS if name not in folders]
    notes = [note for evaluation in evaluations for note in evaluation.notes]
    if missing:
        notes.append(f"Not in {data}: {', '.join(missing)}.")
    if authors is None:
        notes.append("The authors' weights were not run: --authors names them.")
    return Suite(
        rows=tuple(rows),
        costs=tuple(_cost(options.model, scale) for scale in scales),
        evaluations=tuple(evaluations),
        settings=(
            ("data", data),
            ("model", options.model),
            ("weights", options.weights or "shipped"),
            ("authors' weights", authors or "not given"),
            *machine_settings(options),
        ),
        notes=tuple(dict.fromkeys(notes)),
    )


class _Progress:
    """The progress of the whole, from that of its parts."""

    def __init__(self, images: Iterable[int]) -> None:
        self._total = sum(images)
        self._done = 0
        self._begun = time.perf_counter()

    def of_part(self, tell: Listener) -> Listener:
        """A listener for the next part."""
        before = self._done

        def listen(event: Event) -> None:
            if isinstance(event, Progress):
                self._done = before + event.frames
                rate = self._done / max(time.perf_counter() - self._begun, 1e-9)
                left = (self._total - self._done) / rate
                event = Progress(self._done, self._total, rate, left, event.bound_by)
            tell(event)

        return listen


def _present(data: str) -> dict[str, Path]:
    if not Path(data).is_dir():
        raise InputError(
            "there is no such folder",
            where=data,
            remedy="--data names the folder that has Set5, Set14 and the others in it.",
        )
    present = {path.name.lower(): path for path in Path(data).iterdir() if path.is_dir()}
    names = {"B100": ("b100", "bsd100", "bsds100")}
    found = {}
    for dataset in DATASETS:
        for name in names.get(dataset, (dataset.lower(),)):
            if name in present:
                found[dataset] = present[name]
                break
    if not found:
        raise InputError(
            "none of the paper's benchmarks is in this folder",
            where=data,
            remedy=f"Folders are looked for by their names: {', '.join(DATASETS)}.",
        )
    return found


def _contenders(scale: int, options: EvalOptions, weights: str | None) -> list[Contender]:
    ours, in_quarters, baseline = contenders_for(scale, options, exact=True, quarters=True)
    chosen = [
        replace(ours, name="ours", label="ours"),
        replace(in_quarters, name="ours in quarters", label="ours, quarters"),
    ]
    if weights is not None:
        theirs = Upscaler(
            scale,
            options.model,
            weights,
            device=options.device,
            backend=options.backend,
            dtype=options.dtype,
        )
        chosen.append(network("authors", "authors' weights", theirs))
        chosen.append(
            network("authors in quarters", "authors' weights, quarters", theirs, quarters=True)
        )
    return [*chosen, baseline]


def _weights(authors: str, scale: int) -> str:
    folder = Path(authors)
    if not folder.is_dir():
        return authors
    found = sorted(
        path for path in folder.iterdir() if path.suffix in _ENDINGS and f"x{scale}" in path.stem
    )
    if len(found) != 1:
        raise InputError(
            f"{len(found)} weights files have x{scale} in their name, one is needed",
            where=authors,
            remedy=f"Name it like fdiwn_x{scale}.pt.",
        )
    return str(found[0])


def _rows(name: str, scale: int, found: Evaluation, model: str) -> list[SuiteRow]:
    rows = [
        SuiteRow(
            dataset=name,
            scale=scale,
            method=candidate.name,
            psnr_y=candidate.summary["psnr_y"],
            ssim_y=candidate.summary["ssim_y"],
            images=len(candidate.frames),
            seconds=candidate.summary["seconds"],
        )
        for candidate in found.candidates
    ]
    stated = RESULTS[model, scale][DATASETS.index(name)]
    psnr, ssim = stated if stated is not None else (None, None)
    rows.append(SuiteRow(dataset=name, scale=scale, method="paper", psnr_y=psnr, ssim_y=ssim))
    return rows


def _cost(model: str, scale: int) -> SuiteCost:
    counted = count_cost(model, scale)
    thousands, billions = COST[model, scale]
    return SuiteCost(
        scale=scale,
        parameters=counted.parameters,
        multiply_adds=counted.multiply_adds,
        multiply_adds_once=counted.multiply_adds_once,
        paper_parameters=thousands * 1000,
        paper_multiply_adds=round(billions * 1e9),
    )

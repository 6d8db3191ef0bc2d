"""Frames and their ground truth in, scores out: what all kinds of evaluation share."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import torch

from pipelines.evaluate.options import EvalOptions
from pipelines.evaluate.stills import StillChooser
from pipelines.events import Event, Progress
from vsr.engine.clock import StageClock, bound_by
from vsr.engine.device import choose_device
from vsr.engine.protocol import PROTOCOLS, rgb_picture
from vsr.errors import InputError
from vsr.media.png import encode_png
from vsr.metrics import METRICS, Measures, choose_metrics, pooled_psnr
from vsr.types import Candidate, FrameBatch, FrameScore, MetricInfo
from vsr.types.stills import Picture, Still

__all__ = ["POOLED", "SECONDS", "Entrant", "Listener", "Scorer"]

Listener = Callable[[Event], None]

#: PSNR of the mean squared error, beside the mean of PSNR.
POOLED = {
    name: MetricInfo(
        name=f"{name}_pooled",
        label=f"{METRICS[name].label} of the mean error",
        unit="dB",
        decimals=2,
        per_frame=False,
    )
    for name in ("psnr_y", "psnr_rgb")
}

#: What making a frame larger took.
SECONDS = MetricInfo(name="seconds", label="time", unit="s", higher_is_better=None, decimals=3)


@dataclass(frozen=True, slots=True)
class Entrant:
    """Who is scored: name and label of a :class:`vsr.types.Candidate`."""

    name: str
    label: str


class Scorer:
    """Scores entrants frame by frame; memory holds one frame, the kept stills, and the scores.

    Use it in a ``with`` statement.

    Args:
        entrants: in the order in which results will come; the first is the one in question.
        options: measures, shave, stills, device.
        protocol: row of :data:`vsr.engine.protocol.PROTOCOLS`.
        scale: enlargement, for the protocol's shave; 1 where there is none.
        temporal: frames follow each other.
        bits, full_range: of the ground truth's samples.
        timed: results come with the time they took.
        total: frames expected, for progress.
        tell: is told of progress.

    Raises:
        UsageError, DependencyError: see :func:`vsr.metrics.choose_metrics`.
    """

    def __init__(
        self,
        entrants: Sequence[Entrant],
        options: EvalOptions,
        protocol: str,
        *,
        scale: int,
        temporal: bool,
        bits: int = 8,
        full_range: bool = False,
        timed: bool,
        total: int | None,
        tell: Listener | None,
    ) -> None:
        self._entrants = tuple(entrants)
        self._protocol = PROTOCOLS[protocol]
        self._names, self.notes = choose_metrics(options.metrics, temporal=temporal)
        own = self._protocol.shave(scale)
        self.shave = own if options.shave is None else options.shave
        device = choose_device(options.device, options.backend).device
        self._measures = [
            Measures(
                self._names,
                shave=self.shave,
                device=torch.device(device),
                bits=bits,
                full_range=full_range and protocol == "video",
            )
            for _ in entrants
        ]
        self._timed, self._temporal = timed, temporal
        self._scores: list[list[FrameScore]] = [[] for _ in entrants]
        self._chooser = StillChooser(options.stills)
        self._stack = ExitStack()
        self._clocks = {name: StageClock(name) for name in ("decode", "infer", "measure")}
        self._total, self._tell = total, tell
        self._begun = time.perf_counter()

    def __enter__(self) -> Self:
        for measures in self._measures:
            self._stack.enter_context(measures)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def clock(self, stage: str) -> StageClock:
        """The clock of ``decode``, ``infer`` or ``measure``."""
        return self._clocks[stage]

    def add(
        self,
        truth: FrameBatch,
        results: Sequence[FrameBatch],
        *,
        source: FrameBatch | None = None,
        seconds: Sequence[float] = (),
        label: str = "",
        is_image: bool = False,
    ) -> None:
        """The next frame.

        Args:
            truth: one frame, formed by the protocol.
            results: each entrant's.
            source: what the entrants were given, for the stills.
            seconds: what each result took.
            label: file name of an image.
            is_image: it has no timestamp.

        Raises:
            UsageError: the frames are too small to be measured.
        """
        index = len(self._scores[0])
        pts = None if is_image else truth.pts[0]
        with self._clocks["measure"].work():
            wanted = self._protocol.signals(truth, truth.color)
            for number, (result, measures) in enumerate(zip(results, self._measures, strict=True)):
                (values,) = measures.add(self._protocol.signals(result, truth.color), wanted)
                if self._timed:
                    values[SECONDS.name] = seconds[number]
                self._scores[number].append(
                    FrameScore(index=index, pts=pts, label=label, values=values)
                )
        main = next((name for name in self._names if name in self._scores[0][-1].values), "")
        score = self._scores[0][-1].values.get(main, 0.0)
        if main and not METRICS[main].higher_is_better:
            score = -score
        self._chooser.consider(
            index, pts, label, score, lambda: self._pictures(truth, results, source)
        )
        self._report()

    def finish(self) -> tuple[tuple[MetricInfo, ...], tuple[Candidate, ...], tuple[Still, ...]]:
        """Measures with a value at least, each entrant with its scores, and the stills.

        Raises:
            InputError: there was no frame.
            BackendError: a measure failed.
        """
        if not self._scores[0]:
            raise InputError("there is not a single frame to compare")
        for measures, scores in zip(self._measures, self._scores, strict=True):
            for name, values in measures.finish().items():
                scores[:] = [
                    replace(score, values={**score.values, name: value})
                    for score, value in zip(scores, values, strict=True)
                ]
        candidates = tuple(
            Candidate(
                name=entrant.name,
                label=entrant.label,
                summary=_summary(scores, pooled=self._temporal),
                frames=tuple(scores),
            )
            for entrant, scores in zip(self._entrants, self._scores, strict=True)
        )
        known = candidates[0].summary
        metrics: list[MetricInfo] = []
        for name in self._names:
            if name in known:
                metrics.append(METRICS[name])
                self._note_gaps(name)
                metrics += [POOLED[name]] if name in POOLED and self._temporal else []
            else:
                self.notes = (*self.notes, f"{METRICS[name].label} was not measured: {_WHY[name]}.")
        if self._timed:
            metrics.append(SECONDS)
        return tuple(metrics), candidates, self._chooser.chosen()

    def _note_gaps(self, name: str) -> None:
        lacking = sum(name not in score.values for score in self._scores[0])
        if lacking and name != "flicker":
            self.notes = (
                *self.notes,
                f"{METRICS[name].label} is the mean without {lacking} of {len(self._scores[0])}: "
                f"{_WHY[name]}.",
            )

    def _pictures(
        self, truth: FrameBatch, results: Sequence[FrameBatch], source: FrameBatch | None
    ) -> tuple[Picture, ...]:
        named = [] if source is None else [("source", "source", source)]
        pairs = list(zip(self._entrants, results, strict=True))
        named += [(entrant.name, entrant.label, result) for entrant, result in reversed(pairs)]
        named.append(("truth", "ground truth", truth))
        return tuple(
            Picture(name, label, encode_png(rgb_picture(batch, 0))) for name, label, batch in named
        )

    def _report(self) -> None:
        if self._tell is None:
            return
        done = len(self._scores[0])
        rate = done / max(time.perf_counter() - self._begun, 1e-9)
        left = None if self._total is None else max(0, self._total - done) / rate
        self._tell(Progress(done, self._total, rate, left, bound_by(self._clocks.values())))


_WHY = {
    "ms_ssim": "it needs 176 pixels each way",
    "flicker": "it needs two frames",
}


def _summary(scores: Sequence[FrameScore], *, pooled: bool) -> dict[str, float]:
    """Means over the frames that have a value; PSNR of the mean error too."""
    columns: dict[str, list[float]] = {}
    for score in scores:
        for name, value in score.values.items():
            columns.setdefault(name, []).append(value)
    summary = {}
    for name, values in columns.items():
        summary[name] = math.fsum(values) / len(values)
        if name in POOLED and pooled:
            summary[POOLED[name].name] = pooled_psnr(values)
    return summary

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
from vsr.errors import InputError, UsageError
from vsr.media.png import encode_png
from vsr.media.view.picture import upright
from vsr.metrics import METRICS, NEEDS, Measures, Signals, choose_metrics, pooled_psnr
from vsr.types import Candidate, Color, FrameBatch, FrameScore, MetricInfo
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
        scale: enlargement, for the protocol's shave; 0 where there is none.
        size: width and height of the truth as it is compared, where all frames have one size.
        temporal: frames follow each other.
        bits, full_range: of the ground truth's samples.
        timed: results come with the time they took.
        total: frames expected, for progress.
        turns: display matrices of the truth and of each entrant, by which frames are turned before
            they are compared; empty: as they are.
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
        size: tuple[int, int] | None = None,
        temporal: bool,
        bits: int = 8,
        full_range: bool = False,
        timed: bool,
        total: int | None,
        turns: Sequence[tuple[int, ...] | None] = (),
        tell: Listener | None,
    ) -> None:
        self._entrants = tuple(entrants)
        self._protocol = PROTOCOLS[protocol]
        own = self._protocol.shave(scale)
        self.shave = own if options.shave is None else options.shave
        self._named = options.metrics is not None
        self._names, self.notes = choose_metrics(
            options.metrics, temporal=temporal, size=_inner(size, self.shave)
        )
        self._turns = tuple(turns) or (None,) * (len(self._entrants) + 1)
        device = choose_device(options.device, options.backend).device
        self._measures = [
            Measures(
                self._names,
                shave=self.shave,
                device=torch.device(device),
                bits=bits,
                full_range=full_range and protocol == "video",
                lenient=not self._named,
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
            UsageError: sizes differ, or the shave leaves nothing.
            BackendError: a measure that was asked for by name failed.
        """
        index = len(self._scores[0])
        pts = None if is_image else truth.pts[0]
        with self._clocks["measure"].work():
            wanted = self._seen(truth, truth.color, 0)
            for number, (result, measures) in enumerate(zip(results, self._measures, strict=True)):
                seen = self._seen(result, truth.color, number + 1)
                (values,) = measures.add(seen, wanted)
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
            UsageError: a measure that was asked for by name has no value.
            BackendError: one failed.
        """
        if not self._scores[0]:
            raise InputError("there is not a single frame to compare")
        for measures, scores in zip(self._measures, self._scores, strict=True):
            for name, values in measures.finish().items():
                scores[:] = [
                    replace(score, values={**score.values, name: value})
                    for score, value in zip(scores, values, strict=True)
                ]
        problems = {name: why for m in self._measures for name, why in m.problems.items()}
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
                continue
            what, why = METRICS[name].label, problems.get(name, NEEDS.get(name, ""))
            if self._named:
                raise UsageError(
                    f"{what} cannot be measured: {why}", remedy="Leave it out of --metrics."
                )
            self.notes = (*self.notes, f"{what} was not measured: {why}.")
        if self._timed:
            metrics.append(SECONDS)
        return tuple(metrics), candidates, self._chooser.chosen()

    def _note_gaps(self, name: str) -> None:
        lacking = sum(name not in score.values for score in self._scores[0])
        if lacking and name != "flicker":
            self.notes = (
                *self.notes,
                f"{METRICS[name].label} is the mean without {lacking} of {len(self._scores[0])}: "
                f"{NEEDS[name]}.",
            )

    def _pictures(
        self, truth: FrameBatch, results: Sequence[FrameBatch], source: FrameBatch | None
    ) -> tuple[Picture, ...]:
        truly, *turns = self._turns
        named = [] if source is None else [("source", "source", source, truly)]
        shown = list(zip(self._entrants, results, turns, strict=True))
        named += [(who.name, who.label, result, turn) for who, result, turn in reversed(shown)]
        named.append(("truth", "ground truth", truth, truly))
        return tuple(
            Picture(name, label, encode_png(upright(rgb_picture(batch, 0), turn).contiguous()))
            for name, label, batch, turn in named
        )

    def _seen(self, batch: FrameBatch, color: Color, number: int) -> Signals:
        """What is compared: of the truth (0), or of an entrant (from 1)."""
        signals, turn = self._protocol.signals(batch, color), self._turns[number]
        return Signals(upright(signals.luma, turn), upright(signals.rgb, turn))

    def _report(self) -> None:
        if self._tell is None:
            return
        done = len(self._scores[0])
        rate = done / max(time.perf_counter() - self._begun, 1e-9)
        left = None if self._total is None else max(0, self._total - done) / rate
        self._tell(Progress(done, self._total, rate, left, bound_by(self._clocks.values())))


def _inner(size: tuple[int, int] | None, shave: int) -> tuple[int, int] | None:
    """What a shave leaves, if it leaves something."""
    left = None if size is None else (size[0] - 2 * shave, size[1] - 2 * shave)
    return left if left is None or min(left) > 0 else None


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

"""The table of measures, and how they are applied to a video as it comes.

A measure sees frames in order, in batches, and remembers one frame at most. A value that does not
exist (flicker of the first frame, MS-SSIM of a small picture) is NaN here and missing in results.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from vsr.errors import BackendError, DependencyError, UsageError
from vsr.metrics.flicker import Flicker
from vsr.metrics.lpips import SMALLEST as SMALLEST_LPIPS
from vsr.metrics.lpips import Lpips, lpips_problem
from vsr.metrics.ms_ssim import SMALLEST as SMALLEST_MS_SSIM
from vsr.metrics.ms_ssim import ssim_and_ms_ssim
from vsr.metrics.psnr import psnr
from vsr.metrics.ssim import WINDOW, ssim
from vsr.metrics.vmaf import SMALLEST as SMALLEST_VMAF
from vsr.metrics.vmaf import Vmaf, vmaf_problem
from vsr.types import MetricInfo

__all__ = ["METRICS", "NEEDS", "Measures", "Signals", "choose_metrics", "pooled_psnr"]

#: Every measure by name, in the order of columns.
METRICS: dict[str, MetricInfo] = {
    info.name: info
    for info in (
        MetricInfo(name="psnr_y", label="PSNR (Y)", unit="dB", decimals=2),
        MetricInfo(name="ssim_y", label="SSIM (Y)", decimals=4),
        MetricInfo(name="psnr_rgb", label="PSNR (RGB)", unit="dB", decimals=2),
        MetricInfo(name="ssim_rgb", label="SSIM (RGB)", decimals=4),
        MetricInfo(name="ms_ssim", label="MS-SSIM (Y)", decimals=4),
        MetricInfo(name="flicker", label="flicker (Y)", higher_is_better=False, decimals=3),
        MetricInfo(name="lpips", label="LPIPS", higher_is_better=False, decimals=4),
        MetricInfo(name="vmaf", label="VMAF", decimals=2),
    )
}

#: Measures that compare consecutive frames: they mean nothing for images.
_TEMPORAL = {"flicker", "vmaf"}

#: Pixels each way without which there is no value.
_SMALLEST = {
    "ssim_y": WINDOW,
    "ssim_rgb": WINDOW,
    "ms_ssim": SMALLEST_MS_SSIM,
    "lpips": SMALLEST_LPIPS,
    "vmaf": SMALLEST_VMAF,
}

#: Why a measure may have no value, to be read on after a colon.
NEEDS = {
    "flicker": "it needs two frames",
    **{name: f"it needs {pixels} pixels each way" for name, pixels in _SMALLEST.items()},
}

#: Measures that need more than this package, and what says why they cannot be had.
_OPTIONAL: dict[str, Callable[[], str | None]] = {"lpips": lpips_problem, "vmaf": vmaf_problem}


@dataclass(frozen=True, slots=True, eq=False)
class Signals:
    """Frames as measures see them.

    Attributes:
        luma: ``(N, 1, H, W)``, codes of 8 bits (peak 255), as the protocol defines Y.
        rgb: ``(N, 3, H, W)``, 0..255.
    """

    luma: Tensor
    rgb: Tensor

    def shaved(self, pixels: int) -> Signals:
        """Without ``pixels`` at each edge."""
        if not pixels:
            return self
        height, width = self.luma.shape[-2:]
        if 2 * pixels >= min(height, width):
            raise UsageError(f"a shave of {pixels} leaves nothing of {width}x{height}")
        inner = (..., slice(pixels, height - pixels), slice(pixels, width - pixels))
        return Signals(self.luma[inner], self.rgb[inner])


def choose_metrics(
    wanted: Sequence[str] | None, *, temporal: bool, size: tuple[int, int] | None = None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Which measures are taken.

    Args:
        wanted: names; ``None``: all that can be had here.
        temporal: frames follow each other; they do not in a folder of images.
        size: width and height of all pictures, where they have one size, without what is shaved.

    Returns:
        Names in the order of :data:`METRICS`, and a sentence for each that was left out.

    Raises:
        UsageError: there is no such measure, none is named, it needs a video and these are images,
            or a measure was asked for by name and the pictures are too small for it.
        DependencyError: a measure was asked for by name and its package is missing.
    """
    if wanted is not None and not wanted:
        raise UsageError("no metric is named", remedy=f"Choose of {', '.join(METRICS)}.")
    for name in wanted or ():
        _check_named(name, temporal, size)
    chosen, notes = [], []
    for name, info in METRICS.items():
        if wanted is not None:
            if name in wanted:
                chosen.append(name)
        elif temporal or name not in _TEMPORAL:
            problem = _problem(name, size)
            if problem is None:
                chosen.append(name)
            else:
                notes.append(f"{info.label} was not measured: {problem}.")
    return tuple(chosen), tuple(notes)


def _check_named(name: str, temporal: bool, size: tuple[int, int] | None) -> None:
    if name not in METRICS:
        raise UsageError(
            f"there is no metric called {name!r}", remedy=f"Choose of {', '.join(METRICS)}."
        )
    if name in _TEMPORAL and not temporal:
        raise UsageError(f"{name} is measured over time, and these are images")
    if _too_small(name, size) and size is not None:
        raise UsageError(
            f"{METRICS[name].label} cannot be measured: {NEEDS[name]}, and "
            f"{size[0]}x{size[1]} are left",
            remedy="Leave it out of --metrics.",
        )
    if name in _OPTIONAL and (problem := _OPTIONAL[name]()) is not None:
        raise DependencyError(
            f"{METRICS[name].label} cannot be measured: {problem}",
            remedy="Install what is missing, or leave it out of --metrics.",
        )


def _problem(name: str, size: tuple[int, int] | None) -> str | None:
    if _too_small(name, size):
        return NEEDS[name]
    return _OPTIONAL[name]() if name in _OPTIONAL else None


def _too_small(name: str, size: tuple[int, int] | None) -> bool:
    return size is not None and min(size) < _SMALLEST.get(name, 1)


def pooled_psnr(values: Sequence[float]) -> float:
    """PSNR of the mean squared error over all frames, from the frames' PSNR.

    The mean of the frames' PSNR, which papers print, weighs an almost perfect frame (a black one)
    more than all the bad ones; this does not. Infinite if there is no error at all.
    """
    mean = math.fsum(10 ** (-value / 10) for value in values) / len(values)
    return math.inf if mean == 0 else -10 * math.log10(mean)


class Measures:
    """Measures of one video (or of a set of images) against its ground truth.

    Use it in a ``with`` statement.

    Args:
        names: of the measures, from :data:`METRICS`.
        shave: pixels left out at each edge.
        device: where measuring happens.
        bits: of the samples, for VMAF, which takes 8 or 10.
        full_range: luma is 0..255 and not 16..235; VMAF, made for the latter, gets it so.
        lenient: if the program that measures VMAF fails, say so in ``problems`` and go on.

    Attributes:
        problems: name of a measure that failed -> why.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        shave: int,
        device: torch.device,
        bits: int = 8,
        full_range: bool = False,
        lenient: bool = False,
    ) -> None:
        self.problems: dict[str, str] = {}
        self._lenient = lenient
        self._names = tuple(names)
        self._shave = shave
        self._device = device
        self._full_range = full_range
        self._flicker = Flicker()
        self._lpips = Lpips(device) if "lpips" in names else None
        self._vmaf = Vmaf(8 if bits <= 8 else 10) if "vmaf" in names else None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if self._vmaf is not None:
            self._stack.enter_context(self._vmaf)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @torch.inference_mode()
    def add(self, result: Signals, truth: Signals) -> list[dict[str, float]]:
        """Measure the next frames.

        Returns:
            For each frame, name -> value; VMAF is missing, see :meth:`finish`, and so is what the
            frames are too small for.

        Raises:
            UsageError: sizes differ, or the shave leaves nothing.
            BackendError: VMAF's program failed.
        """
        result, truth = (self._prepared(signals) for signals in (result, truth))
        values: dict[str, Tensor] = {}
        side = min(truth.luma.shape[-2:])
        wanted = {name for name in self._names if side >= _SMALLEST.get(name, 1)}
        if "psnr_y" in wanted:
            values["psnr_y"] = psnr(result.luma, truth.luma)
        if "psnr_rgb" in wanted:
            values["psnr_rgb"] = psnr(result.rgb, truth.rgb)
        if "ms_ssim" in wanted:
            both = ssim_and_ms_ssim(result.luma, truth.luma)
            values["ssim_y"], values["ms_ssim"] = both
        elif "ssim_y" in wanted:
            values["ssim_y"] = ssim(result.luma, truth.luma)
        if "ssim_rgb" in wanted:
            values["ssim_rgb"] = ssim(result.rgb, truth.rgb)
        if "flicker" in wanted:
            values["flicker"] = self._flicker.add(result.luma, truth.luma)
        if self._lpips is not None and "lpips" in wanted:
            values["lpips"] = self._lpips.add(result.rgb, truth.rgb)
        if self._vmaf is not None:
            try:
                self._vmaf.add(self._limited(result.luma), self._limited(truth.luma))
            except BackendError as error:
                self._give_up_vmaf(error)
        columns = {name: values[name].tolist() for name in self._names if name in values}
        return [
            {name: column[i] for name, column in columns.items() if not math.isnan(column[i])}
            for i in range(len(truth.luma))
        ]

    def finish(self) -> dict[str, list[float]]:
        """What is known only at the end: name -> a value for each frame so far.

        Raises:
            BackendError: VMAF's program failed.
        """
        if self._vmaf is None:
            return {}
        try:
            return {"vmaf": self._vmaf.finish()}
        except BackendError as error:
            self._give_up_vmaf(error)
            return {}

    def _give_up_vmaf(self, error: BackendError) -> None:
        if not self._lenient:
            raise error
        self.problems["vmaf"] = error.what
        self._vmaf = None

    def _limited(self, luma: Tensor) -> Tensor:
        return 16 + luma * (219 / 255) if self._full_range else luma

    def _prepared(self, signals: Signals) -> Signals:
        shaved = signals.shaved(self._shave)
        return Signals(shaved.luma.to(self._device), shaved.rgb.to(self._device))

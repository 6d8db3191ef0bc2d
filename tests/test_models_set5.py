"""Figures on Set5 and Set14: the authors' weights give the paper's, ours beat bicubic."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from vsr.metrics import psnr_y, ssim_y
from vsr.models import LoadedModel, load_model
from vsr.models.bicubic import imresize
from vsr.models.quarters import in_quarters

pytestmark = pytest.mark.slow

#: Whole images, the authors' weights: PSNR in dB and SSIM on Y.
WHOLE = {2: (38.058, 0.9607), 3: (34.512, 0.9280), 4: (32.217, 0.8954)}
#: In quarters, as the paper evaluates.
QUARTERS = {2: 38.067, 3: 34.520, 4: 32.227}
#: MATLAB's bicubic on Set5, dB.
BICUBIC = {2: 33.67, 3: 30.41, 4: 28.43}
#: What FDIWN's shipped weights were trained to reach, dB; FDIWN-M's may be 0.1 below.
TARGET = {
    "Set5": {2: 37.85, 3: 34.20, 4: 31.90},
    "Set14": {2: 33.40, 3: 30.20, 4: 28.45},
}
#: Published images that another model made.
NOT_THEIRS = {(2, "butterfly"), (3, "woman")}


def _read(path: Path) -> Tensor:
    """``(1, 3, H, W)`` RGB float32 in 0..255."""
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert bgr is not None, path
    return torch.from_numpy(np.ascontiguousarray(bgr[..., ::-1])).permute(2, 0, 1)[None].float()


def _pairs(folder: Path, scale: int) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Name, LR image and HR image cropped to a multiple of the scale."""
    for path in sorted((folder / f"LR_x{scale}").glob("*.png")):
        lr = _read(path)
        hr = _read(folder / "HR" / path.name)
        yield path.stem, lr, hr[..., : lr.shape[2] * scale, : lr.shape[3] * scale]


def _to_codes(image: Tensor) -> Tensor:
    return image.clamp(0, 255).round()


def _bicubic(lr: Tensor, scale: int) -> Tensor:
    codes = lr[0].permute(1, 2, 0).numpy().astype(np.uint8)
    return torch.from_numpy(imresize(codes, scale)).permute(2, 0, 1)[None].float()


def _authors(reference: Path, scale: int) -> LoadedModel:
    return load_model("fdiwn", scale, reference / "weights" / f"fdiwn_x{scale}_authors.pt")


def _mean(figures: list[Tensor]) -> float:
    return torch.stack(figures).mean().item()


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_authors_weights_on_whole_images(reference: Path, scale: int) -> None:
    model = _authors(reference, scale)
    pairs = [(_to_codes(model(lr)), hr) for _, lr, hr in _pairs(reference / "Set5", scale)]
    psnr, ssim = WHOLE[scale]
    assert _mean([psnr_y(sr, hr, shave=scale) for sr, hr in pairs]) == pytest.approx(psnr, abs=5e-3)
    assert _mean([ssim_y(sr, hr, shave=scale) for sr, hr in pairs]) == pytest.approx(ssim, abs=1e-4)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_authors_weights_in_quarters_are_the_papers(reference: Path, scale: int) -> None:
    model = _authors(reference, scale)
    figures = []
    for name, lr, hr in _pairs(reference / "Set5", scale):
        sr = _to_codes(in_quarters(model, lr, scale))
        figures.append(psnr_y(sr, hr, shave=scale))
        if (scale, name) not in NOT_THEIRS:
            published = _read(reference / "Set5" / f"FDIWN_SR_x{scale}" / f"{name}.png")
            assert (sr - published).abs().max().item() <= 1, name
    assert _mean(figures) == pytest.approx(QUARTERS[scale], abs=5e-3)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_on_set5(reference: Path, scale: int) -> None:
    figures = [
        psnr_y(_bicubic(lr, scale), hr, shave=scale)
        for _, lr, hr in _pairs(reference / "Set5", scale)
    ]
    assert _mean(figures) == pytest.approx(BICUBIC[scale], abs=0.02)


def _figures(folder: Path, model: str, scale: int) -> dict[str, tuple[Tensor, Tensor]]:
    """PSNR of each image of a benchmark by the shipped weights, and by bicubic."""
    network = load_model(model, scale)
    return {
        name: (
            psnr_y(_to_codes(network(lr)), hr, shave=scale),
            psnr_y(_bicubic(lr, scale), hr, shave=scale),
        )
        for name, lr, hr in _pairs(folder, scale)
    }


@pytest.mark.parametrize("model", ["fdiwn", "fdiwn-m"])
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("benchmark", "images"), [("Set5", 5), ("Set14", 14)])
def test_shipped_weights(
    reference: Path, benchmark: str, images: int, scale: int, model: str
) -> None:
    """They reach what they were trained for, to two decimals, and are below bicubic nowhere."""
    figures = _figures(reference / benchmark, model, scale)
    assert len(figures) == images
    allowed = 0.1 if model == "fdiwn-m" else 0.0
    mean = _mean([ours for ours, _ in figures.values()])
    assert round(mean, 2) >= round(TARGET[benchmark][scale] - allowed, 2), figures
    assert all(ours > bicubic for ours, bicubic in figures.values()), figures

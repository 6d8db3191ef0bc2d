"""PSNR and SSIM against published figures and against independent computations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vsr.errors import UsageError
from vsr.metrics import psnr, psnr_y, rgb_to_y, ssim, ssim_y

_SCALES = (2, 3, 4)
# The authors' images as published, PSNR on Y.
_PUBLISHED_IMAGES = {2: 37.951, 3: 34.464, 4: 32.227}
# Bicubic on RGB, PSNR on Y.
_BICUBIC_RGB = {2: 33.67, 3: 30.40, 4: 28.43}
# Bicubic on Y in floating point, the baseline of nearly every paper since SRCNN: PSNR and SSIM.
_BICUBIC_Y = {2: (33.66, 0.9299), 3: (30.39, 0.8682), 4: (28.42, 0.8104)}


def _read(path: Path) -> Tensor:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert image is not None, path
    return torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)


def _set5(reference: Path, folder: str, scale: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs of an image of ``folder`` and its ground truth, cropped to a multiple of ``scale``."""
    for truth in sorted((reference / "Set5" / "HR").glob("*.png")):
        (path,) = (reference / "Set5" / folder).glob(f"{truth.stem}*.png")
        hr = _read(truth)
        yield _read(path), hr[:, : hr.shape[1] // scale * scale, : hr.shape[2] // scale * scale]


@pytest.mark.parametrize("scale", _SCALES)
def test_published_images_have_their_psnr(reference: Path, scale: int) -> None:
    pairs = list(_set5(reference, f"FDIWN_SR_x{scale}", scale))
    assert len(pairs) == 5
    values = [float(psnr_y(sr, hr, shave=scale)) for sr, hr in pairs]
    assert np.mean(values) == pytest.approx(_PUBLISHED_IMAGES[scale], abs=6e-4)
    if scale == 4:  # at 2 and 3 one image each is another model's
        similar = [float(ssim_y(sr, hr, shave=scale)) for sr, hr in pairs]
        assert np.mean(similar) == pytest.approx(0.8955, abs=6e-5)


@pytest.mark.parametrize("scale", _SCALES)
def test_bicubic_has_its_psnr(reference: Path, numpy_benchmark: ModuleType, scale: int) -> None:
    values = []
    for lr, hr in _set5(reference, f"LR_x{scale}", scale):
        large = torch.from_numpy(numpy_benchmark.imresize(lr.permute(1, 2, 0).numpy(), scale))
        values.append(float(psnr_y(large.permute(2, 0, 1), hr, shave=scale)))
    assert np.mean(values) == pytest.approx(_BICUBIC_RGB[scale], abs=6e-3)


@pytest.mark.parametrize("scale", _SCALES)
def test_bicubic_on_y_has_the_literature_s_ssim(
    reference: Path, numpy_benchmark: ModuleType, scale: int
) -> None:
    def resize(image: np.ndarray, factor: float) -> np.ndarray:
        for axis in (0, 1):
            size = image.shape[axis]
            matrix = numpy_benchmark._mat(size, int(np.ceil(size * factor - 1e-9)), factor)
            image = np.moveaxis(np.tensordot(matrix, image, (1, axis)), 0, axis)
        return image

    values = []
    for _, hr in _set5(reference, f"LR_x{scale}", scale):
        y = rgb_to_y(hr).round()
        large = resize(resize(y[0].numpy(), 1 / scale), scale)
        bicubic = torch.from_numpy(np.clip(np.floor(large + 0.5), 0, 255))[None]
        values.append((float(psnr(bicubic, y, shave=scale)), float(ssim(bicubic, y, shave=scale))))
    mean = np.mean(values, axis=0)
    assert mean[0] == pytest.approx(_BICUBIC_Y[scale][0], abs=6e-3)
    assert mean[1] == pytest.approx(_BICUBIC_Y[scale][1], abs=1e-4)


def test_grey_counts_as_rgb() -> None:
    grey = torch.randint(0, 256, (2, 1, 20, 20), dtype=torch.uint8)
    assert torch.equal(rgb_to_y(grey), rgb_to_y(grey.expand(-1, 3, -1, -1)))
    assert rgb_to_y(torch.tensor([[[0.0]], [[0.0]], [[0.0]]])).item() == 16
    assert rgb_to_y(torch.full((3, 1, 1), 255)).item() == pytest.approx(235)


def test_identical_pictures() -> None:
    picture = torch.randint(0, 256, (3, 24, 24), dtype=torch.uint8)
    assert psnr(picture, picture).item() == float("inf")
    assert psnr_y(picture, picture, shave=4).item() == float("inf")
    assert ssim(picture, picture).item() == pytest.approx(1, abs=1e-12)


def test_known_values() -> None:
    black = torch.zeros(1, 3, 16, 16)
    assert psnr(black, black + 1).item() == pytest.approx(48.1308, abs=1e-4)
    assert psnr(black, black + 0.5, max_value=1.0).item() == pytest.approx(6.0206, abs=1e-4)
    assert psnr(black, black + 255).item() == pytest.approx(0)
    # Flat pictures: only the luminance term is left.
    c1 = (0.01 * 255) ** 2
    wanted = (2 * 100 * 120 + c1) / (100**2 + 120**2 + c1)
    assert ssim(black + 100, black + 120).item() == pytest.approx(wanted)


def test_each_picture_of_a_batch_by_itself() -> None:
    generator = torch.Generator().manual_seed(0)
    a = torch.randint(0, 256, (3, 3, 32, 40), dtype=torch.uint8, generator=generator)
    b = torch.randint(0, 256, (3, 3, 32, 40), dtype=torch.uint8, generator=generator)
    for metric in (psnr, psnr_y, ssim, ssim_y):
        together = metric(a, b, shave=3)
        assert together.shape == (3,)
        assert together.dtype == torch.float64
        alone = torch.stack([metric(x, y, shave=3) for x, y in zip(a, b, strict=True)])
        assert torch.allclose(together, alone, rtol=1e-12)


@settings(max_examples=20, deadline=None)
@given(
    shave=st.integers(0, 4),
    size=st.tuples(st.integers(20, 40), st.integers(20, 40)),
    seed=st.integers(0, 2**31),
)
def test_ssim_equals_opencv_windows(shave: int, size: tuple[int, int], seed: int) -> None:
    """Against Gaussian windows of OpenCV, cropped to where they fit."""
    random = np.random.default_rng(seed)
    a = random.integers(0, 256, size).astype(np.float64)
    b = np.clip(a + random.normal(0, 20, size), 0, 255)

    def mean(x: np.ndarray) -> np.ndarray:
        inner = x[shave : x.shape[0] - shave, shave : x.shape[1] - shave]
        return cv2.GaussianBlur(inner, (11, 11), 1.5)[5:-5, 5:-5]

    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    c1, c2 = 2.55**2, 7.65**2
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    similarity /= (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    ours = ssim(torch.from_numpy(a)[None], torch.from_numpy(b)[None], shave=shave)
    assert ours.item() == pytest.approx(similarity.mean(), abs=1e-9)


def test_what_cannot_be_compared_is_refused() -> None:
    a = torch.zeros(3, 20, 20)
    with pytest.raises(UsageError, match="one shape"):
        psnr(a, torch.zeros(3, 20, 21))
    with pytest.raises(UsageError, match="leaves nothing"):
        psnr(a, a, shave=10)
    with pytest.raises(UsageError, match="11"):
        ssim(a, a, shave=5)
    with pytest.raises(UsageError, match="C = 1 or 3"):
        rgb_to_y(torch.zeros(2, 20, 20))

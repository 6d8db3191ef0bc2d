"""MATLAB's bicubic, against an independent slow formula and the reference implementation."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vsr.models.bicubic import Bicubic, imresize, resize_matrix


def _cubic(x: Fraction) -> Fraction:
    d = abs(x)
    if d <= 1:
        return Fraction(3, 2) * d**3 - Fraction(5, 2) * d**2 + 1
    if d <= 2:
        return -Fraction(1, 2) * d**3 + Fraction(5, 2) * d**2 - 4 * d + 2
    return Fraction(0)


def _slow_line(line: list[int], scale: Fraction) -> list[Fraction]:
    """One line of samples, in exact arithmetic, straight from the definition."""
    shrink = min(scale, Fraction(1))
    out = []
    for j in range(math.ceil(len(line) * scale)):
        centre = (j + Fraction(1, 2)) / scale - Fraction(1, 2)
        reach = math.ceil(2 / shrink) + 1
        taps = range(math.floor(centre) - reach, math.floor(centre) + reach + 1)
        weights = [_cubic(shrink * (centre - t)) for t in taps]
        samples = [line[min(max(t, 0), len(line) - 1)] for t in taps]
        total = sum((w * v for w, v in zip(weights, samples, strict=True)), Fraction(0))
        out.append(total / sum(weights, Fraction(0)))
    return out


def _round(value: Fraction) -> int:
    return min(max(math.floor(value + Fraction(1, 2)), 0), 255)


_SCALES = [Fraction(2), Fraction(3), Fraction(4), Fraction(1, 2), Fraction(1, 3), Fraction(1, 4)]


@given(st.sampled_from(_SCALES), st.integers(1, 13), st.integers(1, 13), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_imresize_is_the_definition(scale: Fraction, height: int, width: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    rows = [_slow_line([int(v) for v in column], scale) for column in image.T]
    between = [[_round(v) for v in column] for column in rows]
    expected = [
        [_round(v) for v in _slow_line([column[y] for column in between], scale)]
        for y in range(len(between[0]))
    ]
    np.testing.assert_array_equal(imresize(image, float(scale)), expected)


@given(st.integers(1, 60), st.sampled_from([float(s) for s in _SCALES] + [1.5, 0.7]))
@settings(max_examples=40, deadline=None)
def test_a_constant_stays_constant(size: int, scale: float) -> None:
    np.testing.assert_allclose(resize_matrix(size, scale).sum(1), 1.0, atol=1e-12)


@given(
    st.sampled_from([2, 3, 4]), st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**32 - 1)
)
@settings(max_examples=30, deadline=None)
def test_the_module_is_the_matrix_without_rounding(
    scale: int, height: int, width: int, seed: int
) -> None:
    image = np.random.default_rng(seed).uniform(0, 255, (2, 3, height, width))
    rows = resize_matrix(height, float(scale))
    columns = resize_matrix(width, float(scale))
    expected = rows @ image @ columns.T
    result = Bicubic(scale)(torch.from_numpy(image).float())
    np.testing.assert_allclose(result.numpy(), expected, atol=1e-3)


@pytest.mark.parametrize("scale", [2, 3, 4, 1 / 2, 1 / 3, 1 / 4, 1.5, 0.7])
def test_imresize_equals_the_reference(numpy_benchmark: ModuleType, scale: float) -> None:
    rng = np.random.default_rng(0)
    for shape in ((97, 64, 3), (48, 120), (1, 7, 3)):
        image: NDArray[np.uint8] = rng.integers(0, 256, shape, dtype=np.uint8)
        np.testing.assert_array_equal(
            imresize(image, scale), numpy_benchmark.imresize(image, scale)
        )


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_imresize_makes_the_published_low_resolution_images(reference: Path, scale: int) -> None:
    cv2 = pytest.importorskip("cv2")
    for name in ("baby", "bird", "butterfly", "head", "woman"):
        hr = cv2.imread(str(reference / "Set5" / "HR" / f"{name}.png"))
        lr = cv2.imread(str(reference / "Set5" / f"LR_x{scale}" / f"{name}.png"))
        height, width = (n // scale * scale for n in hr.shape[:2])
        np.testing.assert_array_equal(imresize(hr[:height, :width], 1 / scale), lr)

"""Pictures of other shapes are errors: some were another picture without a word."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from vsr.errors import UsageError
from vsr.media.color import from_rgb, to_rgb
from vsr.types import ChromaSite, Color, ColorRange, Matrix, pixel_format

_HD = Color(matrix=Matrix.BT709, range=ColorRange.LIMITED, site=ChromaSite.LEFT)
_RGB = torch.zeros(2, 3, 4, 6)


@pytest.mark.parametrize(
    "rgb", [_RGB.permute(0, 2, 3, 1), _RGB[0], _RGB[:, :2], _RGB[..., :0], _RGB.numpy()]
)
def test_rgb_of_another_shape_is_an_error(rgb: Any) -> None:
    with pytest.raises(UsageError, match="rgb must be"):
        from_rgb(rgb, None, pixel_format("yuv420p"), _HD)


@pytest.mark.parametrize("alpha", [_RGB, _RGB[0], _RGB[:, :1, :, :2], _RGB[:1, :1]])
def test_alpha_of_another_shape_is_an_error(alpha: torch.Tensor) -> None:
    with pytest.raises(UsageError, match="alpha"):
        from_rgb(_RGB, alpha, pixel_format("yuva420p"), _HD)


def test_planes_of_another_shape_are_an_error() -> None:
    good = from_rgb(_RGB, None, pixel_format("yuv420p"), _HD)
    arrays: Any = [plane.numpy() for plane in good]
    for planes in ([], [good[0], good[1][:1], good[2]], [p[0] for p in good], arrays, good[:2]):
        with pytest.raises(UsageError, match="planes of yuv420p must"):
            to_rgb(planes, pixel_format("yuv420p"), _HD)

"""PNG files: every sample comes back by other readers."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from vsr.errors import InputError, UsageError
from vsr.media.png import decode_png, encode_png

SIZES = [(1, 1), (3, 5), (2, 64), (48, 31)]


@pytest.mark.parametrize("size", SIZES)
def test_8_bit_samples_come_back(size: tuple[int, int]) -> None:
    rgb = torch.randint(256, (3, *size), generator=torch.Generator().manual_seed(1))
    read = Image.open(io.BytesIO(encode_png(rgb.to(torch.uint8))))
    assert (read.mode, read.size) == ("RGB", size[::-1])
    assert np.array_equal(np.asarray(read), rgb.permute(1, 2, 0).numpy())


@pytest.mark.parametrize("size", SIZES)
def test_16_bit_samples_come_back(size: tuple[int, int]) -> None:
    rgb = torch.randint(1 << 16, (3, *size), generator=torch.Generator().manual_seed(2))
    data = np.frombuffer(encode_png(rgb.to(torch.uint16)), np.uint8)
    read = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)[:, :, ::-1]
    assert read.dtype == np.uint16
    assert np.array_equal(read, rgb.permute(1, 2, 0).numpy())


def test_a_view_is_encoded_as_it_looks() -> None:
    whole = torch.arange(3 * 8 * 8, dtype=torch.uint8).reshape(3, 8, 8)
    part = whole[:, 2:5, 1:8:2]
    read = np.asarray(Image.open(io.BytesIO(encode_png(part))))
    assert np.array_equal(read, part.permute(1, 2, 0).numpy())


@pytest.mark.parametrize(
    "rgb",
    [
        torch.zeros(3, 4, 4),
        torch.zeros(1, 4, 4, dtype=torch.uint8),
        torch.zeros(1, 3, 4, 4, dtype=torch.uint8),
        torch.zeros(3, 0, 4, dtype=torch.uint8),
    ],
    ids=lambda x: f"{tuple(x.shape)}-{x.dtype}",
)
def test_what_is_no_picture_is_refused(rgb: torch.Tensor) -> None:
    with pytest.raises(UsageError, match=r"\(3, H, W\) of uint8 or uint16"):
        encode_png(rgb)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
def test_decoding_inverts_encoding(dtype: torch.dtype) -> None:
    top = torch.iinfo(dtype).max + 1
    rgb = torch.randint(top, (3, 7, 9), generator=torch.Generator().manual_seed(3)).to(dtype)
    assert torch.equal(decode_png(encode_png(rgb)), rgb)


def test_other_png_files_become_rgb() -> None:
    data = io.BytesIO()
    Image.fromarray(np.array([[0, 7], [100, 255]], np.uint8)).save(data, "png")
    assert decode_png(data.getvalue()).tolist() == [[[0, 7], [100, 255]]] * 3


@pytest.mark.parametrize("data", [b"", b"no picture", encode_png(torch.zeros(3, 9, 9).byte())[:40]])
def test_what_is_no_png_is_refused(data: bytes) -> None:
    with pytest.raises(InputError, match="cannot decode"):
        decode_png(data)

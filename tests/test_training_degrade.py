"""Compressed LR frames: they really went through the codec, and nothing else moved."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from photos import photo

from vsr.metrics import psnr
from vsr.training.data.degrade import (
    CLIPS,
    FRAMES,
    Recording,
    VideoDegrade,
    draw_recording,
    through_codec,
)
from vsr.types import Matrix

HOW = Recording("x264", 24, "veryfast", Matrix.BT709, 0, 0, (0, 0))


def decibels(a: np.ndarray, b: np.ndarray) -> float:
    pair = (torch.from_numpy(x.copy()).permute(2, 0, 1) for x in (a, b))
    return float(psnr(*pair))


def clip(count: int = 4) -> np.ndarray:
    whole = photo(72, 100, 3)
    return np.stack([whole[:, i : i + 96] for i in range(count)])


@pytest.mark.parametrize("codec", ["x264", "x265"])
def test_as_many_frames_come_out_worse_with_crf(codec: str) -> None:
    frames = clip()
    quality = []
    for crf in (12, 24, 36):
        coded = through_codec(frames, replace(HOW, codec=codec, crf=crf))
        assert coded.shape == frames.shape
        assert coded.dtype == np.uint8
        quality.append(np.mean([decibels(a, b) for a, b in zip(frames, coded, strict=True)]))
    assert quality[0] > quality[1] + 1 > quality[2] + 2
    assert quality[2] > 20
    assert quality[0] < 50  # 4:2:0 and the encoder leave their mark


def test_frames_keep_their_order() -> None:
    frames = clip()
    coded = through_codec(frames, replace(HOW, crf=16))
    for index, frame in enumerate(coded):
        nearness = [decibels(frame, other) for other in frames]
        assert int(np.argmax(nearness)) == index


@pytest.mark.parametrize("matrix", [Matrix.SMPTE170M, Matrix.BT709])
def test_colours_come_back(matrix: Matrix) -> None:
    flat = np.empty((2, 32, 32, 3), np.uint8)
    flat[:] = (180, 60, 120)
    coded = through_codec(flat, replace(HOW, crf=4, matrix=matrix))
    assert np.abs(coded.astype(int) - flat).max() <= 3


def test_clips_are_drawn_from_the_whole_range() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_recording(rng) for _ in range(300)]
    assert {d.codec for d in drawn} == {"x264", "x265"}
    assert {d.matrix for d in drawn} == {Matrix.SMPTE170M, Matrix.BT709}
    crfs = [d.crf for d in drawn if d.codec == "x264"]
    assert (min(crfs), max(crfs)) == (20, 34)
    assert 40 < sum(d.blur > 0 for d in drawn) < 110
    assert 40 < sum(d.noise > 0 for d in drawn) < 110


@pytest.mark.parametrize("size", [(72, 96), (75, 91), (16, 16)])
def test_versions_lie_where_they_say(size: tuple[int, int]) -> None:
    lr = photo(*size, 5)
    for number in range(4):
        versions = VideoDegrade(1)(lr, number)
        assert len(versions) == CLIPS * FRAMES
        for frame, y, x in versions:
            h, w = frame.shape[:2]
            assert h % 2 == w % 2 == 0
            assert h >= size[0] * 9 // 10 - 1
            assert w >= size[1] * 9 // 10 - 1
            assert y + h <= size[0]
            assert x + w <= size[1]
            clean = lr[y : y + h, x : x + w]
            assert 18 < decibels(frame, clean) < 48


def test_a_clip_is_a_function_of_seed_and_number() -> None:
    lr = photo(72, 80, 2)
    first, again, other = VideoDegrade(1)(lr, 3), VideoDegrade(1)(lr, 3), VideoDegrade(2)(lr, 3)
    assert all((a[0] == b[0]).all() for a, b in zip(first, again, strict=True))
    assert not all(
        a[0].shape == b[0].shape and (a[0] == b[0]).all() for a, b in zip(first, other, strict=True)
    )

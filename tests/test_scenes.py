"""The cut detector, on clips whose cuts are known."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipelines.extract import list_scenes
from vsr.media.read.scenes import CutDetector, scenes
from vsr.types import Color, FrameBatch, pixel_format

H, W = 72, 128


def scene(seed: int, frames: int, speed: float = 1.0, noise: float = 2.0) -> NDArray[np.float64]:
    """``(frames, H, W)``, 0..255: a smooth random texture that moves, with grain."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(20, 235, (6, 40))
    rows = np.repeat(np.repeat(coarse, 12, axis=0), 12, axis=1)
    kernel = np.ones(9) / 9
    rows = np.apply_along_axis(lambda r: np.convolve(r, kernel, "same"), 1, rows)
    at = (np.arange(frames) * speed).astype(int) % (rows.shape[1] - W)
    moved = np.stack([rows[:, a : a + W] for a in at])
    return moved + random.normal(0, noise, moved.shape)


def batch(luma: NDArray[np.float64], first: int = 0, fmt: str = "gray") -> FrameBatch:
    bits = pixel_format(fmt).bits
    codes = np.clip(np.round(luma * (((1 << bits) - 1) / 255)), 0, (1 << bits) - 1)
    planes = torch.from_numpy(codes.astype(np.uint8 if bits <= 8 else np.uint16))
    return FrameBatch(
        planes=(planes,),
        format=pixel_format(fmt),
        width=W,
        height=H,
        color=Color(),
        pts=tuple(range(first, first + len(luma))),
        durations=(1,) * len(luma),
        time_base=Fraction(1, 25),
        first_index=first,
    )


def cuts(luma: NDArray[np.float64], fmt: str = "gray", **settings: float) -> list[int]:
    detector = CutDetector(**settings)  # type: ignore[arg-type]
    answers = detector.push(batch(luma, fmt=fmt)) + detector.finish()
    assert len(answers) == len(luma)
    return [index for index, cut in enumerate(answers) if cut]


@pytest.mark.parametrize("fmt", ["gray", "gray10le"])
def test_cuts_are_found_where_they_are(fmt: str) -> None:
    film = np.concatenate([scene(1, 20), scene(2, 9), scene(3, 5), scene(4, 30, speed=3)])
    assert cuts(film, fmt) == [20, 29, 34]
    assert cuts(film, fmt, lookahead=0) == [20, 29, 34]


@pytest.mark.parametrize("length", [10, 25])
def test_a_dissolve_is_no_cut(length: int) -> None:
    a, b = scene(1, 60), scene(2, 60)
    mix = np.clip((np.arange(60) - 20) / length, 0, 1)[:, None, None]
    assert cuts(a * (1 - mix) + b * mix) == []


def test_a_fade_through_black_is_no_cut() -> None:
    a, b = scene(1, 40), scene(2, 40)
    down = np.linspace(1, 0, 40)[:, None, None]
    assert cuts(np.concatenate([a * down, b * down[::-1]])) == []


@pytest.mark.parametrize("length", [1, 2])
def test_a_flash_is_no_cut(length: int) -> None:
    film = scene(1, 40)
    film[20 : 20 + length] = 250
    assert cuts(film) == []
    assert 20 in cuts(film, lookahead=0)


def test_fast_motion_and_grain_are_no_cuts() -> None:
    assert cuts(scene(5, 60, speed=9, noise=12)) == []


def test_a_repeated_frame_before_a_cut_does_not_hide_it() -> None:
    film = np.repeat(np.concatenate([scene(1, 10), scene(2, 10)]), 2, axis=0)
    assert cuts(film) == [20]


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=12), ahead=st.integers(0, 4))
@settings(max_examples=20, deadline=None)
def test_how_frames_are_batched_does_not_matter(sizes: list[int], ahead: int) -> None:
    film = np.concatenate([scene(1, 11), scene(2, 14), scene(3, 8)])
    detector, answers, at, given_early = CutDetector(lookahead=ahead), [], 0, 0
    for size in [*sizes, len(film)]:
        if at < len(film):
            answers += detector.push(batch(film[at : at + size], at))
            at = min(len(film), at + size)
            given_early = len(answers)
            assert given_early == max(0, at - ahead)
    answers += detector.finish()
    assert [i for i, cut in enumerate(answers) if cut] == cuts(film, lookahead=ahead) == [11, 25]


def test_scenes_cover_all_frames() -> None:
    film = np.concatenate([scene(1, 20), scene(2, 30)])
    found = list(scenes(batch(film[i : i + 7], i) for i in range(0, 50, 7)))
    assert [(s.number, s.first, s.stop, s.pts, s.time) for s in found] == [
        (1, 0, 20, 0, Fraction(0)),
        (2, 20, 50, 20, Fraction(20, 25)),
    ]
    assert list(scenes([])) == []
    assert len(list(scenes([batch(film[:1])]))) == 1


def test_real_cuts(reference: Path) -> None:
    """Seen by eye: five cuts in a film of bicycles, none in a shot of an insect."""
    found = list_scenes(reference / "clips" / "bikes_640x272.mp4")
    assert [s.first for s in found] == [0, 30, 76, 137, 187, 242]
    assert len(list(list_scenes(reference / "clips" / "bug_640x360.mp4"))) == 1

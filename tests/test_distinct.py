"""Frames that equal the one before, and batches that do not fit: nothing lost, nothing changed."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vsr.engine.distinct import Border, Distinct, _repeats, _repeats_on_device
from vsr.engine.fitting import Fitting
from vsr.engine.upscaler import Upscaler
from vsr.errors import OutOfMemoryError
from vsr.types import (
    ChromaSite,
    Color,
    ColorRange,
    FrameBatch,
    Matrix,
    SidePacket,
    pixel_format,
)

GRAY = pixel_format("gray")
LIMITED = Color(Matrix.BT709, range=ColorRange.LIMITED, site=ChromaSite.LEFT)


def batch(values: list[int], first: int = 0) -> FrameBatch:
    """Frames of one sample each, with the times ``first``, ``first + 1``, ..."""
    count = len(values)
    plane = torch.tensor(values, dtype=torch.uint8).reshape(count, 1, 1)
    times = tuple(range(first, first + count))
    return FrameBatch((plane,), GRAY, 1, 1, Color(), times, (1,) * count, Fraction(1, 25), first)


class Doubling:
    """Stands for the network: says what it was given, and gives the double."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []

    def __call__(self, frames: FrameBatch) -> FrameBatch:
        self.calls.append(frames.planes[0].flatten().tolist())
        return replace(frames, planes=(frames.planes[0] * 2,), width=2)


def shown(items: list[Any]) -> list[tuple[int, int]]:
    """Time and sample of each frame."""
    return [
        (pts, int(value))
        for item in items
        if isinstance(item, FrameBatch)
        for pts, value in zip(item.pts, item.planes[0].flatten(), strict=True)
    ]


def test_a_repeated_frame_is_inferred_once() -> None:
    network = Doubling()
    distinct = Distinct(network, 2)
    result = list(distinct([batch([5, 5, 5, 6]), batch([6, 7, 5], 4)]))
    assert shown(result) == [(0, 10), (1, 10), (2, 10), (3, 12), (4, 12), (5, 14), (6, 10)]
    # Batches are full although frames repeat, and only neighbours are compared.
    assert network.calls == [[5, 6], [7, 5]]
    assert distinct.repeated == 3
    assert all(len(item) <= 2 for item in result if isinstance(item, FrameBatch))


@given(st.lists(st.sampled_from([0, 1, 512, 513]), min_size=1, max_size=9), st.integers(0, 8))
def test_a_device_finds_the_same_repeats(values: list[int], before: int) -> None:
    """Planes of two sizes and 16 bits; each value is a picture of its two digits."""
    before = min(before, len(values) - 1)
    low, high = (
        torch.tensor([v >> at & 0x1FF for v in values], dtype=torch.int32).to(torch.uint16)
        for at in (0, 9)
    )
    luma = low.view(-1, 1, 1).expand(-1, 4, 6).contiguous()
    luma[:, 3, 5] = high
    planes = (luma, luma[:, ::2, ::2].contiguous())
    whole = replace(batch([0] * len(values)), planes=planes)

    def part(begin: int, end: int) -> FrameBatch:
        return replace(
            whole,
            planes=tuple(plane[begin:end] for plane in whole.planes),
            **{name: getattr(whole, name)[begin:end] for name in ("pts", "durations")},
        )

    last = part(before - 1, before) if before else None
    rest = part(before, len(values))
    found = _repeats(last, rest)
    assert found == _repeats_on_device(last, rest)
    expected = [i > 0 and values[i] == values[i - 1] for i in range(len(values))]
    assert found == expected[before:]
    # A frame of another size is another frame.
    other = replace(rest, planes=tuple(plane[:, :1, :2].contiguous() for plane in rest.planes))
    assert not _repeats_on_device(last, other)[0]


def test_nothing_crosses_a_border() -> None:
    network = Doubling()
    border = Border()
    result = list(Distinct(network, 4)([batch([1, 1]), border, batch([1, 2], 2)]))
    assert network.calls == [[1], [1, 2]]
    assert shown(result) == [(0, 2), (1, 2), (2, 2), (3, 4)]
    assert border.repeated == 1
    assert result[1] is border or result[2] is border


def test_packets_keep_their_place_among_frames() -> None:
    packets = [SidePacket(1, number) for number in range(3)]
    items = [batch([1]), packets[0], batch([2], 1), packets[1], batch([2], 2), packets[2]]
    result = list(Distinct(Doubling(), 4)(items))
    order = [item.packet if isinstance(item, SidePacket) else item.pts[0] for item in result]
    kinds = [isinstance(item, SidePacket) for item in result]
    assert kinds == [False, True, False, True, False, True]
    assert order == [0, 0, 1, 1, 2, 2]


def test_a_still_picture_does_not_pile_up() -> None:
    network = Doubling()
    distinct = Distinct(network, 1)
    given_back = 0
    for item in distinct(batch([9], time) for time in range(1000)):
        assert isinstance(item, FrameBatch)
        assert item.pts[0] == given_back  # each comes out long before the last goes in
        given_back += len(item)
    assert given_back == 1000
    assert network.calls == [[9]]


@given(
    values=st.lists(st.integers(0, 2), min_size=1, max_size=40),
    cuts=st.lists(st.integers(1, 5), min_size=40, max_size=40),
    size=st.integers(1, 5),
)
def test_how_frames_arrive_does_not_matter(values: list[int], cuts: list[int], size: int) -> None:
    whole, pieces = Doubling(), Doubling()
    expected = [(time, 2 * value) for time, value in enumerate(values)]
    assert shown(list(Distinct(whole, size)([batch(values)]))) == expected
    items, at = [], 0
    for cut in cuts:
        if at < len(values):
            items.append(batch(values[at : at + cut], at))
            at += cut
    assert shown(list(Distinct(pieces, size)(items))) == expected
    assert pieces.calls == whole.calls


class Small:
    """Stands for a device: more frames than ``room`` at once are too much."""

    def __init__(self, upscaler: Upscaler, room: int) -> None:
        self._inner: Any = upscaler._backend
        self.room = room
        self.sizes: list[int] = []
        self.device, self.scale = self._inner.device, self._inner.scale

    def __call__(self, rgb: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(rgb))
        if len(rgb) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        result: torch.Tensor = self._inner(rgb)
        return result


def frames(count: int) -> FrameBatch:
    generator = torch.Generator().manual_seed(1)
    planes = tuple(
        torch.randint(0, 256, (count, *size), generator=generator, dtype=torch.uint8)
        for size in ((8, 12), (4, 6), (4, 6))
    )
    times = tuple(range(count))
    fmt = pixel_format("yuv420p")
    return FrameBatch(planes, fmt, 12, 8, LIMITED, times, (1,) * count, Fraction(1, 25))


def test_a_batch_that_does_not_fit_is_halved_and_remembered() -> None:
    source = frames(7)
    wanted = Upscaler(2, "bicubic")(source)
    upscaler = Upscaler(2, "bicubic")
    small = Small(upscaler, 2)
    upscaler._backend = small
    for _ in range(2):
        got = upscaler(source)
        assert got.pts == wanted.pts
        for a, b in zip(got.planes, wanted.planes, strict=True):
            assert torch.equal(a, b)
    # 7 is too much, 3 is, 1 is not: that holds for the rest of the run.
    assert small.sizes == [7, 3] + [1] * 14
    assert len(upscaler.notes) == 1
    assert "out of memory" in upscaler.notes[0].lower()
    rgb = torch.rand(3, 3, 8, 12) * 255
    assert torch.equal(upscaler(rgb), Upscaler(2, "bicubic")(rgb))


def test_a_single_frame_that_does_not_fit_is_an_error() -> None:
    upscaler = Upscaler(2, "bicubic")
    upscaler._backend = Small(upscaler, 0)
    with pytest.raises(OutOfMemoryError, match="smaller scale"):
        upscaler(torch.rand(2, 3, 8, 12))


def test_other_errors_pass() -> None:
    def work(first: int, end: int, side: int | None) -> int:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        list(Fitting("")(4, (1, 1), work))

"""Frames through an encoder and a decoder in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import av.logging
import numpy as np
import pytest
import torch

from tests.synth import picture
from vsr.errors import EncodeError, UsageError
from vsr.media.degrade import encode_decode
from vsr.types import ChromaSite, Color, ColorRange, FrameBatch, Matrix, pixel_format

_LIMITED = Color(matrix=Matrix.BT709, range=ColorRange.LIMITED, site=ChromaSite.LEFT)


def batch(index: int, fmt: str = "yuv420p", size: tuple[int, int] = (64, 48)) -> FrameBatch:
    """Test picture ``index``, at uneven times."""
    form = pixel_format(fmt)
    planes = picture(index, form, *size)
    return FrameBatch(
        planes=tuple(torch.from_numpy(np.ascontiguousarray(p))[None] for p in planes),
        format=form,
        width=size[0],
        height=size[1],
        color=_LIMITED,
        pts=(7 + 3 * index + index % 2,),
        durations=(3,),
        time_base=Fraction(1, 90),
        first_index=index,
    )


def distance(a: FrameBatch, b: FrameBatch) -> float:
    return float((a.planes[0].float() - b.planes[0].float()).abs().mean())


@pytest.mark.parametrize("codec", ["x264", "x265"])
@pytest.mark.parametrize("fmt", ["yuv420p", "yuv420p10le", "yuv444p", "gray"])
def test_every_frame_comes_back_with_its_time(codec: str, fmt: str) -> None:
    sources = [batch(i, fmt) for i in range(10)]
    results = list(encode_decode(iter(sources), codec, crf=10, preset="ultrafast"))
    assert [r.pts for r in results] == [s.pts for s in sources]
    assert [r.durations for r in results] == [s.durations for s in sources]
    assert [r.first_index for r in results] == list(range(10))
    for result, source in zip(results, sources, strict=True):
        assert (result.format, result.color) == (source.format, source.color)
        assert 0 < distance(result, source) < 4 * 2 ** (source.format.bits - 8)


@pytest.mark.parametrize("codec", ["x264", "x265"])
def test_the_encoder_knows_every_option(codec: str, capfd: pytest.CaptureFixture[str]) -> None:
    av.logging.set_level(av.logging.WARNING)
    try:
        with av.logging.Capture() as said:
            assert len(list(encode_decode(iter([batch(0)]), codec, crf=20))) == 1
    finally:
        av.logging.set_level(None)
    assert not [text for _, _, text in said if "nknown option" in text or "rror parsing" in text]
    assert "nknown" not in capfd.readouterr().err  # x265 speaks for itself


@pytest.mark.parametrize("codec", ["x264", "x265"])
def test_odd_sizes_come_back_whole(codec: str) -> None:
    sources = [batch(i, size=(53, 37)) for i in range(4)]
    results = list(encode_decode(iter(sources), codec, crf=1, preset="ultrafast"))
    for result, source in zip(results, sources, strict=True):
        assert [p.shape for p in result.planes] == [p.shape for p in source.planes]
        assert distance(result, source) < 2


def test_a_higher_crf_is_worse_and_the_result_is_reproducible() -> None:
    def run(crf: int) -> list[FrameBatch]:
        return list(encode_decode((batch(i) for i in range(5)), crf=crf, preset="fast"))

    losses = [sum(distance(r, batch(i)) for i, r in enumerate(run(crf))) for crf in (5, 25, 45)]
    assert losses == sorted(losses)
    assert losses[0] < losses[2] / 4
    for a, b in zip(run(28), run(28), strict=True):
        assert all(torch.equal(p, q) for p, q in zip(a.planes, b.planes, strict=True))


def test_frames_come_while_others_still_go_in() -> None:
    taken = 0

    def sources() -> Iterator[FrameBatch]:
        nonlocal taken
        for index in range(200):
            taken += 1
            yield batch(index)

    results = encode_decode(sources(), crf=28, preset="ultrafast")
    next(results)
    assert taken < 100
    assert sum(1 for _ in results) == 199


def test_nothing_in_nothing_out() -> None:
    assert list(encode_decode(iter(()), crf=28)) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"codec": "mpeg2"}, "'mpeg2' to degrade with"),
        ({"crf": 52}, "52 is not in 0..51"),
        ({"preset": "fastest"}, "no preset 'fastest'"),
    ],
)
def test_wrong_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        list(encode_decode(iter([batch(0)]), **{"crf": 28, **settings}))  # type: ignore[arg-type]


def test_a_format_that_the_codec_lacks() -> None:
    with pytest.raises(UsageError, match="x264 does not encode gbrp"):
        list(encode_decode(iter([batch(0, "gbrp")]), crf=28))


def test_frames_of_another_size_in_between() -> None:
    frames = [batch(0), replace(batch(1, size=(32, 32)))]
    with pytest.raises(EncodeError, match="frame 1 is yuv420p 32x32"):
        list(encode_decode(iter(frames), crf=28))

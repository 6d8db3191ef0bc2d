"""DALI's reader: times and packets are the file's, pixels are close to the decoder's."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import synth
import torch
from numpy.typing import NDArray
from reading import Result, request
from synth import make_clip

from vsr.errors import BackendError, DecodeError
from vsr.media.read.gpu import dali
from vsr.media.read.gpu.dali import DaliReader
from vsr.media.read.gpu.upsampled import fold_chroma, planes_from_ycbcr
from vsr.media.read.reader import ReadRequest, open_reader
from vsr.types import Color, ColorRange, PixelFormat, Trim, pixel_format

_TIMES = [100, 140, 180, 181, 260, 300, 333, 380, 420, 470, 500, 520, 600]

needs_dali = pytest.mark.skipif(
    DaliReader.available() is not None, reason=str(DaliReader.available())
)


@pytest.fixture
def muted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Test pictures whose colours all lie inside of RGB, where DALI does not clip them."""
    vivid = synth.picture

    def soft(index: int, fmt: PixelFormat, width: int, height: int) -> list[NDArray[Any]]:
        planes = [p.astype(int) for p in vivid(index, fmt, width, height)]
        return [(128 + (p - 128) // 6).astype(np.uint8) for p in planes]

    monkeypatch.setattr(synth, "picture", soft)


def vp9(path: Path, **options: Any) -> ReadRequest:
    how: dict[str, Any] = {"frames": 13, "pts": _TIMES, "time_base": Fraction(1, 1000)}
    clip = make_clip(path / "a.webm", codec="libvpx-vp9", audio="libopus", **(how | options))
    return request(clip.path, batch=3, side_streams=(1,))


@needs_dali
@pytest.mark.usefixtures("muted")
@pytest.mark.parametrize(
    "trim", [Trim(), Trim(start=300, frames=4), Trim(start=181, end=500), Trim(frames=8)]
)
def test_frames_times_and_packets_are_those_of_the_cpu(tmp_path: Path, trim: Trim) -> None:
    wanted = replace(vp9(tmp_path), trim=trim)
    expected, got = Result(wanted), Result(wanted, "dali")
    assert got.pts == expected.pts
    # What the container states of the last frame, DALI does not pass on.
    assert got.durations[:-1] == expected.durations[:-1]
    assert got.sizes == expected.sizes
    assert [bytes(s.packet) for s in got.side] == [bytes(s.packet) for s in expected.side]
    assert got.stats == expected.stats
    for mine, right in zip(got.frames, expected.frames, strict=True):
        apart = [np.abs(a.astype(int) - b.astype(int)) for a, b in zip(mine, right, strict=True)]
        assert apart[0].max() <= 1
        assert max(plane.max() for plane in apart[1:]) <= 3
        assert max(plane.mean() for plane in apart) < 0.5


@needs_dali
def test_a_frame_that_is_not_where_its_packet_says_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = vp9(tmp_path)
    known = tuple(_TIMES)
    for wrong, said in (
        (known[:5], "more than the 5 frames"),
        ((*known, 640), "13 frames where 14 are announced"),
        ((*known[:6], 310, *known[6:-1]), r"frame 6 at 0.233 s where 0.210 s"),
    ):
        monkeypatch.setattr(dali, "shown_times", lambda *_, w=wrong: (w, Fraction(1, 1000)))
        with pytest.raises(DecodeError, match=said):
            Result(wanted, "dali")


@needs_dali
def test_what_dali_cannot_decode_is_an_error(tmp_path: Path) -> None:
    wanted = vp9(tmp_path)
    data = bytearray(Path(wanted.path).read_bytes())
    # The first packet's place is known; behind its first bytes everything is zero.
    with av.open(wanted.path) as container:
        packet = next(p for p in container.demux(video=0) if p.size)
        at = data.find(bytes(packet)[:64])
        data[at + 8 : at + packet.size] = bytes(packet.size - 8)
    Path(wanted.path).write_bytes(data)
    with pytest.raises(DecodeError, match="DALI"):
        Result(wanted, "dali")


def test_what_it_would_change_it_refuses(tmp_path: Path) -> None:
    wanted = vp9(tmp_path)
    assert DaliReader.problem(wanted) is None

    def refused(device: str = "cpu", **changes: Any) -> str:
        video = replace(wanted.video, **changes)
        return DaliReader.problem(replace(wanted, video=video, device=device)) or ""

    assert "vp8, vp9 on this device, not h264" in refused(codec="h264")
    assert refused("cuda:0", codec="h264") == ""
    assert "8 bits of 10" in refused(format=pixel_format("yuv420p10le"))
    assert "not yuv444p" in refused(format=pixel_format("yuv444p"), native_format="yuv444p")
    assert "full range" in refused(color=Color(range=ColorRange.FULL))
    assert "odd" in refused(height=47)
    assert "deinterlaced" in refused(interlaced=True)
    assert "scale" in (DaliReader.problem(replace(wanted, on_resize="scale")) or "")
    assert "files of this machine" in (DaliReader.problem(replace(wanted, path="http://x/a")) or "")


def test_without_the_package_it_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = vp9(tmp_path)
    monkeypatch.setattr(dali, "find_spec", lambda _: None)
    with pytest.raises(BackendError, match=r"pip install 'fdiwn-vsr\[dali\]"):
        open_reader("dali", wanted)


def enlarged(plane: torch.Tensor) -> torch.Tensor:
    """Twice as large by linear interpolation and rounded, as DALI's GPU kernel does it."""
    wide = plane.float()[None, None]
    large = torch.nn.functional.interpolate(wide, scale_factor=2, mode="bilinear")
    return large[0, 0].add(0.5).floor().to(torch.uint8)


@pytest.mark.parametrize("size", [(2, 2), (6, 4), (180, 320)])
def test_enlarged_chroma_comes_back(size: tuple[int, int]) -> None:
    noise = torch.Generator().manual_seed(1)
    chroma = [torch.randint(16, 241, (size[0] // 2, size[1] // 2), generator=noise,
                            dtype=torch.uint8) for _ in range(2)]  # fmt: skip
    luma = torch.randint(16, 236, size, generator=noise, dtype=torch.uint8)
    given = torch.stack([luma, *map(enlarged, chroma)], dim=-1)
    y, *found = planes_from_ycbcr(given)
    assert torch.equal(y, luma)
    for got, right in zip(found, chroma, strict=True):
        assert got.shape == right.shape
        apart = (got.int() - right.int()).abs()
        assert apart.max() <= 2
        assert apart.float().mean() < 0.5
    assert torch.equal(fold_chroma(torch.full(size, 77, dtype=torch.uint8)),
                       torch.full((size[0] // 2, size[1] // 2), 77, dtype=torch.uint8))  # fmt: skip

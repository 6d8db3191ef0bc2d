"""Chroma siting as files tag it: what is found, and that chroma stays where it is."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from synth import make_clip, video_frame

from pipelines.upscale import upscale
from vsr.cli.entry import run
from vsr.media.probe import probe
from vsr.types import ChromaSite

LEFT, CENTER, TOPLEFT = ChromaSite.UNSPECIFIED, ChromaSite.CENTER, ChromaSite.TOPLEFT
QUIET = "log-level=error"


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize(
    ("codec", "options", "site"),
    [
        ("libx264", {}, LEFT),
        ("libx264", {"x264-params": "chromaloc=0"}, LEFT),
        ("libx264", {"x264-params": "chromaloc=1"}, CENTER),
        ("libx264", {"x264-params": "chromaloc=2"}, TOPLEFT),
        # Bottom left is none of those that are read.
        ("libx264", {"x264-params": "chromaloc=5"}, LEFT),
        ("libx265", {"x265-params": QUIET}, LEFT),
        ("libx265", {"x265-params": f"{QUIET}:chromaloc=1"}, CENTER),
        ("libx265", {"x265-params": f"{QUIET}:chromaloc=2"}, TOPLEFT),
    ],
)
def test_what_the_bitstream_says(
    tmp_path: Path, codec: str, options: dict[str, str], site: ChromaSite, ending: str
) -> None:
    path = tmp_path / f"a.{ending}"
    fast = {"preset": "ultrafast"} if codec == "libx265" else {}
    make_clip(path, codec=codec, options=options | fast)
    assert probe(str(path)).videos[0].color.site is site


@pytest.mark.parametrize(("said", "site"), [("vertical", LEFT), ("colocated", TOPLEFT)])
def test_what_av1_says(
    tmp_path: Path, said: str, site: ChromaSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SVT_LOG", "1")
    path = tmp_path / "a.mp4"
    options = {"preset": "12", "svtav1-params": f"chroma-sample-position={said}"}
    make_clip(path, codec="libsvtav1", width=64, height=64, frames=3, options=options)
    assert probe(str(path)).videos[0].color.site is site


def test_mpeg2s_full_height_chroma_has_no_place_between_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.mpg"
    make_clip(path, codec="mpeg2video", pix_fmt="yuv422p", options={})
    assert probe(str(path)).videos[0].color.site is LEFT


def stripes(path: Path, site: str) -> None:
    """Blue that rises and falls across the picture, sampled in the middle of each block."""
    width, height = 160, 96
    across = np.arange(width)
    blue = 128 + 60 * np.sin(2 * np.pi * across / 32)
    row = np.round((blue[0::2] + blue[1::2]) / 2).astype(np.uint8)
    planes = [
        np.full((height, width), 128, np.uint8),
        np.tile(row, (height // 2, 1)),
        np.full((height // 2, width // 2), 128, np.uint8),
    ]
    with av.open(str(path), "w") as out:
        options = {"crf": "1", "x264-params": f"chromaloc={site}"}
        stream = out.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(3):
            frame = video_frame(planes, "yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def shift(path: Path) -> float:
    """How far to the right of its place blue lies, in pixels of the doubled picture."""
    with av.open(str(path)) as container:
        plane = next(container.decode(video=0)).planes[1]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    blue = rows[plane.height // 2, : plane.width].astype(float) - 128
    # Samples lie on every other pixel (left), whose middles are half a pixel off the source's.
    at = 2 * np.arange(plane.width)
    inner = slice(16, -16)
    wave = np.sum(blue[inner] * np.exp(-2j * np.pi * at[inner] / 64))
    return float((np.angle(wave) + np.pi / 2) / (2 * np.pi) * -64 - 0.5)


def test_centred_chroma_stays_in_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "in.mp4"
    stripes(source, "1")
    assert run(["plan", str(source), "-o", str(tmp_path / "x.mp4"), "--model", "bicubic"]) == 0
    assert "center as tagged" in " ".join(capsys.readouterr().out.split())
    assert run(["info", str(source)]) == 0
    assert "chroma center" in " ".join(capsys.readouterr().out.split())
    off = {}
    for site in (None, ChromaSite.CENTER, ChromaSite.LEFT):
        out = tmp_path / f"{site}.mp4"
        report = upscale(source, out, 2, model="bicubic", quality=1, site=site, strict=True)
        assert report.given_up == ()
        # It is written on the left, where it is looked for if nothing is signalled.
        assert probe(str(out)).videos[0].color.site is LEFT
        off[site] = shift(out)
    assert abs(off[None]) < 0.15
    assert off[None] == off[ChromaSite.CENTER]
    assert abs(off[ChromaSite.LEFT]) > 0.8


def test_a_lossless_copy_of_centred_chroma_says_where_it_lies_as_any_result(
    tmp_path: Path,
) -> None:
    source, out = tmp_path / "in.mp4", tmp_path / "out.mkv"
    stripes(source, "2")
    upscale(source, out, 2, model="bicubic", codec="ffv1", strict=True)
    assert probe(str(source)).videos[0].color.site is TOPLEFT
    assert probe(str(out)).videos[0].color.site is LEFT

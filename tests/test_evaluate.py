"""Clips, pairs of files and their frames' partners: ``pipelines.evaluate``."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from independent import ffmpeg
from synth import make_clip

from pipelines.evaluate import (
    EvalOptions,
    evaluate_clip,
    evaluate_files,
    result_files,
    result_paths,
)
from pipelines.evaluate.pairing import paired
from pipelines.evaluate.stills import StillChooser
from vsr.errors import InputError, OutputError, UsageError
from vsr.media.degrade import Degradation, parse_degradation
from vsr.media.png import decode_png
from vsr.types import Color, ColorRange, Evaluation, FrameBatch, Matrix, pixel_format

BICUBIC = EvalOptions(model="bicubic", device="cpu", metrics=("psnr_y", "ssim_y", "flicker"))
BT601 = Color(matrix=Matrix.SMPTE170M, range=ColorRange.LIMITED)
BT709 = Color(matrix=Matrix.BT709, range=ColorRange.LIMITED)


def column(evaluation: Evaluation, name: str, candidate: int = 0) -> list[float]:
    return [frame.values[name] for frame in evaluation.candidates[candidate].frames]


# Two files


def luma(path: Path, height: int, width: int) -> np.ndarray:
    """Every frame's Y as another ffmpeg decodes it, without conversion."""
    raw = ffmpeg("-i", str(path), "-f", "rawvideo", "-fps_mode", "passthrough", "pipe:1")
    frame = height * width * 3 // 2
    planes = np.frombuffer(raw, np.uint8).reshape(-1, frame)[:, : height * width]
    return planes.reshape(-1, height, width).astype(float)


def test_two_files_by_an_independent_reading(tmp_path: Path) -> None:
    good = make_clip(tmp_path / "good.mkv", frames=6)
    bad = make_clip(tmp_path / "bad.mp4", frames=6, options={"qp": "40"})
    found = evaluate_files(str(good.path), str(bad.path), BICUBIC).evaluation
    a, b = (luma(clip.path, 48, 64) for clip in (good, bad))
    mse = ((a - b) ** 2).mean((1, 2))
    assert column(found, "psnr_y") == pytest.approx(list(10 * np.log10(255**2 / mse)), abs=1e-9)
    summary = found.candidates[0].summary
    assert summary["psnr_y"] == pytest.approx(np.mean(10 * np.log10(255**2 / mse)))
    assert summary["psnr_y_pooled"] == pytest.approx(10 * np.log10(255**2 / mse.mean()))
    error = np.abs(np.diff(b - a, axis=0)).mean((1, 2))
    assert [f.values.get("flicker") for f in found.candidates[0].frames] == [
        None,
        *(pytest.approx(value) for value in error),
    ]
    assert found.kind == "files"
    assert found.time_base == Fraction(1, 1000)
    assert [f.pts for f in found.candidates[0].frames] == [0, 40, 80, 120, 160, 200]
    assert {m.name for m in found.metrics} == set(summary)


def test_identical_files(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", frames=3, codec="ffv1")
    output = tmp_path / "scores"
    with result_files(str(output)) as files:
        found = evaluate_files(str(clip.path), str(clip.path), BICUBIC)
        files.write(found)
    assert column(found.evaluation, "psnr_y") == [math.inf] * 3
    assert found.evaluation.candidates[0].summary["flicker"] == 0
    data = json.loads((tmp_path / "scores.json").read_text(), parse_constant=pytest.fail)
    assert float(data["candidates"][0]["summary"]["psnr_y_pooled"]) == math.inf
    rows = list(csv.DictReader((tmp_path / "scores.csv").read_text().splitlines()))
    assert [row["distorted.psnr_y"] for row in rows] == ["inf"] * 3
    assert [row["seconds"] for row in rows] == ["0.000000", "0.040000", "0.080000"]


def test_depth_is_scaled_and_another_matrix_is_converted(tmp_path: Path) -> None:
    def clip(name: str, pix_fmt: str, color: Color) -> str:
        path = tmp_path / name
        make_clip(path, frames=2, codec="ffv1", pix_fmt=pix_fmt, color=color)
        return str(path)

    eight = clip("8.mkv", "yuv444p", BT709)
    ten = clip("10.mkv", "yuv444p10le", BT709)
    deeper = evaluate_files(eight, ten, BICUBIC).evaluation
    assert min(column(deeper, "psnr_y")) > 53  # 1023 is not 4 * 255
    assert any("8 bits" in note and "10" in note for note in deeper.notes)

    def colorful(name: str, matrix: str, tag: str) -> str:
        path = str(tmp_path / name)
        flags = "flags=accurate_rnd+full_chroma_inp"
        graph = f"format=gbrp,scale=out_color_matrix={matrix}:{flags},format=yuv444p"
        picture = ("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=0.08")
        ffmpeg(*picture, "-vf", graph, "-colorspace", tag, "-c:v", "ffv1", path)
        return path

    hd, sd = colorful("hd.mkv", "bt709", "bt709"), colorful("sd.mkv", "bt601", "smpte170m")
    found = evaluate_files(hd, sd, BICUBIC).evaluation
    assert min(column(found, "psnr_y")) > 45
    assert any("BT.709 limited" in note and "BT.601" in note for note in found.notes)
    # The same codes with another meaning are another picture.
    other = clip("601.mkv", "yuv444p", BT601)
    assert max(column(evaluate_files(eight, other, BICUBIC).evaluation, "psnr_y")) < 40


def refused(reference: Path, distorted: Path, options: EvalOptions = BICUBIC) -> str:
    with pytest.raises(InputError) as caught:
        evaluate_files(str(reference), str(distorted), options)
    return str(caught.value)


def test_frames_without_partners_are_named(tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "whole.mkv", frames=8).path
    short = make_clip(tmp_path / "short.mkv", frames=6).path
    stamps = [0, 40, 80, 160, 200, 240, 280]
    tick = Fraction(1, 1000)
    gap = make_clip(tmp_path / "gap.mkv", frames=7, time_base=tick, pts=stamps).path
    late = [1000 + 40 * i for i in range(8)]
    shifted = make_clip(tmp_path / "late.mkv", frames=8, time_base=tick, pts=late).path

    said = refused(whole, short)
    assert "frame 6 (pts 240, 0.240 s) has no partner" in said
    assert "short.mkv ends after 6 frames" in said
    assert "--frames 6" in said
    assert "whole.mkv ends after 6 frames" not in refused(short, whole)
    said = refused(whole, gap)
    assert "whole.mkv: frame 3 (pts 120, 0.120 s) has no partner in" in said
    assert "(pts 160, 0.160 s)" in said
    assert "--align start" in refused(whole, shifted)

    some = EvalOptions(metrics=("psnr_y",), frames=6, device="cpu")
    found = evaluate_files(str(whole), str(short), some).evaluation
    assert column(found, "psnr_y") == [math.inf] * 6
    aligned = EvalOptions(metrics=("psnr_y",), align="start", device="cpu")
    found = evaluate_files(str(whole), str(shifted), aligned).evaluation
    assert column(found, "psnr_y") == [math.inf] * 8


def test_sizes_that_differ(tmp_path: Path) -> None:
    large = make_clip(tmp_path / "large.mkv", frames=1, width=96, height=64).path
    small = make_clip(tmp_path / "small.mkv", frames=1, width=48, height=32).path
    odd = make_clip(tmp_path / "odd.mkv", frames=1, width=50, height=32).path
    assert "it measures 48x32, and the reference" in refused(large, small)
    assert "exactly 2 times smaller" in refused(large, small)
    assert "same size" in refused(large, odd)


def batches(stamps: list[int], tick: Fraction) -> Iterator[FrameBatch]:
    plane = torch.zeros(1, 2, 2, dtype=torch.uint8)
    for stamp in stamps:
        yield FrameBatch((plane,), pixel_format("gray"), 2, 2, Color(), (stamp,), (1,), tick)


@given(
    times=st.lists(st.integers(0, 10**6), min_size=1, max_size=20, unique=True),
    ticks=st.tuples(st.integers(1, 90000), st.integers(1, 90000)),
    dropped=st.integers(0, 40),
)
def test_pairing_survives_rounding_and_finds_what_is_missing(
    times: list[int], ticks: tuple[int, int], dropped: int
) -> None:
    """Frames 3 ticks of the coarser time base apart, rounded to each file's own time base."""
    bases = [Fraction(1, tick) for tick in ticks]
    # Frames lie on the finer file's ticks; the coarser one rounds them.
    fine, coarse = min(bases), max(bases)
    step = math.ceil(3 * coarse / fine)
    exact = [number * step for number in sorted(times)]
    rounded = [round(stamp * fine / coarse) for stamp in exact]
    names = ("a.mkv", "b.mp4")
    pairs = list(paired(batches(exact, fine), batches(rounded, coarse), names))
    assert [(a.pts[0], b.pts[0]) for a, b in pairs] == list(zip(exact, rounded, strict=True))
    if dropped < len(times):
        del rounded[dropped]
        with pytest.raises(InputError, match=rf"frame {dropped} \(pts {exact[dropped]}, "):
            list(paired(batches(exact, fine), batches(rounded, coarse), names))


# A clip that is made small and enlarged again


def test_a_clip_enlarged_by_bicubic(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", frames=4, width=65, height=49, codec="ffv1")
    found = evaluate_clip(str(clip.path), 3, BICUBIC).evaluation
    assert found.kind == "clip"
    assert [c.name for c in found.candidates] == ["bicubic"]
    assert len(column(found, "psnr_y")) == 4
    assert min(column(found, "psnr_y")) > 10
    assert dict(found.settings)["degradation"] == "bicubic"
    assert len(dict(found.settings)["clip sha256"]) == 64
    assert "video: the clip's own Y" in dict(found.settings)["protocol"]


@pytest.mark.parametrize("protocol", ["video", "matlab"])
@pytest.mark.parametrize("codec", ["x264", "x265"])
def test_compression_costs_quality(tmp_path: Path, protocol: str, codec: str) -> None:
    clip = make_clip(tmp_path / "a.mkv", frames=5, codec="ffv1")
    options = EvalOptions(
        model="bicubic",
        device="cpu",
        metrics=("psnr_y",),
        protocol="video" if protocol == "video" else "matlab",
    )
    clean = evaluate_clip(str(clip.path), 2, options).evaluation
    worse = Degradation(codec, 45, "ultrafast")
    coded = evaluate_clip(str(clip.path), 2, options, degradation=worse).evaluation
    for one, other in zip(column(clean, "psnr_y"), column(coded, "psnr_y"), strict=True):
        assert one > other
    assert dict(coded.settings)["degradation"] == f"video:crf=45,codec={codec},preset=ultrafast"


def test_protocols_give_different_figures_for_the_same_frames(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", frames=1, codec="ffv1", color=BT709)
    found = {
        name: evaluate_clip(
            str(clip.path),
            2,
            EvalOptions(model="bicubic", device="cpu", protocol=name, metrics=("psnr_y",)),  # type: ignore[arg-type]
        ).evaluation
        for name in ("video", "matlab")
    }
    assert dict(found["matlab"].settings)["shave"] == "2 pixels"
    assert dict(found["video"].settings)["shave"] == "0 pixels"
    values = [column(e, "psnr_y")[0] for e in found.values()]
    assert values[0] != pytest.approx(values[1], abs=0.01)


def test_stills_show_source_bicubic_ours_and_truth(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", frames=5, width=32, height=24, codec="ffv1")
    options = EvalOptions(device="cpu", metrics=("psnr_y",), stills=3)
    found = evaluate_clip(str(clip.path), 2, options)
    assert [c.name for c in found.evaluation.candidates] == ["fdiwn", "bicubic"]
    assert len(found.stills) == 3
    for still in found.stills:
        assert [p.name for p in still.pictures] == ["source", "bicubic", "fdiwn", "truth"]
        sizes = [tuple(decode_png(p.png).shape[1:]) for p in still.pictures]
        assert sizes == [(12, 16), (24, 32), (24, 32), (24, 32)]
        assert still.pts == 40 * still.index
    report = tmp_path / "report.html"
    with result_files(str(report), report=str(report)) as files:
        files.write(found)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        *("a.mkv", "report.csv", "report.html", "report.json"),
    ]
    assert "<html" in report.read_text()


@pytest.mark.parametrize("clip", ["nothing.mkv", "tiny.mkv", "rgb.mkv"])
def test_clips_that_cannot_be_evaluated(tmp_path: Path, clip: str) -> None:
    if clip == "tiny.mkv":
        make_clip(tmp_path / clip, frames=1, width=18, height=18, codec="ffv1")
    if clip == "rgb.mkv":
        make_clip(tmp_path / clip, frames=1, codec="ffv1", pix_fmt="gbrp10le")
    kind, message = {
        "nothing.mkv": (InputError, "no such file"),
        "tiny.mkv": (UsageError, "it needs 11 pixels each way, and 8x8 are left"),
        "rgb.mkv": (UsageError, "x264 does not encode gbrp10le"),
    }[clip]
    options = EvalOptions(model="bicubic", device="cpu", protocol="matlab", metrics=("ssim_y",))
    worse = Degradation("x264") if clip == "rgb.mkv" else None
    before = sorted(tmp_path.iterdir())
    with (
        pytest.raises(kind, match=message),
        result_files(str(tmp_path / "out.json")) as files,
    ):
        files.write(evaluate_clip(str(tmp_path / clip), 4, options, degradation=worse))
    assert sorted(tmp_path.iterdir()) == before


def test_results_are_claimed_before_the_work(tmp_path: Path) -> None:
    taken = tmp_path / "scores.csv"
    taken.write_text("mine")
    with pytest.raises(OutputError, match="already exists"), result_files(str(tmp_path / "scores")):
        pytest.fail("the work began")
    assert [p.name for p in tmp_path.iterdir()] == ["scores.csv"]
    assert taken.read_text() == "mine"


def test_a_name_that_is_taken_meanwhile_takes_the_others_along(tmp_path: Path) -> None:
    found = evaluate_clip(
        str(make_clip(tmp_path / "a.mkv", frames=1, width=32, height=24, codec="ffv1").path),
        2,
        EvalOptions(model="bicubic", device="cpu", metrics=("psnr_y",)),
    )
    claimed = result_files(str(tmp_path / "scores"))
    claimed.__enter__().write(found)
    (tmp_path / "scores.csv").write_text("mine")
    with pytest.raises(OutputError, match="already exists"):
        claimed.__exit__(None, None, None)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mkv", "scores.csv"]
    assert (tmp_path / "scores.csv").read_text() == "mine"


@pytest.mark.parametrize("name", ["a.b", "a.b.json", "a.b.csv", "a.b.html"])
def test_names_of_results(name: str) -> None:
    assert result_paths(f"x/{name}") == (Path("x/a.b.json"), Path("x/a.b.csv"))


def test_degradations_as_text() -> None:
    assert parse_degradation("bicubic") == Degradation()
    assert parse_degradation("video") == Degradation("x264", 28, "medium")
    full = Degradation("x265", 33, "fast")
    assert parse_degradation("video:crf=33,codec=x265,preset=fast") == full
    assert parse_degradation(str(full)) == full
    for wrong in ("gauss", "video:crf=high", "video:gop=3", "video:codec=mpeg2", "video:crf=99"):
        with pytest.raises(UsageError):
            parse_degradation(wrong)


# Which frames are kept as pictures


@given(
    scores=st.lists(st.floats(0, 100), min_size=1, max_size=300),
    count=st.integers(0, 10),
)
def test_stills_are_bounded_and_hold_the_extremes(scores: list[float], count: int) -> None:
    made = 0

    def pictures() -> tuple[()]:
        nonlocal made
        made += 1
        return ()

    chooser = StillChooser(count)
    for index, score in enumerate(scores):
        chooser.consider(index, index, "", score, pictures)
        assert len(chooser._worst) + len(chooser._best) + len(chooser._spread) <= 6 * count
    chosen = [still.index for still in chooser.chosen()]
    assert chosen == sorted(set(chosen))
    assert len(chosen) <= count
    assert (made == 0) == (count == 0)
    if count:
        assert min(scores) in [scores[i] for i in chosen]
    if count > 1:
        assert max(scores) in [scores[i] for i in chosen]
    if count > 3 and len(scores) >= 4 * count:
        assert len(chosen) >= count - 2

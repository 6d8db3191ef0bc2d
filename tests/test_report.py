"""Reports without a browser: files, figures, worst frames, sizes, and what is refused."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import re
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from report_factory import OURS, evaluation, flat, stills

from pipelines.report import (
    csv_text,
    json_text,
    pictures,
    render_page,
    worst_frames,
    write_all,
    write_csv,
    write_json,
    write_report,
)
from vsr.errors import OutputError, UsageError, VsrError
from vsr.media.png import decode_png, encode_png
from vsr.types.evaluation import Candidate, Evaluation, FrameScore, MetricInfo
from vsr.types.stills import Picture, Still
from vsr.types.text import figure_text


def embedded(page: str) -> list[list[bytes]]:
    """The PNG files of each still."""
    found = re.findall(r'<script type="application/json" id="still-\d+">(.*?)</script>', page)
    return [[base64.b64decode(text) for text in json.loads(still)] for still in found]


def scored(values: list[float], **metric: Any) -> Evaluation:
    info = MetricInfo(name="m", label="M", **metric)
    frames = tuple(
        FrameScore(index=i, pts=i, values={"m": value}) for i, value in enumerate(values)
    )
    one = Candidate(name="a", label="A", summary={}, frames=frames)
    return evaluation(metrics=(info,), candidates=(one,))


def test_three_files_under_one_name(tmp_path: Path) -> None:
    paths = write_all(tmp_path / "run.html", evaluation(), stills())
    assert [path.name for path in paths] == ["run.html", "run.csv", "run.json"]
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert paths[0].read_text(encoding="utf-8").startswith("<!doctype html>")
    assert paths[1].read_text(encoding="utf-8") == csv_text(evaluation()).replace("\r\n", "\n")
    assert json.loads(paths[2].read_text(encoding="utf-8"))["title"] == "city.mp4"


def test_csv_has_every_value_as_measured() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(evaluation()), newline="")))
    assert list(rows[0]) == [
        *("index", "pts", "seconds", "label"),
        *("fdiwn.psnr_y", "fdiwn.ssim_y", "bicubic.psnr_y", "bicubic.ssim_y"),
    ]
    assert [float(row["fdiwn.psnr_y"]) for row in rows] == list(OURS)
    assert rows[7]["bicubic.psnr_y"] == "inf"
    assert (rows[3]["index"], rows[3]["pts"], rows[3]["seconds"]) == ("3", "28", "1.120000")


def test_csv_without_frames_is_the_summary() -> None:
    base = evaluation()
    bare = replace(base, candidates=tuple(replace(c, frames=()) for c in base.candidates))
    rows = list(csv.DictReader(io.StringIO(csv_text(bare), newline="")))
    assert [row["name"] for row in rows] == ["fdiwn", "bicubic"]
    assert float(rows[0]["psnr_y"]) == 31.0972


def test_json_has_no_number_that_json_does_not_know() -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    read = json.loads(json_text(evaluation()), parse_constant=refuse)
    assert read["time_base"] == "1/25"
    values = [frame["values"]["psnr_y"] for frame in read["candidates"][0]["frames"]]
    assert values[7] == "Infinity"
    assert [float(value) for value in values] == list(OURS)


@given(st.floats(allow_nan=False, allow_infinity=False, width=32), st.integers(0, 6))
def test_figures_round_to_the_nearest(value: float, decimals: int) -> None:
    shown = Fraction(figure_text(value, decimals).replace("−", "-"))
    assert abs(shown - Fraction(value)) <= Fraction(1, 2 * 10**decimals)


def test_figures_of_what_is_no_number() -> None:
    assert [figure_text(v, 2) for v in (math.inf, -math.inf, math.nan)] == ["∞", "−∞", "n/a"]
    assert [figure_text(v, 1) for v in (-0.01, -0.05, 0.25, 1e22)] == [
        *("0.0", "−0.1", "0.3", "10000000000000000000000.0"),
    ]


def test_worst_frames() -> None:
    assert worst_frames(evaluation()) == (3, 6, 9, 5, 1)
    assert worst_frames(scored([5.0, 1.0, 3.0], higher_is_better=False), 2) == (0, 2)
    assert worst_frames(scored([5.0, 1.0], higher_is_better=None)) == ()
    assert worst_frames(scored([math.inf, math.nan, math.inf])) == ()


def test_a_first_frame_without_a_value_hides_nothing() -> None:
    whole = scored([math.nan, 2.0, 5.0, 1.0], higher_is_better=False)
    ours = whole.candidates[0]
    frames = (replace(ours.frames[0], values={}), *ours.frames[1:])
    flicker = replace(whole, candidates=(replace(ours, frames=frames),))
    assert worst_frames(flicker, 2) == (2, 1)
    page = render_page(flicker, [])
    for section in ("course", "every"):
        (tag,) = re.findall(rf'<section id="{section}"[^>]*>', page)
        assert "hidden" not in tag


@given(st.lists(st.floats(allow_nan=True), max_size=80), st.integers(1, 8))
def test_worst_frames_are_apart_and_none_left_out_is_worse(values: list[float], count: int) -> None:
    found = worst_frames(scored(values), count)
    apart = max(1, len(values) // 20)
    assert len(found) <= count
    assert all(abs(a - b) >= apart for a in found for b in found if a != b)
    assert [values[i] for i in found] == sorted(values[i] for i in found)
    left = [
        i
        for i, value in enumerate(values)
        if math.isfinite(value) and all(abs(i - j) >= apart for j in found)
    ]
    if len(found) < count:
        assert not left
    else:
        assert all(values[i] >= values[found[-1]] for i in left)


def test_pictures_are_in_the_page_byte_for_byte() -> None:
    made = stills()
    assert embedded(render_page(evaluation(), made[::-1])) == [
        [picture.png for picture in still.pictures] for still in made
    ]


def test_large_pictures_are_cut_alike_and_the_page_says_so() -> None:
    noise = torch.randint(256, (3, 1100, 2000), generator=torch.Generator().manual_seed(5)).byte()
    small = noise[:, ::2, ::2].contiguous()
    pair = (
        Picture("source", "Source", encode_png(small)),
        Picture("fdiwn", "FDIWN", encode_png(noise)),
    )
    page = render_page(evaluation(), [Still(3, 28, "", pair)])
    (shown,) = embedded(page)
    source, large = (decode_png(png) for png in shown)
    assert torch.equal(large, noise[:, 10:1090, 40:1960])
    assert torch.equal(source, small[:, 5:545, 20:980])
    assert "Pictures of up to 2000x1100" in page
    assert "it shows the middle of them, 1920x1080 at most" in page


def test_page_stays_within_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "_MOST_BYTES", 3_000_000)
    noise = torch.randint(256, (3, 640, 360), generator=torch.Generator().manual_seed(6)).byte()
    png = encode_png(noise)
    many = [Still(i, 25 + i, "", (Picture("fdiwn", "FDIWN", png),)) for i in range(8)]
    page = render_page(evaluation(), many)
    shown = [decode_png(still[0]) for still in embedded(page)]
    assert [tuple(picture.shape) for picture in shown] == [(3, 320, 180)] * 8
    assert torch.equal(shown[0], noise[:, 160:480, 90:270])


def test_too_many_stills_keep_the_worst_and_say_so() -> None:
    worst = scored([50.0 - (i == 77) for i in range(100)])
    png = flat((1, 2, 3), 8, 8)
    many = [Still(i, i, "", (Picture("a", "A", png),)) for i in range(100)]
    page = render_page(worst, many)
    data = json.loads(re.findall(r'id="data">(.*?)</script>', page)[0])
    kept = [still["index"] for still in data["stills"]]
    assert len(kept) == 24
    assert 77 in kept
    assert max(b - a for a, b in pairwise(kept)) <= 10
    assert "Of 100 frames with pictures, 24 are on this page." in page


def test_policy_allows_the_pages_own_scripts_and_nothing_else() -> None:
    page = render_page(evaluation(), stills())
    policy = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)[0]
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert "unsafe" not in policy
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "http:" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https:" not in page


BASE = evaluation()
FIRST, SECOND = BASE.candidates


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (replace(BASE, candidates=()), "without candidates"),
        (replace(BASE, candidates=(FIRST, FIRST)), "two candidates are called 'fdiwn'"),
        (
            replace(BASE, candidates=(FIRST, replace(SECOND, frames=SECOND.frames[:-1]))),
            "fdiwn has scores for 10 frames, bicubic for 9",
        ),
        (
            replace(
                BASE,
                candidates=(
                    FIRST,
                    replace(
                        SECOND,
                        frames=(*SECOND.frames[:-1], replace(SECOND.frames[-1], pts=99)),
                    ),
                ),
            ),
            "not scored on the same frames: frame 9 (34) faces frame 9 (99)",
        ),
        (replace(BASE, candidates=(replace(FIRST, frames=()), SECOND)), "fdiwn has none"),
        (replace(BASE, time_base=None), "no time base"),
    ],
)
def test_evaluations_that_contradict_themselves(
    changed: Evaluation, message: str, tmp_path: Path
) -> None:
    for write in (write_csv, write_json):
        with pytest.raises(UsageError, match=re.escape(message)):
            write(tmp_path / "out", changed)
    with pytest.raises(UsageError, match=re.escape(message)):
        write_report(tmp_path / "out", changed, [])
    with pytest.raises(UsageError, match=re.escape(message)):
        write_all(tmp_path / "out.html", changed, [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([Still(0, 25, "", ())], "frame 0 has no picture"),
        ([stills([3])[0], stills([3])[0]], "two stills are called 3"),
        (
            [Still(0, 25, "", (Picture("a", "A", flat((0, 0, 0), 8, 8)),) * 2)],
            "two pictures of frame 0 are called 'a'",
        ),
        ([Still(0, 25, "", (Picture("a", "A", b"GIF89a"),))], "a is not a PNG file"),
        (
            [
                Still(
                    0,
                    25,
                    "",
                    (
                        Picture("a", "A", flat((0, 0, 0), 80, 80)),
                        Picture("b", "B", flat((0, 0, 0), 80, 60)),
                    ),
                )
            ],
            "have different shapes: b measures 80x60, another 80x80",
        ),
    ],
)
def test_pictures_that_do_not_fit(bad: list[Still], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        write_report(tmp_path / "out.html", evaluation(), bad)
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_there_stay_unless_told(tmp_path: Path) -> None:
    (tmp_path / "run.csv").write_text("mine")
    with pytest.raises(OutputError, match="already exists"):
        write_all(tmp_path / "run.html", evaluation(), stills())
    assert [path.name for path in tmp_path.iterdir()] == ["run.csv"]
    assert (tmp_path / "run.csv").read_text() == "mine"
    write_all(tmp_path / "run.html", evaluation(), stills(), overwrite=True)
    assert len(list(tmp_path.iterdir())) == 3
    with pytest.raises(VsrError, match="does not exist"):
        write_report(tmp_path / "nowhere" / "run.html", evaluation(), [])
    with pytest.raises(UsageError, match="CSV and JSON"):
        write_all(tmp_path / "run.json", evaluation(), [])

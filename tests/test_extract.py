"""Extracting: the frames asked for and no others, in every kind of file, with their timestamps."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from independent import decode_frames, ffmpeg
from reading import Result, request
from synth import Clip, make_clip

import pipelines.extract.job as job_module
from pipelines.extract import ExtractReport, extract
from pipelines.extract.check import check_extract
from vsr.cli.entry import run
from vsr.errors import InputError, OutputError, UsageError, VerifyError
from vsr.media.probe import probe
from vsr.types import Color, ColorRange, Matrix, Primaries, Transfer

FRAMES = 60
REORDERED = {"g": "12", "bf": "3", "b_strategy": "0", "preset": "medium"}
OPEN = {**REORDERED, "x264-params": "open-gop=1"}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Clip]:
    folder = tmp_path_factory.mktemp("clips")
    uneven = [3 * i + (i % 3) for i in range(FRAMES)]
    tick = Fraction(1, 90)
    made = {
        "opengop": make_clip(folder / "o.mp4", frames=FRAMES, options=OPEN, audio="aac"),
        "vfr": make_clip(
            folder / "v.mkv",
            frames=FRAMES,
            options=REORDERED,
            pts=uneven,
            time_base=tick,
        ),
        "vfr_mp4": make_clip(
            folder / "w.mp4", frames=FRAMES, options=OPEN, pts=uneven, time_base=tick
        ),
        "ts": make_clip(folder / "a.ts", frames=FRAMES, options=OPEN),
        "mpg": make_clip(
            folder / "a.mpg",
            frames=FRAMES,
            codec="mpeg2video",
            options={"g": "12", "bf": "2", "b": "2M"},
        ),
        "avi": make_clip(
            folder / "a.avi", frames=FRAMES, options={"g": "12", "bf": "0", "preset": "medium"}
        ),
        "avi_b": make_clip(
            folder / "b.avi", frames=FRAMES, codec="mpeg4", options={"g": "12", "bf": "2"}
        ),
        "offset": make_clip(folder / "f.mov", frames=FRAMES, pts=[i + 500 for i in range(FRAMES)]),
    }
    # FFmpeg cuts at 0.3 s without decoding: an edit list hides the frames before.
    cut = folder / "edit.mp4"
    ffmpeg("-ss", "0.3", "-i", str(made["opengop"].path), "-c", "copy", "-map", "0:v", str(cut))
    made["edit_list"] = Clip(cut, 64, 48, made["opengop"].format, ())
    return made


KINDS = ["opengop", "vfr", "vfr_mp4", "ts", "mpg", "avi", "avi_b", "offset", "edit_list"]


def sha(planes: list[Any]) -> str:
    return hashlib.sha256(b"".join(p.tobytes() for p in planes)).hexdigest()


@pytest.mark.parametrize("kind", KINDS)
def test_frames_are_those_of_a_full_decode(
    clips: dict[str, Clip], kind: str, tmp_path: Path
) -> None:
    path = clips[kind].path
    whole = Result(request(path))
    hashes, tick = [sha(frame) for frame in whole.frames], probe(str(path)).videos[0].time_base
    total = len(hashes)
    if kind == "edit_list":
        assert total < FRAMES
    else:
        assert total == FRAMES
    # The same hashes from a decoder that is not ours.
    assert independent_hashes(path) == hashes
    for first, stop in ((0, 5), (1, 3), (13, 21), (total - 4, total)):
        start = (whole.pts[first] - whole.pts[0]) * tick
        for name, wanted in (
            ("range", {"first": first, "stop": stop}),
            ("time", {"start": start, "frames": stop - first}),
        ):
            report = extract(path, tmp_path / f"{name}{first}.mkv", **wanted)
            assert [f.index for f in report.frames] == list(range(first, stop))
            assert [f.pts for f in report.frames] == whole.pts[first:stop]
            assert [f.sha256 for f in report.frames] == hashes[first:stop]
            assert report.found_by == ("decoding" if kind.startswith("avi") else "packets")
    clip = tmp_path / "range13.mkv"
    assert independent_hashes(clip) == hashes[13:21]
    expected = [(pts - whole.pts[13]) * tick for pts in whole.pts[13:21]]
    found = decode_frames(clip).times
    assert all(abs(a - b) <= Fraction(1, 2000) for a, b in zip(found, expected, strict=True))
    assert check_extract(clip).source is not None


def independent_hashes(path: Path) -> list[str]:
    text = ffmpeg(
        *("-i", str(path), "-map", "0:v:0", "-fps_mode", "passthrough"),
        *("-f", "framehash", "-hash", "sha256", "-"),
    ).decode()
    return [line.split(",")[-1].strip() for line in text.splitlines() if not line.startswith("#")]


def test_mp4_keeps_every_tick(clips: dict[str, Clip], tmp_path: Path) -> None:
    report = extract(clips["vfr_mp4"].path, tmp_path / "c.mp4", first=10, stop=30)
    found = decode_frames(tmp_path / "c.mp4").times
    assert found == tuple(f.clip_pts * report.time_base for f in report.frames)
    assert len({b - a for a, b in pairwise(found)}) > 1


@pytest.mark.parametrize("name", ["c.mkv", "c.mp4"])
@pytest.mark.parametrize("fmt", ["yuv420p10le", "yuv444p", "gbrp10le", "gray"])
def test_what_samples_mean_survives(name: str, fmt: str, tmp_path: Path) -> None:
    rgb = fmt.startswith("gbrp")
    color = Color(
        Matrix.RGB if rgb else Matrix.BT2020_NCL,
        Primaries.BT2020,
        Transfer.PQ,
        ColorRange.FULL if rgb else ColorRange.LIMITED,
    )
    clip = make_clip(
        tmp_path / "in.mkv",
        codec="ffv1",
        pix_fmt=fmt,
        frames=6,
        color=color,
        width=67,
        height=45,
    )
    extract(clip.path, tmp_path / name, first=2, stop=5)
    before, after = probe(str(clip.path)).videos[0], probe(str(tmp_path / name)).videos[0]
    assert (after.format, after.color) == (before.format, before.color)
    result = Result(request(tmp_path / name))
    assert [sha(f) for f in result.frames] == [sha(clip.picture(i)) for i in (2, 3, 4)]


def test_turned_pictures_stay_turned(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=3, rotation=90, sar=Fraction(4, 3))
    before = probe(str(clip.path)).videos[0]
    lost = extract(clip.path, tmp_path / "c.mkv", first=1).given_up
    assert "Pixel aspect ratio: 4/3 became 1 in .mkv; .mp4 keeps it." in lost
    kept = extract(clip.path, first=1)
    assert kept.destination == str(tmp_path / "in_clip.mp4")
    assert not [s for s in kept.given_up if "ratio" in s or "matrix" in s]
    for name in ("c.mkv", "in_clip.mp4"):
        after = probe(str(tmp_path / name)).videos[0]
        assert after.display_matrix == before.display_matrix
    assert after.sar == Fraction(4, 3)


@pytest.mark.parametrize("depth", [8, 10])
def test_pictures(depth: int, tmp_path: Path) -> None:
    """Grey of 8 bits comes back exactly, RGB of 10 bits to within rounding to 16."""
    source, fmt = tmp_path / "in.mkv", "gray" if depth == 8 else "gbrp10le"
    full = Color(range=ColorRange.FULL)
    clip = make_clip(source, codec="ffv1", pix_fmt=fmt, frames=5, width=33, height=21, color=full)
    report = extract(source, f"{tmp_path}/out/", first=1, stop=4)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        *("000001.png", "000002.png", "000003.png"),
        "manifest.json",
    ]
    for frame in report.frames:
        data = (tmp_path / "out" / str(frame.file)).read_bytes()
        assert hashlib.sha256(data).hexdigest() == frame.file_sha256
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        planes = clip.picture(frame.index)
        if depth == 8:
            assert image.dtype == np.uint8
            assert all(np.array_equal(image[..., c], planes[0]) for c in range(3))
        else:
            assert image.dtype == np.uint16
            want = np.stack([planes[1], planes[0], planes[2]], -1) * (65535 / 1023)  # B, G, R
            assert np.abs(image - want).max() <= 0.5 + 1e-2
    assert check_extract(tmp_path / "out").frames == 3
    (tmp_path / "out" / "000002.png").write_bytes(b"other")
    with pytest.raises(VerifyError, match=r"000002\.png of frame 2 is not the one"):
        check_extract(tmp_path / "out")


def test_pictures_by_pattern(clips: dict[str, Clip], tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("mine")
    extract(clips["opengop"].path, tmp_path / "f_%03d.png", first=7, stop=9)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        *("f.json", "f_007.png", "f_008.png", "other.txt")
    ]
    assert check_extract(tmp_path / "f.json").frames == 2
    with pytest.raises(OutputError, match=r"f\.json already exists"):
        extract(clips["opengop"].path, tmp_path / "f_%03d.png", first=8, stop=10)
    extract(clips["opengop"].path, tmp_path / "f_%03d.png", first=8, stop=10, overwrite=True)
    assert check_extract(tmp_path / "f.json").frames == 2


def test_a_folder_with_other_things_in_it_is_left_alone(
    clips: dict[str, Clip], tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"other files in it, such as mine\.txt"):
        extract(clips["opengop"].path, tmp_path, first=0, stop=2, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def small(clips: dict[str, Clip], folder: Path) -> tuple[Path, ExtractReport]:
    source = folder / "in.mp4"
    shutil.copy(clips["opengop"].path, source)
    return source, extract(source, folder / "c.mkv", first=20, stop=26)


def test_check_names_the_first_frame_that_differs(clips: dict[str, Clip], tmp_path: Path) -> None:
    source, _ = small(clips, tmp_path)
    path = tmp_path / "c.mkv.json"
    good = json.loads(path.read_text())
    bad = json.loads(path.read_text())
    for at in (3, 4):
        bad["frames"][at]["sha256"] = "0" * 64
    path.write_text(json.dumps(bad))
    with pytest.raises(VerifyError, match="frame 23 differs") as caught:
        check_extract(path)
    assert caught.value.where == str(tmp_path / "c.mkv")
    path.write_text(json.dumps(good))
    # Another video in the source's place.
    make_clip(source, frames=FRAMES, options={"g": "5"}, pts=[i * 2 for i in range(FRAMES)])
    with pytest.raises(VerifyError) as caught:
        check_extract(path)
    assert caught.value.where == str(source)
    make_clip(source, frames=9)
    with pytest.raises(VerifyError, match="frames 20 to 25 are not in it"):
        check_extract(path)
    # The same frames in another file are good, which is said.
    ffmpeg("-y", "-i", str(clips["opengop"].path), "-c", "copy", "-an", str(source))
    assert "is not the one that was extracted from" in check_extract(path).notes[0]
    source.unlink()
    report = check_extract(tmp_path / "c.mkv")
    assert report.source is None
    assert "was not looked at" in report.notes[0]
    assert check_extract(path, source=clips["opengop"].path).source is not None
    # A clip that lacks its last frame.
    extract(clips["opengop"].path, tmp_path / "d.mkv", first=20, stop=25)
    shutil.copy(tmp_path / "d.mkv", tmp_path / "c.mkv")
    with pytest.raises(VerifyError, match="5 frames instead of 6: frame 25 is the first"):
        check_extract(path)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda d: d.pop("frames"), "'frames' is missing"),
        (lambda d: d.update(manifest="else"), "no manifest of vsr extract"),
        (lambda d: d.update(version=9), "has version 9"),
        (lambda d: d.update(frames=[]), "lists no frames"),
        (lambda d: d.update(time_base="1/0"), "malformed"),
    ],
)
def test_a_malformed_manifest(
    clips: dict[str, Clip], tmp_path: Path, change: Any, why: str
) -> None:
    small(clips, tmp_path)
    path = tmp_path / "c.mkv.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match=why):
        check_extract(path)


@pytest.mark.parametrize(
    ("wanted", "kind", "why"),
    [
        (
            {"first": 58, "stop": 63},
            InputError,
            "so there is none with the index 62",
        ),
        ({"first": 90}, InputError, "begins behind the last frame: the video has 60 frames"),
        ({"start": Fraction(100)}, InputError, "behind the last frame"),
        ({"start": Fraction(2), "frames": 30}, InputError, "only 10 of the 30 frames"),
        ({"first": 5, "stop": 5}, UsageError, "ends at 5, where it begins"),
        ({"first": 5, "start": Fraction(1)}, UsageError, "exclude each other"),
        ({"first": 5, "stop": 7, "frames": 1}, UsageError, "exclude each other"),
        ({"scene": 7}, InputError, "there is no scene 7"),
    ],
)
@pytest.mark.parametrize("source", ["opengop", "avi"])
def test_what_is_not_there_leaves_nothing_behind(
    clips: dict[str, Clip],
    tmp_path: Path,
    source: str,
    wanted: dict[str, Any],
    kind: type[Exception],
    why: str,
) -> None:
    for name in ("c.mkv", "pics/"):
        with pytest.raises(kind, match=re.escape(why)):
            extract(clips[source].path, f"{tmp_path}/{name}", **wanted)
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_taken_is_left_alone(clips: dict[str, Clip], tmp_path: Path) -> None:
    for name in ("c.mkv", "c.mkv.json"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(OutputError, match="already exists"):
            extract(clips["opengop"].path, tmp_path / "c.mkv", first=0, stop=2)
        assert [p.read_text() for p in tmp_path.iterdir()] == ["mine"]
        (tmp_path / name).unlink()
    with pytest.raises(OutputError, match=r"'\.webm' cannot hold lossless FFV1"):
        extract(clips["opengop"].path, tmp_path / "c.webm", first=0, stop=2)
    with pytest.raises(UsageError, match="no place for the frame's index"):
        extract(clips["opengop"].path, tmp_path / "c.png", first=0, stop=2)


@pytest.mark.parametrize("name", ["c.mkv", "pics/", "p_%d.png"])
def test_stopped_in_the_middle(
    clips: dict[str, Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(job_module, "file_sha256", stop)
    with pytest.raises(KeyboardInterrupt):
        extract(clips["opengop"].path, f"{tmp_path}/{name}", first=0, stop=4)
    assert list(tmp_path.iterdir()) == []


def test_a_clip_that_came_out_wrong_gets_no_name(
    clips: dict[str, Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = job_module.frame_batches

    def other(*arguments: Any) -> Any:
        for batch in real(*arguments):
            batch.planes[0][-1, 0, 0] ^= 1
            yield batch

    monkeypatch.setattr(job_module, "frame_batches", other)
    with pytest.raises(VerifyError, match="frame 3 of the source is not the same"):
        extract(clips["opengop"].path, tmp_path / "c.mkv", first=3, stop=4)
    assert list(tmp_path.iterdir()) == []


def test_command_line(
    clips: dict[str, Clip], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, clip = str(clips["opengop"].path), str(tmp_path / "c.mkv")
    assert run(["extract", source, "--start", "0.5", "--frames", "3", "-o", clip, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)["report"]
    assert [f["index"] for f in report["frames"]] == [13, 14, 15]
    assert run(["extract", source, "--range", "13:16", "-o", clip, "-y"]) == 0
    out = capsys.readouterr().out
    assert "13 to 15, read off the packets" in out
    assert "pictures only" in out
    assert run(["extract", "--check", clip]) == 0
    assert "all 3 frames are as the manifest says" in capsys.readouterr().out
    manifest = tmp_path / "c.mkv.json"
    manifest.write_text(
        manifest.read_text().replace('"index": 14, "pts": ', '"index": 14, "pts": 1')
    )
    assert run(["extract", "--check", clip]) == 5
    assert "frame 14 is at" in capsys.readouterr().err
    assert run(["extract", source, "--list-scenes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scenes"][0]["first"] == 0
    for wrong in (["--range", "5"], ["--range", "5:5"], ["--check", "--frames", "3"]):
        assert run(["extract", source, *wrong]) == 2

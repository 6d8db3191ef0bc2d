"""``vsr compare``: which frames, which pixels, and what is refused."""

from __future__ import annotations

import json
import re
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from browser import console_errors, open_file, requested
from independent import ffmpeg
from numpy.typing import NDArray
from PIL import Image
from synth import Clip, make_clip

from pipelines.compare import compare
from vsr.cli.entry import run
from vsr.errors import DependencyError, InputError, OutputError, UsageError, VsrError
from vsr.media.probe import probe
from vsr.media.view.picture import read_picture, upright
from vsr.media.view.strip import make_strip
from vsr.models.bicubic import imresize, resize

Captured = pytest.CaptureFixture[str]
GAP, LINE = 8, 24  # of a strip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compare")


@pytest.fixture(scope="module")
def small(folder: Path) -> Clip:
    """Twelve frames at 25 fps, in RGB without loss."""
    return make_clip(folder / "small.mkv", width=32, height=24, codec="libx265", pix_fmt="gbrp")


@pytest.fixture(scope="module")
def large(folder: Path) -> Clip:
    return make_clip(folder / "large.mkv", width=64, height=48, codec="libx265", pix_fmt="gbrp")


def rgb(clip: Clip, index: int) -> NDArray[np.uint8]:
    green, blue, red = clip.picture(index)
    return np.stack([red, green, blue], -1)


def read(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path).convert("RGB"))


def test_strip_has_the_files_pixels(small: Clip, large: Clip, tmp_path: Path) -> None:
    result = tmp_path / "strip.png"
    done = compare(
        [str(small.path), str(large.path)],
        still=str(result),
        at=(Fraction(1, 25), Fraction("0.439")),
        enlarge="nearest",
        labels=False,
    )
    assert done.frames == (1, 10)
    assert done.times == (Fraction(1, 25), Fraction(10, 25))
    assert done.page is None
    strip = read(result)
    assert strip.shape == (2 * 48 + 3 * GAP, 2 * 64 + 3 * GAP, 3)
    for row, index in enumerate(done.frames):
        top = GAP + row * (48 + GAP)
        left = strip[top : top + 48, GAP : GAP + 64]
        assert np.array_equal(left, rgb(small, index).repeat(2, 0).repeat(2, 1))
        assert np.array_equal(strip[top : top + 48, 2 * GAP + 64 : -GAP], rgb(large, index))


def test_strip_of_a_part_enlarged_by_bicubic(small: Clip, large: Clip, tmp_path: Path) -> None:
    result = tmp_path / "strip.png"
    options: dict[str, Any] = {"crop": (10, 4, 20, 16), "zoom": 3, "frames": 1}
    done = compare([str(small.path), str(large.path)], still=str(result), **options)
    assert done.frames == (6,)
    strip = read(result)
    assert strip.shape == (2 * LINE + 48 + 2 * GAP, 2 * 60 + 3 * GAP, 3)
    top = 2 * LINE + GAP
    wanted = imresize(rgb(small, 6), 2)[4:20, 10:30].repeat(3, 0).repeat(3, 1)
    assert np.array_equal(strip[top : top + 48, GAP : GAP + 60], wanted)
    wanted = rgb(large, 6)[4:20, 10:30].repeat(3, 0).repeat(3, 1)
    assert np.array_equal(strip[top : top + 48, 2 * GAP + 60 : -GAP], wanted)
    labels = strip[:LINE].max(-1)
    assert (labels[:, GAP : GAP + 60] > 128).any()  # a name above each column
    assert (labels[:, 2 * GAP + 60 :] > 128).any()
    assert not (labels[:, GAP + 60 : 2 * GAP + 60] > 128).any()  # and shortened to its width


def test_labels_in_any_script(tmp_path: Path) -> None:
    pictures = [[torch.zeros(3, 8, 200, dtype=torch.uint8)]]
    ink = [
        (make_strip(pictures, [label])[:, :LINE].amax(0) > 128).sum().item()
        for label in ("café", "cafe", "映画.mp4", "??.mp4")
    ]
    assert ink[0] == ink[1] > 0
    assert ink[2] == ink[3] > 0


def test_strip_without_pillow(
    small: Clip, large: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    paths, still = [str(small.path), str(large.path)], str(tmp_path / "strip.png")
    with pytest.raises(DependencyError, match=r"Pillow.*\n.*--no-labels"):
        compare(paths, still=still)
    assert list(tmp_path.iterdir()) == []
    compare(paths, still=still, labels=False)
    assert Path(still).exists()


def test_evenly_spaced_frames(small: Clip, large: Clip, tmp_path: Path) -> None:
    paths = [str(small.path), str(large.path)]

    def chosen(**options: Any) -> tuple[int, ...]:
        return compare(paths, page=str(tmp_path / "p.html"), overwrite=True, **options).frames

    assert chosen(frames=1) == (6,)
    assert chosen(frames=3) == (2, 6, 10)
    assert chosen(frames=24) == tuple(range(12))
    assert chosen() == (0, 2, 3, 5, 6, 8, 9, 11)


def test_page_beside_the_first_file(browser: Any, small: Clip, large: Clip, tmp_path: Path) -> None:
    names = ["a <b>&.mkv", "b.mkv"]
    for name, clip in zip(names, (small, large), strict=True):
        (tmp_path / name).write_bytes(clip.path.read_bytes())
    done = compare([str(tmp_path / name) for name in names])
    page = tmp_path / "a <b>&_compare.html"
    assert done.page == str(page)
    requested(browser)
    open_file(browser, page)
    find = browser.find_element
    rows = [row.text for row in browser.find_elements("css selector", "#summary tbody tr")]
    assert rows[0].startswith("a <b>&.mkv (hevc) 32 24 12 0.480")
    assert rows[1].startswith("b.mkv (hevc) 64 48 12 0.480")
    assert find("id", "which").text == "Frame 0, 0:00:00.000"
    assert find("id", "notes").text == "Enlarged to 64x48 by MATLAB's bicubic: a <b>&.mkv."
    assert not find("id", "course").is_displayed()
    find("tag name", "body").send_keys("\ue014")
    assert find("id", "which").text == "Frame 2, 0:00:00.080"
    shown = [name.text for name in browser.find_elements("css selector", ".pane .name")]
    assert shown == ["a <b>&.mkv, 32x24, bicubic", "b.mkv, 64x48"]
    assert len(re.findall(r"SHA-256 [0-9a-f]{64}", find("id", "settings").text)) == 2
    assert {url.partition(":")[0] for url in requested(browser)} <= {"file", "data"}
    assert console_errors(browser) == []


def test_command_prints_what_it_wrote(
    small: Clip, large: Clip, tmp_path: Path, capsys: Captured
) -> None:
    page = tmp_path / "page.html"
    arguments = ["compare", str(small.path), str(large.path), "-o", str(page), "--at", "0.2"]
    assert run(arguments) == 0
    out = capsys.readouterr().out
    assert "small.mkv 32x24, hevc, 12 frames, 0:00:00.480" in out
    assert f"page      {page}" in out
    assert run([*arguments, "--json", "-y"]) == 0
    read = json.loads(capsys.readouterr().out)
    assert (read["frames"], read["times"], read["page"]) == ([5], ["1/5"], str(page))
    assert run(arguments) == 4  # it is there
    assert "already exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--crop", "1,2,3"], "is no X,Y,W,H"),
        (["--at", "soon"], "'soon' is not a time"),
        (["--frames", "0"], "--frames"),
        (["--crop", "60,0,8,8"], "does not lie inside the picture"),
        (["--at", "7"], "there is no frame at 7 s: the last one is shown at 0.440 s"),
        (["--at", "0", "--frames", "2"], "by time or by number"),
        (["-o", "strip.png"], "name a .png file with --still"),
        (["-o", "film.mp4", "-y"], "the page is HTML: its name ends with .html"),
        (["--still", "page.html"], "name a .html file with -o"),
        (["--zoom", "2"], "--zoom belongs to the strip, which --still names"),
        (["--zoom", "1"], "--zoom belongs to the strip"),
        (["--no-labels"], "--no-labels belongs to the strip"),
    ],
)
def test_wrong_usage(
    arguments: list[str],
    message: str,
    small: Clip,
    large: Clip,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    monkeypatch.chdir(tmp_path)
    if "-o" not in arguments:
        arguments = [*arguments, "-o", "page.html"]
    assert run(["compare", str(small.path), str(large.path), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_one_file_is_nothing_to_compare(small: Clip) -> None:
    with pytest.raises(UsageError, match="nothing to compare with"):
        compare([str(small.path)])


def refused(kind: type[VsrError], message: str, *paths: Path, result: Path) -> VsrError:
    before = sorted(result.parent.iterdir())
    with pytest.raises(kind, match=re.escape(message)) as caught:
        compare([str(path) for path in paths], page=str(result), overwrite=True)
    assert sorted(result.parent.iterdir()) == before
    return caught.value


def test_files_that_do_not_belong_together(small: Clip, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("mine")
    shorter = make_clip(tmp_path / "shorter.mp4", width=64, height=48, frames=11)
    error = refused(InputError, "ends before frame 11", small.path, shorter.path, result=page)
    assert "(11 frames there, 12 frames in" in error.what
    ticks = [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12]
    holed = make_clip(tmp_path / "holed.mp4", pts=ticks, time_base=Fraction(1, 25))
    error = refused(InputError, "no frame for frame 4", small.path, holed.path, result=page)
    assert error.where == str(holed.path)
    wide = make_clip(tmp_path / "wide.mp4", width=80, height=48)
    refused(InputError, "80x48, has another shape", small.path, wide.path, result=page)
    refused(InputError, "no such file", small.path, tmp_path / "none.mp4", result=page)
    odd = wide.path.rename(tmp_path / "wide.html")
    refused(OutputError, "would replace one of the files", small.path, odd, result=odd)
    assert page.read_text() == "mine"


def test_frames_that_share_a_time_are_mentioned(tmp_path: Path) -> None:
    plain = make_clip(tmp_path / "plain.mkv", frames=12, codec="ffv1").path
    with av.open(str(plain)) as source, av.open(str(tmp_path / "twice.mkv"), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(p for p in source.demux(video=0) if p.size):
            if number == 11:
                packet.pts = packet.dts = 400
            packet.stream = stream
            out.mux(packet)
    twice, page = str(tmp_path / "twice.mkv"), str(tmp_path / "page.html")
    done = compare([twice, twice], page=page)
    assert [file.frames for file in done.files] == [11, 11]
    assert any("twice.mkv" in note and "compared: 1." in note for note in done.notes)
    assert not any(
        "shown at" in n for n in compare([str(plain)] * 2, page=page, overwrite=True).notes
    )


def test_nothing_is_left_when_the_work_is_interrupted(
    small: Clip, large: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.compare.encode_png", stop)
    page, still = tmp_path / "page.html", tmp_path / "strip.png"
    with pytest.raises(KeyboardInterrupt):
        compare([str(small.path), str(large.path)], page=str(page), still=str(still))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
def test_turned_pictures_stand_upright(rotation: int, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mov", width=32, height=48, frames=2, rotation=rotation)
    video = probe(str(clip.path)).videos[0]
    ours = read_picture(str(clip.path), video, 0)
    raw = ffmpeg(
        *("-i", str(clip.path), "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "gray", "-")
    )
    height, width = (32, 48) if abs(rotation) == 90 else (48, 32)
    theirs = np.frombuffer(raw, np.uint8).reshape(height, width).astype(float)
    assert ours.shape == (3, height, width)
    mean = ours.numpy().mean(0)
    assert np.corrcoef(mean.ravel(), theirs.ravel())[0, 1] > 0.8


def test_mirrored_pictures() -> None:
    one, picture = 1 << 16, torch.arange(6, dtype=torch.uint8).reshape(1, 2, 3)
    mirrored = upright(picture, (-one, 0, 0, 0, one, 0, 0, 0, 1 << 30))
    assert mirrored.tolist() == [[[2, 1, 0], [5, 4, 3]]]
    transposed = upright(picture, (0, one, 0, one, 0, 0, 0, 0, 1 << 30))
    assert transposed.tolist() == [[[0, 3], [1, 4], [2, 5]]]
    assert upright(picture, None) is picture


def test_resize_to_a_size_is_imresize_where_that_has_it() -> None:
    image = np.random.default_rng(1).integers(0, 256, (13, 17, 3), dtype=np.uint8)
    for scale in (2, 3, 4):
        assert np.array_equal(resize(image, 13 * scale, 17 * scale), imresize(image, scale))
    assert resize(image, 27, 33).shape == (27, 33, 3)
    assert np.all(resize(np.full((5, 7), 93, np.uint8), 11, 13) == 93)

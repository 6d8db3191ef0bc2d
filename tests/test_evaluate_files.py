"""Two files whose clocks, parts, orientations and tags are not the same."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from independent import ffmpeg
from synth import make_clip

from pipelines.evaluate import EvalOptions, evaluate_files
from pipelines.events import Event
from vsr.errors import BackendError, InputError, UsageError
from vsr.metrics import measures as measures_module
from vsr.metrics import vmaf as vmaf_module
from vsr.types import Color, ColorRange, Evaluation, Matrix

FILM = Fraction(24000, 1001)


def measured(reference: Path, distorted: Path, **wishes: Any) -> Evaluation:
    options = EvalOptions(device="cpu", **{"metrics": ("psnr_y",), **wishes})
    return evaluate_files(str(reference), str(distorted), options).evaluation


def values(found: Evaluation) -> list[float]:
    return [frame.values["psnr_y"] for frame in found.candidates[0].frames]


def stamps(found: Evaluation) -> list[int | None]:
    return [frame.pts for frame in found.candidates[0].frames]


# Parts


def test_a_part_is_cut_by_the_reference_and_not_by_each_file(tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "whole.mp4", frames=12, codec="ffv1").path
    # Its first frame is missing, and all others are where they were.
    lost = tmp_path / "lost.mkv"
    ffmpeg("-i", str(whole), "-vf", "select=gte(n\\,1)", "-c:v", "ffv1", "-fps_mode", "vfr",
           "-copyts", str(lost))  # fmt: skip
    for wishes, count in (({}, 7), ({"frames": 3}, 3), ({"end": Fraction(2, 5)}, 5)):
        found = measured(whole, lost, start=Fraction(1, 5), **wishes)
        assert values(found) == [math.inf] * count
    assert stamps(found)[0] == Fraction(1, 5) / found.time_base
    with pytest.raises(InputError, match="has no partner"):
        measured(whole, lost)
    # The reference may be the one that lacks frames at its beginning, or end first.
    assert values(measured(lost, whole, start=Fraction(0), end=Fraction(1))) == [math.inf] * 11


def test_rounding_does_not_move_the_beginning_of_a_part(tmp_path: Path) -> None:
    exact = make_clip(tmp_path / "a.mp4", frames=12, rate=30, time_base=Fraction(1, 24000)).path
    rounded = make_clip(tmp_path / "a.mkv", frames=12, rate=30).path
    # Frame 2 is shown at 0.0667 s, which Matroska rounds to 0.067.
    found = measured(exact, rounded, start=Fraction("0.067"), end=Fraction("0.267"))
    assert stamps(found) == [800 * index for index in range(3, 9)]
    assert values(found) == [math.inf] * 6
    found = measured(rounded, exact, start=Fraction("0.067"), end=Fraction("0.267"))
    assert stamps(found) == [67, 100, 133, 167, 200, 233]
    assert values(found) == [math.inf] * 6


def test_a_part_of_files_that_begin_at_other_times(tmp_path: Path) -> None:
    tick = Fraction(1, 24000)
    early = make_clip(tmp_path / "a.mkv", frames=14, rate=FILM, time_base=tick).path
    later = [1001 * (index + 1) for index in range(14)]
    moved = make_clip(tmp_path / "b.mkv", frames=14, rate=FILM, time_base=tick, pts=later).path
    for wishes, count in (({}, 14), ({"start": Fraction("0.25"), "frames": 4}, 4)):
        found = measured(early, moved, align="start", **wishes)
        assert values(found) == [math.inf] * count
        assert values(measured(moved, early, align="start", **wishes)) == [math.inf] * count
        assert any("b.mkv begins 0.042 s later than" in note for note in found.notes)
    assert dict(found.settings)["part"] == "from 0.25 s, 4 frames at most"
    del later[6]
    holed = make_clip(tmp_path / "c.mkv", frames=13, rate=FILM, time_base=tick, pts=later).path
    with pytest.raises(InputError, match=r"frame 6 \(pts 250, 0.250 s\) has no partner"):
        measured(early, holed, align="start")


def test_what_has_no_partner_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "a.mkv", frames=9).path
    short = make_clip(tmp_path / "b.mkv", frames=7).path
    told: list[Event] = []
    options = EvalOptions(metrics=("psnr_y",), device="cpu")
    with pytest.raises(InputError, match=r"frame 7 .*: .*b.mkv ends after 7 frames"):
        evaluate_files(str(whole), str(short), options, on_event=told.append)
    assert told == []


# Pictures


@pytest.mark.parametrize(
    ("degrees", "turn"), [(180, "hflip,vflip"), (90, "transpose=cclock"), (-90, "transpose=clock")]
)
def test_pictures_are_compared_upright(tmp_path: Path, degrees: int, turn: str) -> None:
    plain = make_clip(tmp_path / "plain.mp4", frames=3).path
    tagged = make_clip(tmp_path / "tagged.mp4", frames=3, rotation=degrees).path
    baked = tmp_path / "baked.mkv"
    ffmpeg("-i", str(plain), "-vf", turn, "-c:v", "ffv1", str(baked))
    for pair in ((tagged, baked), (baked, tagged)):
        found = measured(*pair, metrics=("psnr_y", "psnr_rgb"))
        assert values(found) == [math.inf] * 3
        (note,) = [note for note in found.notes if "upright" in note]
        assert "tagged.mp4 is turned" in note
        assert "baked" not in note
    assert values(measured(tagged, tagged)) == [math.inf] * 3
    if degrees == 180:
        assert max(values(measured(plain, baked))) < 30
    else:
        with pytest.raises(InputError, match=r"it measures 48x64, and the reference .* 64x48"):
            measured(plain, tagged)


def test_pixels_of_another_shape_are_noted(tmp_path: Path) -> None:
    square = make_clip(tmp_path / "a.mp4", frames=1).path
    wide = make_clip(tmp_path / "b.mp4", frames=1, sar=Fraction(4, 3)).path
    notes = measured(square, wide).notes
    assert any("a.mp4 are 1:1, of " in note and "b.mp4 4:3" in note for note in notes)
    assert not any("Pixels" in note for note in measured(wide, wide).notes)


# Colours and the protocol


def test_one_matrix_under_two_names(tmp_path: Path) -> None:
    pal, ntsc = (
        make_clip(
            tmp_path / f"{matrix.name}.mkv",
            frames=2,
            codec="ffv1",
            color=Color(matrix=matrix, range=ColorRange.LIMITED),
        ).path
        for matrix in (Matrix.BT470BG, Matrix.SMPTE170M)
    )
    found = measured(pal, ntsc)
    assert values(found) == [math.inf] * 2
    assert not any("converted" in note for note in found.notes)


def test_the_protocol_of_papers_does_not_guess_a_scale(tmp_path: Path) -> None:
    eight = make_clip(tmp_path / "8.mkv", frames=1, codec="ffv1", pix_fmt="yuv444p").path
    ten = make_clip(tmp_path / "10.mkv", frames=1, codec="ffv1", pix_fmt="yuv444p10le").path
    found = measured(eight, ten, protocol="matlab")
    assert dict(found.settings)["shave"] == "0 pixels"
    assert any("8 bits, rounded" in note for note in found.notes)
    assert any("--shave" in note for note in found.notes)
    found = measured(eight, ten, protocol="matlab", shave=3)
    assert dict(found.settings)["shave"] == "3 pixels"
    assert not any("--shave" in note for note in found.notes)
    assert any("not rounded" in note for note in measured(eight, ten).notes)


def test_settings_say_what_ran_and_nothing_that_did_not(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", frames=2).path
    settings = dict(measured(clip, clip).settings)
    assert settings["part"] == "all frames"
    assert {"PyAV", "FFmpeg", "torch", "vsr", "device"} <= set(settings)
    assert not {"dtype", "backend"} & set(settings)


# Measures that cannot be had


def test_what_pictures_are_too_small_for_is_left_out_or_an_error(tmp_path: Path) -> None:
    for side, gone in ((8, "SSIM (Y)"), (16, "VMAF")):
        clip = make_clip(tmp_path / f"{side}.mkv", frames=2, width=side, height=side).path
        found = measured(clip, clip, metrics=None)
        assert values(found) == [math.inf] * 2
        assert any(note.startswith(f"{gone} was not measured: it needs") for note in found.notes)
    told: list[Event] = []
    options = EvalOptions(metrics=("psnr_y", "ms_ssim"), device="cpu")
    with pytest.raises(UsageError, match="needs 176 pixels each way, and 16x16 are left"):
        evaluate_files(str(clip), str(clip), options, on_event=told.append)
    assert told == []
    with pytest.raises(UsageError, match=r"flicker \(Y\) cannot be measured: it needs two frames"):
        measured(clip, clip, metrics=("flicker",), frames=1)


def test_a_vmaf_that_fails_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise BackendError("ffmpeg failed while measuring VMAF: it was ended by SIGKILL")

    clip = make_clip(tmp_path / "a.mkv", frames=2).path
    monkeypatch.setattr(measures_module, "_OPTIONAL", {"lpips": lambda: "no", "vmaf": lambda: None})
    monkeypatch.setattr(vmaf_module, "vmaf_problem", lambda: None)
    monkeypatch.setattr(vmaf_module.Vmaf, "add", fail)
    found = measured(clip, clip, metrics=None)
    assert values(found) == [math.inf] * 2
    assert "vmaf" not in {metric.name for metric in found.metrics}
    assert any("VMAF was not measured: ffmpeg failed" in note for note in found.notes)
    with pytest.raises(BackendError, match="ended by SIGKILL"):
        measured(clip, clip, metrics=("vmaf",))

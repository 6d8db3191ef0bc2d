"""Awkward real files: done in segments, they give what one read of them gives."""

from __future__ import annotations

from pathlib import Path

import pytest
from independent import decode_frames
from synth import make_clip

from pipelines.segments import cut as cutting
from pipelines.upscale import plan_upscale, run_upscale

#: Open GOPs, no presentation times, 10 bits, VFR, interlaced, transport streams, frames cut away by
#: an edit list.
FILES = (
    "d01_mpeg4_mp3.avi",
    "d04_vp9_10bit_vfr.webm",
    "d05_hevc_odd_sar.ts",
    "d07_av1_aac.mp4",
    "g03_2audio_ass_attach_chapters_opengop.mkv",
    "g05_vfr.mp4",
    "g08_hdv_1440x1080i_sar43.m2t",
)


@pytest.mark.parametrize("name", FILES)
def test_segments_of_awkward_files(
    name: str, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = reference / "nasty" / name
    if not source.is_file():
        pytest.skip(f"{name} is not among the reference material")
    compare(source, tmp_path, monkeypatch)


@pytest.mark.parametrize("ending", ["asf", "mpg"])
def test_segments_where_packets_do_not_tell_when_frames_are_shown(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"g": "6", "bf": "3", "b_strategy": "0", "preset": "medium", "crf": "40"}
    clip = make_clip(tmp_path / f"a.{ending}", frames=24, options=options)
    assert plan_upscale(str(clip.path), scale=2).video.timing != "presentation"
    compare(clip.path, tmp_path, monkeypatch)


def compare(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do it both ways."""
    monkeypatch.setattr(cutting, "segment_length", lambda _: 5)
    results, reports = [], []
    for resume in (True, False):
        result = tmp_path / f"{resume}.mkv"
        wishes = {"model": "bicubic", "codec": "ffv1", "frames": 24}
        plan = plan_upscale(str(source), str(result), scale=2, **wishes)
        reports.append(run_upscale(plan, resume=resume))
        results.append(decode_frames(result))
    assert reports[0].segments > 1
    assert results[0] == results[1]
    assert reports[0].frames_in == reports[1].frames_in
    assert reports[0].corrupt_packets == reports[1].corrupt_packets

"""Timestamps that packets do not tell: in AVI, and where several frames share an MPEG packet."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from reading import Result, near, request, same
from synth import make_clip

from vsr.media.probe import probe
from vsr.media.read.timestamps import shown_times, snap_trim

FRAMES = 40
REORDERED = {"g": "12", "b_strategy": "0", "preset": "medium"}


@pytest.mark.parametrize("between", ["1", "2", "3"])
def test_avi_with_reordered_frames_has_a_step_between_any_two(tmp_path: Path, between: str) -> None:
    clip = make_clip(tmp_path / "a.avi", frames=FRAMES, options={**REORDERED, "bf": between})
    found = Result(request(clip.path))
    first = found.pts[0]
    assert found.pts == list(range(first, first + FRAMES))
    assert found.stats.moved_pts == found.stats.invented_pts == found.stats.gaps == 0
    assert shown_times(str(clip.path), 0)[0] == tuple(found.pts)
    assert all(near(frame, clip.picture(at)) for at, frame in enumerate(found.frames))


def test_a_time_in_avi_is_the_frame_that_is_shown_then(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.avi", frames=FRAMES, options={**REORDERED, "bf": "3"})
    whole = Result(request(clip.path))
    trim = snap_trim(str(clip.path), 0, Fraction(10, 25), Fraction(15, 25))
    part = Result(request(clip.path, trim=trim))
    assert part.pts == whole.pts[10:15]
    assert all(map(same, part.frames, whole.frames[10:15]))


def test_frames_that_share_a_packet_are_spaced_by_the_stream_rate(tmp_path: Path) -> None:
    # A PES packet of a program stream holds 2 kB, so many of these small frames, and one timestamp.
    clip = make_clip(
        tmp_path / "a.mpg",
        frames=60,
        options={**REORDERED, "bf": "2", "crf": "40"},
        mux_options={"muxrate": "1000000"},
    )
    video = probe(str(clip.path)).videos[0]
    assert (video.average_rate, video.variable_rate) == (25, False)
    found = Result(request(clip.path))
    step = round(1 / (25 * video.time_base))
    assert found.stats.invented_pts > 0  # or this clip shows nothing
    assert found.stats.moved_pts == 0
    assert found.pts == list(range(found.pts[0], found.pts[0] + 60 * step, step))

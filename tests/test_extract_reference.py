"""Extraction from awkward real files: hashes, indices and pts equal those of a full decode."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from reading import Result, request

from vsr.media.frame_hash import frame_hashes
from vsr.media.probe import probe
from vsr.media.read.part import Mistrusted, Part, locate, part_frames
from vsr.media.read.reader import ReadRequest, ReadStats

_NASTY = (
    *("d01_mpeg4_mp3.avi", "d02_srt_subs.mkv", "d03_partially_fragmented.mp4"),
    *("d04_vp9_10bit_vfr.webm", "d05_hevc_odd_sar.ts", "d06_hevc_rot90_metadata.mp4"),
    *("d07_av1_aac.mp4", "d08_h264_aac.flv", "d09_h264_10bit.mp4", "d10_bt709_full_range.mp4"),
    *("d11_av1_noaudio.mkv", "d12_mov_text.mp4", "d13_delayed_audio.mkv", "d14_chapters.mkv"),
    *("d15_failing_audio.mp4", "d16_gif_vfr.gif", "d17_hevc_main.mp4", "d18_phone_hlg_rot90.mp4"),
    *("g01_dv_pal_pcm.avi", "g03_2audio_ass_attach_chapters_opengop.mkv"),
    *("g04_audio_longer_than_video.mp4", "g05_vfr.mp4", "g06_odd_853x479_444.mkv"),
    *("g07_mjpeg_fullrange_pcm.mov", "g08_hdv_1440x1080i_sar43.m2t", "g09_one_frame.mp4"),
    "g10_hevc10_hdr10_opus.mkv",
)
_CLIPS = (
    *("bbb_480p24_30s_aac51.mp4", "bikes_640x272.mp4", "bottle_640x360_40s.mp4"),
    *("bug_640x360.mp4", "car_768x432_30s.mp4", "carphone_qcif_pristine.mp4"),
    *("flower_540p30.mp4", "flower_540p30.webm", "parkjoy_480x270_10f.y4m"),
    "tears_of_steel_800x332_70s.webm",
)
_QUICK = {
    *("d01_mpeg4_mp3.avi", "d04_vp9_10bit_vfr.webm", "d05_hevc_odd_sar.ts", "d09_h264_10bit.mp4"),
    *("d13_delayed_audio.mkv", "d14_chapters.mkv", "d16_gif_vfr.gif", "g01_dv_pal_pcm.avi"),
    *("g03_2audio_ass_attach_chapters_opengop.mkv", "g08_hdv_1440x1080i_sar43.m2t"),
    *("g09_one_frame.mp4", "g10_hevc10_hdr10_opus.mkv", "carphone_qcif_pristine.mp4"),
}

Row = tuple[int, int, str]


def _cases() -> list[Any]:
    paths = [f"nasty/{name}" for name in _NASTY] + [f"clips/{name}" for name in _CLIPS]
    return [
        pytest.param(p, marks=() if Path(p).name in _QUICK else pytest.mark.slow) for p in paths
    ]


def _part(path: str, part: Part) -> list[Row]:
    video = probe(path).videos[0]
    wanted, located = ReadRequest(path, video, batch=4), locate(path, video, part)
    for where in (located, None):
        rows: list[Row] = []
        try:
            for batch in part_frames(wanted, part, where, ReadStats(), "pyav"):
                for at, digest in enumerate(frame_hashes(batch)):
                    rows.append((batch.first_index + at, batch.pts[at], digest))
        except Mistrusted:
            continue
        return rows
    raise AssertionError("decoding from the start cannot be mistrusted")


@pytest.mark.parametrize("name", _cases())
def test_parts_are_those_of_a_full_decode(reference: Path, name: str) -> None:
    path = reference / name
    whole = Result(request(path, batch=4))
    rows = [
        (at, pts, hashlib.sha256(b"".join(p.tobytes() for p in planes)).hexdigest())
        for at, (pts, planes) in enumerate(zip(whole.pts, whole.frames, strict=True))
    ]
    total, tick = len(rows), probe(str(path)).videos[0].time_base
    windows = {
        (0, min(3, total)),
        (total // 2, min(total // 2 + 3, total)),
        (max(0, total - 3), total),
    }
    for first, stop in sorted(windows):
        assert _part(str(path), Part(first, stop)) == rows[first:stop]
        start = (whole.pts[first] - whole.pts[0]) * tick
        assert _part(str(path), Part(start=start, frames=stop - first)) == rows[first:stop]

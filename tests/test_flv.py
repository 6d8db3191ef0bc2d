"""FLV, which has no list of its streams, and recordings in it that were joined."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import av
import av.logging
import pytest
from reading import Result, near
from synth import make_clip

import vsr
from vsr.media.demux.depth import demuxed, later_streams
from vsr.media.probe import probe
from vsr.media.read.reader import ReadRequest
from vsr.media.read.scan import scan_frames
from vsr.media.write.copied.whole import preview
from vsr.types import Trim

HEADER = 13  # with the size of what comes before, which is nothing
AUDIO, SCRIPT = 8, 18


def tags(data: bytes) -> Iterator[tuple[int, int, bytearray]]:
    """Kind, time in ms, and bytes of each tag."""
    at = HEADER
    while at + 11 <= len(data):
        end = at + 11 + int.from_bytes(data[at + 1 : at + 4], "big") + 4
        yield data[at], int.from_bytes(data[at + 4 : at + 7], "big"), bytearray(data[at:end])
        at = end


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 frames; the sound begins after 20 s, and nothing before says that there is one."""
    path = tmp_path_factory.mktemp("flv") / "late.flv"
    video, both = path.with_name("video.flv"), path.with_name("both.flv")
    data = make_clip(video, frames=150, rate=5, width=32, height=32).path.read_bytes()
    found = [(time, tag) for kind, time, tag in tags(data) if kind != SCRIPT]
    make_clip(both, frames=50, width=32, height=32, audio="aac")
    for kind, time, tag in tags(both.read_bytes()):
        if kind == AUDIO:
            tag[4:7] = (time + 20_000).to_bytes(3, "big")
            found.append((time + 20_000, tag))
    found.sort(key=lambda pair: pair[0])
    path.write_bytes(data[:HEADER] + b"".join(tag for _, tag in found))
    return path


def test_a_sound_that_begins_late_is_named(late: Path, tmp_path: Path) -> None:
    report = vsr.upscale(str(late), str(tmp_path / "out.mkv"), model="bicubic", device="cpu")
    assert report.frames_out == 150
    (warning,) = report.warnings
    assert warning.startswith("One stream begins further into the file")
    part = vsr.upscale(
        str(late), str(tmp_path / "part.mkv"), model="bicubic", device="cpu", start=25.0
    )
    assert part.frames_out == 25


def test_who_counts_late_streams_neither_listens_nor_reads(
    late: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(av.logging, "set_level", None)
    monkeypatch.setattr(av.logging, "Capture", None)
    with av.open(str(late)) as container:
        assert later_streams(container) == 0
        sizes = [packet.size for packet in demuxed(container, container.streams.video)]
        assert (len(sizes), sizes[-1]) == (151, 0)
        assert later_streams(container) == 1
    with av.open(str(late)) as container:
        # To the end, as nothing of this sound is there to be found.
        assert preview(container, [], [1]) == ({}, {})


def test_recordings_that_were_joined_go_on(tmp_path: Path) -> None:
    clip = make_clip(
        tmp_path / "a.flv",
        frames=50,
        width=32,
        height=32,
        audio="aac",
        options={"g": "10", "bf": "2"},
    )
    data = clip.path.read_bytes()
    path = tmp_path / "joined.flv"
    path.write_bytes(data + data[HEADER:])
    request = ReadRequest(str(path), probe(str(path)).videos[0], side_streams=(1,))
    result = Result(request)
    steps = {b - a for a, b in pairwise(result.pts)}
    assert len(result.pts) == 100
    assert steps <= {39, 40, 41}, "milliseconds"
    assert all(near(result.frames[50 + at], clip.picture(at)) for at in range(50))
    sound = [item.packet.pts or 0 for item in result.side]
    assert all(20 <= b - a <= 24 for a, b in pairwise(sound[len(sound) // 2 + 2 :]))
    assert abs(sound[-1] - result.pts[-1]) < 100
    assert result.stats.moved_pts == 0
    assert any("begin anew at one place" in warning for warning in result.stats.warnings)
    scan = scan_frames(str(path), probe(str(path)).videos[0], Trim())
    assert list(scan.pts) == result.pts
    assert scan.problem == "timestamps begin anew in the middle of the file"
    # A part is of the right place.
    trim = Trim(start=result.pts[63], frames=5)
    part = Result(replace(request, trim=trim))
    assert part.pts == result.pts[63:68]
    assert near(part.frames[0], clip.picture(13))

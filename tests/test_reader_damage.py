"""Damaged files: what can be read is read, and what is missing is counted and said."""

from __future__ import annotations

import pickle
from pathlib import Path

import av
import numpy as np
import pytest
from reading import Result, near, request, same
from synth import Clip, make_clip

from vsr.errors import DecodeError, EncodeError, InputError, OutputError
from vsr.media.av_errors import av_errors, map_av_error
from vsr.media.probe import probe
from vsr.media.read.reader import ReadRequest

FRAMES = 120


def clip_of(path: Path) -> Clip:
    options = {"g": "12", "bf": "2", "preset": "medium"}
    fast = {"movflags": "faststart"} if path.suffix == ".mp4" else None
    return make_clip(
        path,
        frames=FRAMES,
        options=options,
        audio="aac",
        cover=path.suffix == ".mkv",
        mux_options=fast,
    )


def packets(path: Path) -> list[tuple[int, int]]:
    """Position and size of every video packet in the file."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [(p.pos or 0, p.size) for p in container.demux(stream) if p.size]


def spoil(path: Path, numbers: list[int]) -> Path:
    """A copy in which these video packets (of an mp4) hold noise."""
    data = bytearray(path.read_bytes())
    places = packets(path)
    for number in numbers:
        at, size = places[number]
        data[at : at + size] = np.random.default_rng(number).bytes(size)
    copy = path.with_name(f"spoilt{path.suffix}")
    copy.write_bytes(data)
    return copy


def lookup(clip: Clip, result: Result, path: Path) -> list[int]:
    """Index in the clip of every frame that was read."""
    tick = probe(str(path)).videos[0].time_base
    return [clip.times.index(pts * tick) for pts in result.pts]


def test_refused_packets_are_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    clip = clip_of(tmp_path / "a.mp4")
    path = spoil(clip.path, [30, 31, 70])
    result = Result(request(path, batch=7, side_streams=(1,)))
    stats = result.stats
    assert stats.frames == len(result.pts) == FRAMES - stats.corrupt_packets
    assert stats.corrupt_packets + stats.concealed_frames >= 1
    assert (
        stats.side_packets[1] == Result(request(clip.path, side_streams=(1,))).stats.side_packets[1]
    )
    good = [at for at in lookup(clip, result, path) if at < 24 or 48 <= at < 60 or at >= 96]
    indices = lookup(clip, result, path)
    for at in good:  # groups of pictures without damage
        assert near(result.frames[indices.index(at)], clip.picture(at))


def test_good_frames_behind_the_last_damage_are_not_lost(tmp_path: Path) -> None:
    """Frames still in the decoder's threads when the file ends come out in spite of damage."""
    clip = make_clip(tmp_path / "a.mp4", codec="mpeg4", frames=20, options={"g": "1", "bf": "0"})
    intra = make_clip(tmp_path / "b.mp4", frames=20, options={"g": "1", "bf": "0"})
    for source in (clip, intra):
        path = spoil(source.path, [16, 17])
        result = Result(request(path))
        assert len(result.frames) >= 18
        assert result.stats.corrupt_packets + len(result.frames) == 20
        last = lookup(source, result, path)
        assert last[-2:] == [18, 19]
    assert same(result.frames[-1], intra.picture(19))


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_a_truncated_file_says_how_much_is_missing(tmp_path: Path, name: str) -> None:
    clip = clip_of(tmp_path / name)
    data = clip.path.read_bytes()
    cut = tmp_path / f"cut{clip.path.suffix}"
    cut.write_bytes(data[: len(data) * 6 // 10])
    result = Result(request(cut, batch=7))
    assert 50 < len(result.frames) < 90
    (warning,) = [w for w in result.stats.warnings if "cut short" in w]
    if name.endswith("mp4"):
        assert f"announces {FRAMES} video packets" in warning
    else:
        assert "announces 4.8" in warning
    indices = lookup(clip, result, cut)
    assert indices[:50] == list(range(50))
    for at in range(50):
        assert near(result.frames[at], clip.picture(at))


def test_whole_files_do_not_warn(tmp_path: Path) -> None:
    for name in ("a.mkv", "a.mp4", "a.ts", "a.mov"):
        clip = clip_of(tmp_path / name)
        result = Result(request(clip.path, batch=7))
        assert len(result.frames) == FRAMES
        assert result.stats.warnings == []


def test_missing_frames_at_a_constant_rate_are_reported(tmp_path: Path) -> None:
    pts = [i for i in range(400) if not 350 <= i < 360]
    clip = make_clip(tmp_path / "a.mp4", width=32, height=32, frames=len(pts), pts=pts)
    result = Result(request(clip.path, batch=32))
    assert result.stats.frames == 390
    (warning,) = result.stats.warnings
    assert "jump at one place" in warning
    assert "about 10 frames" in warning


def test_nothing_but_damage(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", frames=6)
    video = probe(str(clip.path)).videos[0]
    path = spoil(clip.path, list(range(6)))
    with pytest.raises(InputError, match="can be decoded"):
        probe(str(path))
    with pytest.raises(DecodeError, match="none of 6 video packets"):
        Result(ReadRequest(str(path), video))


def test_foreign_errors_become_ours_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file") as caught, av_errors("x.mp4", "open it"):
        av.open(str(tmp_path / "none.mp4"))
    assert caught.value.where == "x.mp4"
    assert isinstance(caught.value.__cause__, av.error.FileNotFoundError)
    full = map_av_error(OSError(28, "No space left on device"), "out.mp4", "write", OutputError)
    assert type(full) is OutputError
    assert "the disk is full" in full.what
    assert "Free some space" in full.remedy
    refused = map_av_error(av.error.EncoderNotFoundError(1, "x"), "out.mp4", "encode", EncodeError)
    assert type(refused) is EncodeError
    assert "vsr doctor" in refused.remedy
    copy = pickle.loads(pickle.dumps(full))
    assert (copy.what, copy.where, copy.remedy) == (full.what, full.where, full.remedy)


def test_our_own_errors_pass_through() -> None:
    with pytest.raises(EncodeError, match="mine"), av_errors("x", "y"):
        raise EncodeError("mine")

"""Extracting when something goes wrong: damage before the part, and names that are taken."""

from __future__ import annotations

import hashlib
from pathlib import Path

import av
import pytest
from reading import Result, request
from synth import make_clip

import pipelines.extract.job as job_module
from pipelines.extract import extract
from pipelines.extract.check import check_extract
from vsr.cli.entry import run
from vsr.errors import OutputError


def damaged(path: Path, number: int) -> Path:
    """A copy of a clip in which the middle of a video packet is noise."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [bytes(p) for p in container.demux(video=0) if p.size]
    at = data.index(packets[number]) + len(packets[number]) // 2
    for position in range(at, at + 30):
        data[position] ^= 0x55
    copy = path.with_name(f"damaged{path.suffix}")
    copy.write_bytes(data)
    return copy


@pytest.mark.parametrize("first", [39, 40, 41, 47, 50])
def test_damage_before_the_part_is_not_certified(tmp_path: Path, first: int) -> None:
    """Frame 40 is a key frame; 41 to 49 are predicted from it, and their hashes depend on what the
    decoder puts in its place."""
    options = {"x264-params": "keyint=10:min-keyint=10:scenecut=0:bframes=0", "crf": "20"}
    clip = make_clip(tmp_path / "a.mkv", frames=60, options=options)
    path = damaged(clip.path, 40)
    whole = Result(request(path))
    assert whole.stats.concealed_frames >= 1
    hashes = [hashlib.sha256(b"".join(p.tobytes() for p in f)).hexdigest() for f in whole.frames]
    assert len(hashes) == 60
    report = extract(path, tmp_path / "clip.mkv", first=first, frames=3)
    assert [frame.sha256 for frame in report.frames] == hashes[first : first + 3]
    assert report.found_by == ("packets" if first == 50 else "decoding")
    assert check_extract(tmp_path / "clip.mkv").source is not None


def test_a_clip_does_not_stay_without_its_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_clip(tmp_path / "a.mkv", frames=4, codec="ffv1").path
    write = job_module._write

    def taken_meanwhile(path: Path, data: bytes) -> None:
        write(path, data)
        (tmp_path / "clip.mkv.json").write_text("mine")

    monkeypatch.setattr(job_module, "_write", taken_meanwhile)
    with pytest.raises(OutputError, match="already exists"):
        extract(source, tmp_path / "clip.mkv", frames=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mkv", "clip.mkv.json"]
    assert (tmp_path / "clip.mkv.json").read_text() == "mine"


def test_a_list_is_not_to_be_quiet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = make_clip(tmp_path / "a.mkv", frames=4, codec="ffv1").path
    assert run(["extract", str(source), "--list-scenes", "--quiet"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "--list-scenes prints the scenes" in err

"""Names that mean something to FFmpeg or are too long for something; and files that are none."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import av
import pytest
from independent import decode_frames
from segment_jobs import Stop, plan_for, stop_at
from synth import make_clip

from pipelines.queue.pictures import before_and_after
from pipelines.segments.ledger import ledger_folder
from pipelines.upscale import run_upscale
from vsr.cli.entry import run
from vsr.errors import InputError
from vsr.media.probe import probe
from vsr.media.source import ffmpeg_name, open_source, video_stream

_NAMES = [
    *("12:30 a.mp4", "Alien: Covenant.mp4", "http:x.mp4", "file:x.mp4", "concat:a|b.mp4"),
    *("%03d: 100% #1?.mp4", "subfile,,start,0,end,0,:x.mp4", "a:b/film.mp4", "plain %d.mp4"),
]


@pytest.mark.parametrize("name", _NAMES)
def test_a_name_is_a_path_whatever_is_in_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(exist_ok=True)
    clip = make_clip(tmp_path / name, frames=5)
    plain = tmp_path / "by another name.mp4"
    plain.write_bytes(clip.path.read_bytes())
    info = probe(name)
    assert (info.path, info.videos[0].frames) == (name, 5)

    assert run(["upscale", name, "--model", "bicubic"]) == 0
    result = f"{name[:-4]}_x2.mp4"
    assert result in capsys.readouterr().out
    assert run(["upscale", plain.name, "--model", "bicubic", "-o", "plain.mp4"]) == 0
    assert len(decode_frames(tmp_path / result).times) == 5
    assert decode_frames(tmp_path / result) == decode_frames(tmp_path / "plain.mp4")
    assert run(["upscale", name, "--model", "bicubic"]) == 4
    assert f"{result}: the file already exists" in " ".join(capsys.readouterr().err.split())
    assert not [path for path in tmp_path.rglob("*") if "part" in path.name]


def test_errors_and_pictures_of_such_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_clip(Path("12:30 a.mp4").absolute(), frames=5)
    with open_source("12:30 a.mp4") as container, pytest.raises(InputError) as raised:
        video_stream(container, 7)
    assert raised.value.where == "12:30 a.mp4"
    Path("12:31 b.mp4").write_bytes(b"no video" * 100)
    with pytest.raises(InputError) as raised:
        probe("12:31 b.mp4")
    assert raised.value.where == "12:31 b.mp4"
    plan = plan_for(Path("12:30 a.mp4"), Path("out: x.mp4"))
    run_upscale(plan)
    before_and_after(plan, "seen")
    with av.open("seen-after.jpg") as picture:
        assert (picture.streams.video[0].width, picture.streams.video[0].height) == (128, 96)


def test_what_ffmpeg_is_told() -> None:
    for name in ("https://example.org/a:b.mp4", "/films/a: b.mp4", "films/a: b.mp4", "film.mp4"):
        assert ffmpeg_name(name) == name
    assert ffmpeg_name("a: b.mp4") == "file:a: b.mp4"


def test_a_socket_and_a_device_give_nothing(tmp_path: Path) -> None:
    plug = tmp_path / "plug"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(plug))
        for path, what in ((str(plug), "cannot open the file"), (os.devnull, "nothing came out")):
            with pytest.raises(InputError, match=what) as raised:
                probe(path)
            assert raised.value.where == path


def test_empty_files_and_folders_are_called_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(InputError, match="empty"):
        probe(str(tmp_path / "empty.mp4"))
    with pytest.raises(InputError, match="folder"):
        probe(str(tmp_path))


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    "stem", ["a" * 251, "a" * 248, "ä" * 125, "\N{CLAPPER BOARD}" * 62, "Alien: Covenant"]
)
def test_such_names_have_segments_too(
    stem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=30, options={"g": "8"})
    monkeypatch.chdir(tmp_path)
    out = Path(f"{stem}.mp4")
    folder = ledger_folder(str(out))
    assert len(os.fsencode(folder.name)) <= 255
    assert folder != ledger_folder(str(out.with_suffix(".mkv")))
    plan = plan_for(clip.path, out)
    with monkeypatch.context() as patch:
        stop_at(patch, 20 * 512, Stop())
        with pytest.raises(Stop):
            run_upscale(plan)
    assert len(list(folder.glob("*.segment"))) == 2
    assert run_upscale(plan).resumed_frames == 16
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([out.name, "in.mp4"])


@pytest.mark.parametrize("more", [["--frames", "4"], []])
def test_a_default_name_that_is_too_long(
    more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = make_clip(tmp_path / f"{'a' * 250}.mp4", frames=30, rate=1)
    assert run(["upscale", str(clip.path), "--model", "bicubic", *more]) == 4
    told = " ".join(capsys.readouterr().err.split())
    assert "this name is longer than its file system takes" in told
    assert "-o" in told
    assert list(tmp_path.iterdir()) == [clip.path]


def test_a_short_name_keeps_its_folder(tmp_path: Path) -> None:
    assert ledger_folder(str(tmp_path / "film_x2.mp4")) == tmp_path / "film_x2.mp4.vsr"

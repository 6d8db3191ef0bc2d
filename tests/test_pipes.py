"""Sources that give their bytes once: what is made of them is what is made of files."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from independent import decode_frames, packet_hashes
from synth import Subtitle, make_clip

import vsr
from pipelines.compare import compare
from pipelines.extract import extract
from vsr.cli.entry import run
from vsr.errors import BackendError, InputError, OutputError, UsageError
from vsr.media.pipes import source as pipes
from vsr.media.pipes.interrupted import Interrupted, carried, carrying
from vsr.media.pipes.source import Pipe, SeekingReader, forget_pipe, open_pipe
from vsr.types.place import is_once, on_disk

_LINES = (
    Subtitle(Fraction(0), Fraction(1, 5), "one"),
    Subtitle(Fraction(1, 4), Fraction(2, 5), "two"),
)


@contextlib.contextmanager
def piped(path: Path, data: bytes) -> Iterator[str]:
    """A named pipe that ``data`` comes out of, once."""
    os.mkfifo(path)

    def give() -> None:
        # Who reads may have had enough, as head has.
        with contextlib.suppress(BrokenPipeError), path.open("wb") as pipe:
            pipe.write(data)

    giver = threading.Thread(target=give, daemon=True)
    giver.start()
    try:
        yield str(path)
    finally:
        forget_pipe(str(path))
        giver.join(60)
        assert not giver.is_alive()


def source(path: Path) -> Path:
    """A clip with sound and, where its container has them, subtitles; its index comes last."""
    has_text = path.suffix in (".mkv", ".mp4")
    return make_clip(
        path,
        frames=20,
        options={"g": "8", "bf": "2"},
        pts=None if path.suffix == ".ts" else [2 * i + (i > 7) for i in range(20)],
        time_base=None if path.suffix == ".ts" else Fraction(1, 50),
        audio="aac" if path.suffix != ".avi" else "pcm_s16le",
        subtitles=_LINES if has_text else (),
        subtitle_codec="mov_text" if path.suffix == ".mp4" else "srt",
    ).path


def same(one: Path, other: Path, *streams: str) -> None:
    assert decode_frames(one) == decode_frames(other)
    for stream in streams:
        assert packet_hashes(one, stream) == packet_hashes(other, stream)


@given(
    data=st.binary(min_size=1, max_size=300),
    spans=st.lists(st.tuples(st.integers(0, 320), st.integers(1, 90)), max_size=12),
)
@settings(max_examples=40)
def test_any_part_can_be_read_at_any_time(
    data: bytes, spans: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("pipe") / "pipe"
    with pytest.MonkeyPatch.context() as patch, piped(path, data) as name:
        patch.setattr(pipes, "_CHUNK", 64)
        patch.setattr(pipes, "_READ", 50)
        pipe = Pipe(name)
        for at, size in spans:
            found = pipe.read(at, size)
            assert found == data[at : at + len(found)]
            assert found or at >= len(data)
        assert pipe.size() == len(data)
        pipe.close()
        assert pipe.read(0, 1) == b""


def test_a_feed_is_not_kept_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipes, "_CHUNK", 1000)
    data = bytes(range(256)) * 100
    with piped(tmp_path / "pipe", data) as name:
        first = open_pipe(name)
        assert first.read(700) == data[:700]
        reader = open_pipe(name)  # from the beginning again
        pipe = pipes._PIPES[name]
        pipes.let_go(name)
        found = b""
        while more := reader.read(300):
            found += more
            assert len(pipe._chunks) <= 2
        assert found == data
        with pytest.raises(InputError, match="cannot be read from its beginning again"):
            open_pipe(name)
        with pytest.raises(InputError, match="kept no longer"):
            first.read(10)


@pytest.mark.parametrize("name", ["in.mkv", "in.ts", "in.mp4", "in.avi", "front.mp4"])
def test_from_a_pipe_comes_what_comes_from_a_file(name: str, tmp_path: Path) -> None:
    """Also of MP4 files whose index comes last, which have to be there as a whole."""
    clip = tmp_path / name
    if name == "front.mp4":
        make_clip(clip, frames=20, audio="aac", mux_options={"movflags": "faststart"})
    else:
        source(clip)
    wishes = {"model": "bicubic", "codec": "h264"}
    vsr.upscale(clip, tmp_path / "file.mkv", **wishes)
    with piped(tmp_path / "pipe", clip.read_bytes()) as pipe:
        report = vsr.upscale(pipe, tmp_path / "pipe.mkv", **wishes)
    assert report.verified
    assert (report.frames_in, report.frames_out) == (20, 20)
    streams = ["a:0", "s:0"] if name in ("in.mkv", "in.mp4") else ["a:0"]
    same(tmp_path / "pipe.mkv", tmp_path / "file.mkv", *streams)


@pytest.mark.parametrize("name", ["in.mkv", "in.ts"])
@pytest.mark.parametrize("part", [{"frames": 5}, {"start": 0.3, "frames": 6}, {"end": 0.25}])
def test_a_part_of_a_pipe(name: str, part: dict[str, float], tmp_path: Path) -> None:
    clip = source(tmp_path / name)
    vsr.upscale(clip, tmp_path / "file.mkv", model="bicubic", **part)
    with piped(tmp_path / "pipe", clip.read_bytes()) as pipe:
        vsr.upscale(pipe, tmp_path / "pipe.mkv", model="bicubic", **part)
    same(tmp_path / "pipe.mkv", tmp_path / "file.mkv", "a:0")


def test_frames_of_a_pipe(tmp_path: Path) -> None:
    clip = source(tmp_path / "in.ts")
    with piped(tmp_path / "pipe", clip.read_bytes()) as pipe:
        found = [batch.pts for batch in vsr.frames(pipe)]
        assert pipe not in pipes._PIPES
    assert found == [batch.pts for batch in vsr.frames(clip)]


def test_what_is_extracted_of_a_pipe(tmp_path: Path) -> None:
    clip = source(tmp_path / "in.mkv")
    whole = extract(str(clip), str(tmp_path / "file.mkv"), first=5, stop=9)
    with piped(tmp_path / "pipe", clip.read_bytes()) as pipe:
        part = extract(pipe, str(tmp_path / "pipe.mkv"), first=5, stop=9)
    assert [frame.sha256 for frame in part.frames] == [frame.sha256 for frame in whole.frames]
    assert part.source_sha256 is None


def test_what_a_pipe_cannot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = source(tmp_path / "in.mkv")
    with piped(tmp_path / "a", clip.read_bytes()) as pipe:
        assert is_once(pipe)
        assert not on_disk(pipe)
        with pytest.raises(UsageError, match="what the result could be called"):
            vsr.upscale(pipe, model="bicubic")
        with pytest.raises(BackendError, match=r"DALI reads files|cannot run here"):
            vsr.upscale(pipe, tmp_path / "out.mkv", model="bicubic", reader="dali")
    with piped(tmp_path / "b", b"no video, and not much of it") as pipe:
        assert run(["upscale", pipe, "-o", str(tmp_path / "out.mkv")]) == 3
    with piped(tmp_path / "c", b"") as pipe:
        assert run(["upscale", pipe, "-o", str(tmp_path / "out.mkv")]) == 3
    assert "nothing came out of the pipe (0 bytes)" in capsys.readouterr().err
    assert not (tmp_path / "out.mkv").exists()


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> object:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pipes.tempfile, "TemporaryFile", full)
    with (
        piped(tmp_path / "pipe", b"some bytes") as pipe,
        pytest.raises(OutputError, match="cannot be kept: No space left") as raised,
    ):
        vsr.probe(pipe)
    assert "TMPDIR" in raised.value.remedy


def test_a_file_that_has_its_index_last_is_sought_in(tmp_path: Path) -> None:
    clip = source(tmp_path / "in.mp4")
    data = clip.read_bytes()
    assert data.index(b"mdat") < data.index(b"moov")
    with piped(tmp_path / "pipe", data) as name:
        reader = open_pipe(name)
        assert isinstance(reader, SeekingReader)
        assert reader.seek(-10, os.SEEK_END) == len(data) - 10
        assert reader.read(20) == data[-10:]
        assert reader.seek(4) == 4
        assert reader.read(4) == b"ftyp"
        assert reader.seek(-4, os.SEEK_CUR) == reader.tell() == 4


def test_ctrl_c_passes_through_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(*_: object) -> bytes:
        raise KeyboardInterrupt

    clip = source(tmp_path / "in.mkv")
    with piped(tmp_path / "pipe", clip.read_bytes()) as pipe:
        vsr.probe(pipe)
        monkeypatch.setattr(Pipe, "read", pressed)
        with pytest.raises(KeyboardInterrupt):
            vsr.upscale(pipe, tmp_path / "out.mkv", model="bicubic")
        monkeypatch.undo()
    with pytest.raises(Interrupted), carried():
        raise Interrupted
    with pytest.raises(ValueError, match="x"), carrying():
        raise ValueError("x")


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_who_waits_for_a_pipe_can_be_stopped(share: float, tmp_path: Path) -> None:
    """Within the first look at it, and within the reading of it, which another thread does."""
    data = make_clip(tmp_path / "in.ts", frames=300, options={"qp": "20"}).path.read_bytes()
    first = int(len(data) * share)
    assert first > 100_000  # more than a pipe holds: when it is written, the program reads
    command = [sys.executable, "-m", "vsr", "upscale", "-", "-o", str(tmp_path / "out.mkv")]
    with subprocess.Popen(
        [*command, "--model", "bicubic"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(data[:first])
        process.stdin.flush()
        if share == 1:
            assert b"stdin 64x48" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        said = process.stderr.read().decode()
        assert process.wait() == 143
    assert "Exception ignored" not in said
    assert "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["in.ts"]


def test_what_a_pipe_is_called(tmp_path: Path) -> None:
    """A name of its own is the file's; where it has none, the result needs one."""
    clip = make_clip(tmp_path / "in.mkv", frames=4).path
    with piped(tmp_path / "pipe", clip.read_bytes()) as pipe:
        with pytest.raises(UsageError, match="a pipe has no folder for the result"):
            extract(pipe, first=1, stop=3)
        with pytest.raises(UsageError, match="a pipe has no folder for the page"):
            compare([pipe, str(clip)])
        page = tmp_path / "page.html"
        compare([pipe, str(clip)], page=str(page), frames=1)
        assert page.exists()
    command = [sys.executable, "-m", "vsr", "eval", "-", "-s", "2", "--model", "bicubic"]
    subprocess.run(command, input=clip.read_bytes(), cwd=tmp_path, capture_output=True, check=True)
    assert (tmp_path / "stdin_x2_eval.json").exists()
    done = subprocess.run(
        [sys.executable, "-m", "vsr", "info", "-"],
        input=clip.read_bytes(),
        capture_output=True,
        check=True,
    )
    assert done.stdout.splitlines()[0] == b"stdin"
    assert b"size unknown" in done.stdout

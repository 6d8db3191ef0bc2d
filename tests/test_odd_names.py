"""Sources that are named in odd ways, or are not on this machine, from the command line."""

from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from independent import decode_frames
from synth import make_clip

from pipelines.playlist import expand
from vsr.cli.entry import run

Captured = pytest.CaptureFixture[str]

NOT_TEXT = os.fsdecode(b"caf\xe9.mkv")  # Latin-1, as old archives have it
QUICK = ("--model", "bicubic", "--metrics", "psnr_y", "--device", "cpu")


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    make_clip(Path("a.mkv"), frames=3, codec="ffv1")
    try:
        Path("a.mkv").rename(NOT_TEXT)
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    return NOT_TEXT


def test_results_about_a_name_that_is_no_text(clip: str) -> None:
    assert run(["eval", clip, *QUICK, "--report", "r.html", "--json"]) == 0
    scores = json.loads(Path("r.json").read_text(encoding="utf-8"))
    assert "caf\udce9.mkv" in scores["title"]
    assert r"caf\udce9.mkv" in Path("r.html").read_text(encoding="utf-8")
    assert run(["extract", clip, "-o", "frames.mkv", "--json"]) == 0
    manifest = json.loads(Path("frames.mkv.json").read_text(encoding="utf-8"))
    assert manifest["source"]["path"] == clip
    assert run(["compare", clip, clip, "-o", "c.html", "--json"]) == 0
    assert r"caf\udce9.mkv" in Path("c.html").read_text(encoding="utf-8")


def test_a_list_on_stdin_may_name_what_is_no_text(
    clip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = io.TextIOWrapper(io.BytesIO(os.fsencode(clip) + b"\n\nb.mkv\r\n"), errors="strict")
    monkeypatch.setattr("sys.stdin", listed)
    assert expand(["@-"]) == [clip, "b.mkv"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing to stderr."""

    (tmp_path / "remote").mkdir()
    make_clip(tmp_path / "remote" / "far.mkv", frames=3)
    handler = partial(Quiet, directory=str(tmp_path / "remote"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{found.server_port}/far.mkv"
        found.shutdown()


def test_an_address_goes_into_a_folder(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["upscale", server, "-o", "out/", "--model", "bicubic"]) == 0
    assert len(decode_frames(Path("out/far.mkv")).times) == 3


def test_a_plan_for_a_folder_is_what_upscale_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    make_clip(Path("a.mkv"), frames=2)
    for folder in ("out/", "."):
        assert run(["plan", "a.mkv", "-o", folder, "--model", "bicubic", "--json"]) == 0
        planned = json.loads(capsys.readouterr().out)["plan"]["destination"]
        assert run(["upscale", "a.mkv", "-o", folder, "--model", "bicubic", "--json"]) == 0
        capsys.readouterr()
        assert Path(planned).is_file()
        assert Path(planned).name == ("a.mkv" if folder == "out/" else "a_x2.mkv")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_report_that_cannot_be_printed_is_no_bug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    import subprocess
    import sys

    monkeypatch.chdir(tmp_path)
    make_clip(Path("a.mkv"), frames=2)
    command = [sys.executable, "-m", "vsr", "upscale", "a.mkv", "-o", "b.mkv", "--model", "bicubic"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 4
    assert "stdout: cannot write what there is to say" in done.stderr
    assert "bug" not in done.stderr
    assert len(decode_frames(Path("b.mkv")).times) == 2

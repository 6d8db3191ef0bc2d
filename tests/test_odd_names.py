"""Sources that are named in odd ways, or are not on this machine, from the command line."""

from __future__ import annotations

import io
import json
import os
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from independent import decode_frames
from photos import make_photos
from synth import make_clip

from pipelines.playlist import expand
from vsr.cli.entry import run
from vsr.models.onnx.export import _metadata
from vsr.models.registry import load_model
from vsr.models.weights import read_metadata, read_weights, shipped_path
from vsr.training.recipe import RECIPES

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


def test_weights_with_a_name_that_is_no_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    ours, theirs = (os.fsdecode(b"caf\xe9") + ending for ending in (".safetensors", ".pt"))
    try:
        shutil.copy(shipped_path("fdiwn-m", 2), ours)
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    state = read_weights(shipped_path("fdiwn-m", 2))
    torch.save(state, theirs)
    said = read_metadata(shipped_path("fdiwn-m", 2))
    for source, metadata in ((ours, said), (theirs, {"source": r"caf\udce9.pt"})):
        assert run(["weights", "export", source, "out.safetensors", "--overwrite"]) == 0
        assert read_metadata(Path("out.safetensors")).items() >= metadata.items()
        assert run(["weights", "import", source, "--name", "mine", "--overwrite", "--json"]) == 0
        installed = json.loads(capsys.readouterr().out.partition("\n")[2])
        assert torch.equal(
            read_weights(Path(installed["path"]))["head.weight"], state["head.weight"]
        )
    told = _metadata(load_model("fdiwn-m", 2, ours))
    assert told["weights"] == r"caf\udce9.safetensors"


def test_training_where_no_name_is_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(RECIPES, "fdiwn-m", "tiny_recipe")
    photos = make_photos(tmp_path / "photos")
    odd, out = (os.fsdecode(name) for name in (b"f\xe9tes", b"r\xe9sultat"))
    try:
        photos.rename(odd)
        Path(odd, "0.png").rename(Path(odd, os.fsdecode(b"caf\xe9.png")))
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    command = ["train", "--data", odd, "-o", out, "--model", "fdiwn-m", "--contrast"]
    command += ["--batch", "1", "--patch", "8", "--steps", "2", "--compile", "off", "--json"]
    for _ in range(2):  # the second time it goes on, with what is prepared
        assert run(command) == 0, capsys.readouterr().err
    metadata = read_metadata(Path(out, "fdiwn-m_x2.safetensors"))
    assert metadata["data"].startswith(r"f\udce9tes: 3 images")


def test_json_is_json_whatever_stdout_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "f\u00ea\u0085te.mkv"  # with a control character, which terminals are not shown
    make_clip(Path(name), frames=1, codec="ffv1")
    assert run(["eval", name, *QUICK, "-o", "r", "--json"]) == 0
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out) == json.loads(Path("r.json").read_text(encoding="utf-8"))
    assert name in json.loads(out)["title"]


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

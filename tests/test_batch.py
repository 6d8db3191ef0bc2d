"""Several files in one call of ``vsr upscale``."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from independent import decode_frames
from synth import make_clip

from pipelines.playlist import expand, is_list
from vsr.cli.entry import run
from vsr.errors import InputError, UsageError

Captured = pytest.CaptureFixture[str]


def test_one_failure_does_not_stop_the_rest(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    make_clip(Path("a.mkv"), frames=2)
    Path("bad.mp4").write_bytes(b"no video" * 50)
    Path("sub").mkdir()
    make_clip(Path("sub/a.mkv"), frames=3)
    sources = ["a.mkv", "bad.mp4", "missing.mp4", "sub/a.mkv"]
    assert run(["upscale", *sources, "-o", "out/", "--model", "bicubic"]) == 3
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [line.split()[:2] for line in lines if line.startswith("  ") and line[2] != " "] == [
        *(["done", "a.mkv"], ["failed", "bad.mp4"], ["failed", "missing.mp4"]),
        ["done", "sub/a.mkv"],
    ]
    assert lines[-1] == "2 done, 2 failed"
    assert "error: missing.mp4: cannot open the file: there is no such file" in err
    assert "Traceback" not in err
    assert sorted(path.name for path in Path("out").iterdir()) == ["a (2).mkv", "a.mkv"]
    assert len(decode_frames(Path("out/a (2).mkv")).times) == 3

    # The same again: what is there stays, and each object says whose it is.
    assert run(["upscale", "a.mkv", "sub/a.mkv", "-o", "out", "--model", "bicubic", "--json"]) == 4
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(e["event"], e.get("source")) for e in events] == [
        ("error", "a.mkv"),
        ("error", "sub/a.mkv"),
        ("summary", None),
    ]
    assert {e["kind"] for e in events[:2]} == {"OutputError"}
    assert [job["state"] for job in events[2]["jobs"]] == ["failed", "failed"]
    assert events[2]["exit_code"] == 4


def test_without_a_folder_results_go_beside_their_sources(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_clip(Path("a.mkv"), frames=2)
    make_clip(Path("a.avi"), frames=3, codec="mpeg4")
    Path("list.m3u").write_text("#EXTM3U\n#EXTINF:1,a\na.mkv\n\na.avi\n")
    assert run(["upscale", "list.m3u", "--model", "bicubic", "--codec", "h264", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert len(decode_frames(Path("a_x2.mkv")).times) == 2
    assert len(decode_frames(Path("a_x2.avi.mkv")).times) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.mkv", "b.mkv", "-o", "file"], "'file' is a file"),
        (["a.mkv", "b.mkv", "-o", "c.mkv"], "write it with a slash at its end"),
        (["@empty"], "empty: the list names no files"),
    ],
)
def test_several_need_a_folder(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("x")
    Path("empty").write_text("# nothing\n")
    assert run(["upscale", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p").mkdir()
    Path("p/list.m3u8").write_text("\ufeff#EXTM3U\nü.mp4\n/abs/b.mp4\nfile:///abs/c%20d.mp4\n")
    Path("p/old.m3u").write_bytes("ü.mp4\n".encode("latin-1"))
    Path("names").write_text("x.mp4\n  y.mp4  \nx.mp4\n")
    Path("p/live.m3u8").write_text("#EXTM3U\n#EXT-X-VERSION:3\nsegment0.ts\n")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"z.mp4\r\n")))
    assert expand(["p/list.m3u8", "@names", "p/old.m3u", "@-"]) == [
        *("p/ü.mp4", "/abs/b.mp4", "/abs/c d.mp4", "x.mp4", "y.mp4", "z.mp4")
    ]
    assert not is_list("p/live.m3u8")
    assert expand(["p/live.m3u8"]) == ["p/live.m3u8"]
    with pytest.raises(InputError, match="cannot read the list"):
        expand(["@none"])
    Path("net.m3u").write_text("http://example.org/a.mp4\n")
    with pytest.raises(InputError, match="is no file on this machine"):
        expand(["net.m3u"])
    Path("nothing.m3u").write_text("#EXTM3U\n")
    with pytest.raises(UsageError, match="names no files"):
        expand(["nothing.m3u"])

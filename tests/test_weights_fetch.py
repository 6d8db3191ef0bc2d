"""``vsr weights fetch authors`` against a server on loopback, well-behaved and otherwise."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from independent import decode_frames
from synth import make_clip
from weights_server import Server, serving

from vsr.cli.entry import run
from vsr.errors import ModelError, OutputError, UsageError
from vsr.models.cache import installed
from vsr.models.download import AUTHORS_FILES, AUTHORS_URL, Checkpoint, fetch
from vsr.models.fdiwn import Fdiwn

Captured = pytest.CaptureFixture[str]
FIRST = AUTHORS_FILES[0].path


@pytest.fixture(scope="module")
def contents() -> dict[str, bytes]:
    """Three loadable checkpoints under the authors' paths, not theirs."""
    found = {}
    for row in AUTHORS_FILES:
        torch.manual_seed(row.scale)
        file = io.BytesIO()
        torch.save(Fdiwn(row.scale).state_dict(), file)
        found[row.path] = file.getvalue()
    return found


@pytest.fixture
def rows(contents: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> tuple[Checkpoint, ...]:
    """The table with these files' sizes and hashes in place of the authors'."""
    rows = tuple(
        replace(
            row,
            bytes=len(contents[row.path]),
            sha256=hashlib.sha256(contents[row.path]).hexdigest(),
        )
        for row in AUTHORS_FILES
    )
    monkeypatch.setattr("pipelines.weights.AUTHORS_FILES", rows)
    return rows


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own, and no proxy between it and the server."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def server(contents: dict[str, bytes]) -> Iterator[Server]:
    with serving() as server:
        server.files = dict(contents)
        yield server


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_the_table_says_where_the_authors_files_are(reference: Path) -> None:
    assert AUTHORS_URL.startswith("https://raw.githubusercontent.com/IVIPLab/FDIWN/")
    for row in AUTHORS_FILES:
        content = (reference / "weights" / f"fdiwn_x{row.scale}_authors.pt").read_bytes()
        assert hashlib.sha256(content).hexdigest() == row.sha256
        assert len(content) == row.bytes


def test_fetched_weights_are_used_at_every_scale(
    server: Server, rows: tuple[Checkpoint, ...], cache: Path, tmp_path: Path, capsys: Captured
) -> None:
    assert run(["weights", "fetch", "authors", "--from", f"{server.url}/", "--json"]) == 0
    out, err = capsys.readouterr()
    assert [f["sha256"] for f in json.loads(out)] == [row.sha256 for row in rows]
    assert err.count(": downloaded") == 3
    assert server.asked == [f"/{row.path}" for row in rows]
    assert names(cache) == [f"fdiwn_x{row.scale}-{row.sha256}.pt" for row in rows]
    assert run(["weights", "verify"]) == 0
    assert run(["weights"]) == 0
    listed = capsys.readouterr().out
    assert "authors  fdiwn  x4" in listed
    assert "fetch authors" not in listed
    clip = make_clip(tmp_path / "in.mp4", width=24, height=16, frames=1)
    for row in rows:
        result = tmp_path / "out.mp4"
        asked = ["-s", str(row.scale), "--weights", "authors", "-o", str(result), "-y", "--json"]
        assert run(["upscale", str(clip.path), *asked]) == 0
        report = json.loads(capsys.readouterr().out.splitlines()[-1])["report"]
        assert (report["weights"], report["weights_sha256"]) == ("authors", row.sha256)
        assert len(decode_frames(result).times) == 1


def test_what_is_there_and_whole_is_not_fetched_again(
    server: Server, rows: tuple[Checkpoint, ...], cache: Path, capsys: Captured
) -> None:
    command = ["weights", "fetch", "authors", "--from", server.url]
    assert run(command) == 0
    server.asked.clear()
    assert run(command) == 0
    assert server.asked == []
    assert capsys.readouterr().err.count(": already there") == 3
    damaged = Path(installed()[1].path)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert run(["weights", "verify"]) == 7
    assert run(command) == 0
    assert server.asked == [f"/{rows[1].path}"]
    assert run(["weights", "verify"]) == 0


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (404, "the server answered 404 Not Found"),
        (503, "the server answered 503 Service Unavailable"),
        ("cut", "the connection was cut after"),
        ("cut-unstated", "what the server sent is not the published file"),
        ("long", "what the server sent is not the published file"),
        ("garbage", "the connection failed"),
        ("silent", "the server does not answer"),
        ("stall", "the server does not answer"),
    ],
)
def test_what_goes_wrong_leaves_nothing(
    how: str | int, message: str, server: Server, rows: tuple[Checkpoint, ...], cache: Path
) -> None:
    server.how = how
    timeout = 0.3 if how in ("silent", "stall") else 30
    with pytest.raises(ModelError, match=message) as error:
        fetch(rows[0], server.url, timeout=timeout)
    assert error.value.where == f"{server.url}/{FIRST}"
    assert error.value.remedy
    assert names(cache) == []
    server.how = "serve"
    assert fetch(rows[0], server.url)[1]


def test_another_file_is_refused(
    server: Server, rows: tuple[Checkpoint, ...], cache: Path, capsys: Captured
) -> None:
    """One changed bit in the second file: the first one stays, the second does not come."""
    content = bytearray(server.files[rows[1].path])
    content[len(content) // 3] ^= 1
    server.files[rows[1].path] = bytes(content)
    assert run(["weights", "fetch", "authors", "--from", server.url]) == 7
    err = capsys.readouterr().err
    assert hashlib.sha256(content).hexdigest() in err
    assert rows[1].sha256 in err
    assert [file.sha256 for file in installed()] == [rows[0].sha256]
    assert len(names(cache)) == 1


def test_redirections_are_followed(server: Server, rows: tuple[Checkpoint, ...]) -> None:
    server.how = "redirect"
    assert fetch(rows[0], server.url)[0].sha256 == rows[0].sha256
    assert server.asked == [f"/{FIRST}", f"/moved/{FIRST}"]


def test_nobody_there(rows: tuple[Checkpoint, ...], cache: Path, capsys: Captured) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        assert run(["weights", "fetch", "authors", "--from", url]) == 7
    err = capsys.readouterr().err
    assert "cannot reach the server" in err
    assert "vsr weights import FILE --name authors" in err
    assert names(cache) == []


def test_without_a_network(cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert run(["weights", "fetch", "authors"]) == 7
    err = capsys.readouterr().err
    assert err.startswith(f"error: {AUTHORS_URL}{FIRST}: cannot reach the server")
    assert "Name or service not known" in err
    assert names(cache) == []


@pytest.mark.parametrize(
    "base",
    [
        *("file:///etc", "ftp://host/", "host/path", "https:///path", ""),
        *("http://[::1", "http://host/\u00fc/", "http://h\u00f6st/", "http://a b/"),
    ],
)
def test_only_the_web(base: str, rows: tuple[Checkpoint, ...], cache: Path) -> None:
    with pytest.raises(UsageError, match="no web address"):
        fetch(rows[0], base)
    assert not cache.exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
def test_a_write_that_fails_in_the_middle(
    server: Server, rows: tuple[Checkpoint, ...], cache: Path
) -> None:
    """A real error of the system: no file may grow beyond 100 kB."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OutputError, match="cannot write a file there: File too large") as error:
            fetch(rows[0], server.url)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "Make room" in error.value.remedy
    assert names(cache) == []


def test_a_full_disk(
    server: Server,
    rows: tuple[Checkpoint, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    try:
        monkeypatch.setenv("XDG_CACHE_HOME", str(disk))
        assert run(["weights", "fetch", "authors", "--from", server.url]) == 4
        assert "cannot write a file there: No space left on device" in capsys.readouterr().err
        assert names(disk) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
def test_stopped_in_the_middle(server: Server, rows: tuple[Checkpoint, ...], cache: Path) -> None:
    server.how = "stall"
    code = "import sys; from vsr.cli.entry import run; sys.exit(run(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "weights", "fetch", "authors", "--from", server.url]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not any(path.stat().st_size for path in cache.rglob("*.part")):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert names(cache) == []

"""Values on the command line that look like none, or like more than they are."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from synth import make_clip

from pipelines.export import export_onnx
from vsr.cli.entry import run
from vsr.cli.output import echo_json
from vsr.errors import OutputError, UsageError
from vsr.media.containers import CONTAINERS
from vsr.plan import default_destination
from vsr.plan.container import container_for

Captured = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["upscale", "in.mp4", "-o", "", "-y"], "'-o' / '--output'"),
        (["upscale", "in.mp4", "--devices", ""], "'--devices'"),
        (["upscale", "in.mp4", "--ray="], "'--ray'"),
        (["upscale", "in.mp4", "-p", ""], "'-p' / '--preset'"),
        (["plan", "in.mp4", "--weights", ""], "'--weights'"),
        (["plan", ""], "'SRC'"),
        (["watch", "", "out"], "'IN'"),
        (["watch", "in", "out", "--include", "*.mp4", "--include", ""], "'--include'"),
        (["watch", "status", ""], "'OUT'"),
        (["presets", "show", ""], "'NAME'"),
        (["train", "--data", "", "--out", "run"], "'--data'"),
    ],
)
def test_an_empty_value_is_not_taken_for_none(
    arguments: list[str],
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    monkeypatch.chdir(tmp_path)
    make_clip(tmp_path / "in.mp4", frames=2)
    (tmp_path / "in_x2.mp4").write_text("somebody's")
    assert run(arguments) == 2
    assert f"Invalid value for {name}: the value is empty." in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "in_x2.mp4"]
    assert (tmp_path / "in_x2.mp4").read_text() == "somebody's"


@pytest.mark.parametrize("name", ["", "."])
def test_one_name_of_several_that_is_none_fails_alone(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    make_clip(tmp_path / "in.mp4", frames=2)
    assert run(["upscale", name, "in.mp4", "-o", "out/", "--model", "bicubic"]) == 3
    err = capsys.readouterr().err
    assert f"{name or repr(name)}: this names no file" in err
    assert "Traceback" not in err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["in.mp4"]


@pytest.mark.parametrize("value", ["nan", "inf", "1e999"])
@pytest.mark.parametrize(
    "command",
    [
        ["watch", "in", "out", "--settle"],
        ["watch", "in", "out", "--poll"],
        ["watch", "in", "out", "--retry-delay"],
        ["train", "--data", "in", "--out", "run", "--clip"],
        ["train", "--data", "in", "--out", "run", "--weight-decay"],
    ],
)
def test_numbers_are_finite(
    command: list[str],
    value: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run([*command, value]) == 2
    assert f"'{command[-1]}': '{value}' is no finite number." in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_results_are_no_urls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    clip = str(make_clip(tmp_path / "in.mp4", frames=2).path)
    for url in ("http://example.org/out.mp4", "s3://bucket/"):
        assert run(["upscale", clip, "-o", url, "--model", "bicubic"]) == 4
        assert f"{url}: results are files, and this is a URL" in capsys.readouterr().err
    assert run(["upscale", clip, clip, "-o", "s3://bucket/"]) == 2
    assert "a folder, and 's3://bucket/' is a URL" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["watch", "in", "s3://bucket/out"], "'OUT'"),
        (["watch", "http://host/in", "out"], "'IN'"),
        (["watch", "in", "out", "--ledger", "s3://bucket/l.sqlite"], "'--ledger'"),
        (["watch", "in", "out", "--quarantine", "s3://bucket/bad"], "'--quarantine'"),
        (["watch", "status", "s3://bucket/out"], "'OUT'"),
        (["extract", "in.mp4", "-o", "s3://bucket/a.mkv"], "'-o' / '--output'"),
        (["compare", "in.mp4", "in.mp4", "-o", "s3://bucket/a.html"], "'-o' / '--output'"),
        (["compare", "in.mp4", "in.mp4", "--still", "s3://bucket/a.png"], "'--still'"),
        (["eval", "in.mp4", "-s", "2", "-o", "s3://bucket/a"], "'-o' / '--output'"),
        (["eval", "in.mp4", "-s", "2", "--report", "s3://bucket/a.html"], "'--report'"),
        (["bench", "-o", "s3://bucket/a.json"], "'-o' / '--output'"),
        (["export", "--onnx", "s3://bucket/a.onnx", "-s", "2"], "'--onnx'"),
        (["weights", "export", "a.pt", "s3://bucket/a.safetensors"], "'DST'"),
        (["train", "--data", "in", "--out", "s3://bucket/run"], "'-o' / '--out'"),
        (["train", "--data", "in", "--out", "run", "--store", "s3://bucket/s"], "'--store'"),
    ],
)
def test_what_is_written_is_on_this_machine(
    command: list[str],
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(command) == 2
    err = capsys.readouterr().err
    assert f"Invalid value for {name}: " in err
    assert "is a URL; it must be on a disk of this machine." in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["1e300", "31536001", "-1"])
@pytest.mark.parametrize("option", ["--settle", "--poll", "--retry-delay"])
def test_waits_end_within_a_year(
    option: str,
    value: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["watch", "in", "out", option, value]) == 2
    said = capsys.readouterr().err
    assert f"'{option}': {float(value)} is not in the range 0<" in said
    assert "x<=31536000." in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    [
        ["upscale", "in.mp4", "--start"],
        ["watch", "in", "out", "--keep-free"],
        ["watch", "in", "out", "--serve", "127.0.0.1:"],
        ["extract", "in.mp4", "--range", "0:"],
        ["train", "--data", "in", "--out", "run", "--time-budget"],
    ],
)
def test_numbers_longer_than_python_reads_are_no_bugs(command: list[str], capsys: Captured) -> None:
    # What ends in a colon is the beginning of the value.
    *rest, last = command
    value = "9" * 5000 + ("h" if last == "--time-budget" else "")
    asked = [*rest, last + value] if last.endswith(":") else [*command, value]
    assert run(asked) == 2
    assert "Invalid value for" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "result"),
    [
        ("https://host:80/a/film%20one.mp4?key=a/b.mov#t=1", "film one_x2.mp4"),
        ("file:///a/film.avi", "film_x2.mkv"),
        ("rtsp://host/live/", "live_x2.mkv"),
        ("https://host/a%2Fb%2fc.mov", "c_x2.mov"),
    ],
)
def test_a_url_names_its_result(url: str, result: str) -> None:
    assert default_destination(url, 2, containers=CONTAINERS) == result


@pytest.mark.parametrize(
    "url", ["udp://1.2.3.4:5", "http://host/a/..", "http://[a", "http://h/%00"]
)
def test_what_a_url_does_not_name_must_be_named(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        default_destination(url, 2, containers=CONTAINERS)
    assert (caught.value.where, caught.value.remedy) == (url, "Name the result with -o.")
    with pytest.raises(OutputError, match="results are files"):
        container_for(f"{url}/out.mp4", CONTAINERS)


def test_the_result_of_a_url_is_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    url = f"file://{make_clip(tmp_path / 'far' / 'in.mkv', frames=2).path}"
    assert run(["upscale", url, "--model", "bicubic"]) == 0
    assert run(["upscale", url, url, "--model", "bicubic"]) == 4  # its name is taken
    assert run(["upscale", "udp://127.0.0.1:1", "-o", "large/", "--model", "bicubic"]) == 2
    assert "what the result could be called" in " ".join(capsys.readouterr().err.split())
    assert sorted(path.name for path in tmp_path.rglob("*.mkv")) == ["in.mkv", "in_x2.mkv"]
    assert (tmp_path / "here" / "in_x2.mkv").is_file()


def test_json_has_no_numbers_that_json_does_not_know(capsys: Captured) -> None:
    echo_json({"event": "stepped", "loss": math.nan, "psnr": (math.inf, -math.inf, 1.5)})

    def fail(constant: str) -> None:
        raise AssertionError(constant)

    found = json.loads(capsys.readouterr().out, parse_constant=fail)
    assert found == {"event": "stepped", "loss": "NaN", "psnr": ["Infinity", "-Infinity", 1.5]}


@pytest.mark.parametrize("command", [["export", "--onnx", "x.onnx"], ["bench"]])
@pytest.mark.parametrize("size", ["9" * 5000 + "x16", "x", "16x16x16", "0640x-360"])
def test_sizes_that_are_none(
    command: list[str], size: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run([*command, "--size", size]) == 2
    assert "is no size. Write 640x360." in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_frames_that_are_too_large_for_a_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"9999999x5 is no size of a frame"):
        export_onnx(str(tmp_path / "x.onnx"), size=(9_999_999, 5))
    assert list(tmp_path.iterdir()) == []

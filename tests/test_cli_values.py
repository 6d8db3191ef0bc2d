"""Values on the command line that look like none, or like more than they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from synth import make_clip

from vsr.cli.entry import run
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

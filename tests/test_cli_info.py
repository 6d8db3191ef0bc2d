"""``vsr info``, ``presets`` and ``doctor``, and the texts they are made of."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
import torch
from synth import Subtitle, make_clip

from vsr.cli import checks
from vsr.cli.entry import run
from vsr.cli.output import clock_text, hang, rate_text, size_text, table, time_text
from vsr.cli.params import seconds
from vsr.media.codecs import CODECS
from vsr.media.read.gpu.dali import DaliReader
from vsr.media.read.gpu.nvdec import NvdecReader
from vsr.media.read.reader import READERS
from vsr.models.registry import MODELS
from vsr.preset import find_presets, load_preset
from vsr.preset.text import preset_toml
from vsr.types import Color, ColorRange, Matrix, Primaries, Transfer

Captured = pytest.CaptureFixture[str]
BT709 = Color(Matrix.BT709, Primaries.BT709, Transfer.BT709, ColorRange.LIMITED)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a user's presets, empty."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = tmp_path / "vsr" / "presets"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", Fraction(0)),
        ("62.5", Fraction(125, 2)),
        (".04", Fraction(1, 25)),
        ("3600", Fraction(3600)),
        ("1:02.5", Fraction(125, 2)),
        ("00:01:02.500", Fraction(125, 2)),
        ("100:00:00", Fraction(360000)),
        ("0.1", Fraction(1, 10)),  # not the nearest float
    ],
)
def test_times_are_exact(text: str, value: Fraction) -> None:
    context = click.Context(click.Command("x"))
    assert seconds(context, click.Option(["--start"]), text) == value


@pytest.mark.parametrize(
    "text", ["", "1:60", "1:60:00", "-1", "1e3", "nan", "1,5", "1:2:3:4", "1h"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        seconds(click.Context(click.Command("x")), click.Option(["--start"]), text)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1 kB"), (12_345_678, "12.3 MB"),
     (999_600_000, "1 GB"), (3_210_000_000_000, "3.21 TB")],
)  # fmt: skip
def test_sizes(size: int, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("duration", "text"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (59.96, "1 min 0 s"), (200, "3 min 20 s"),
     (3599.6, "1 h 0 min"), (7980, "2 h 13 min"), (172_799, "2 days 0 h"), (360_000, "4 days 4 h")],
)  # fmt: skip
def test_lengths_of_time(duration: float, text: str) -> None:
    assert time_text(duration) == text


def test_rates() -> None:
    assert [rate_text(fps) for fps in (123.4, 0.25, 0.04, 0)] == [
        *("123 fps", "0.25 fps", "25 s/frame", "0 fps"),
    ]


def test_places_in_a_file() -> None:
    assert clock_text(Fraction(125, 2)) == "0:01:02.500"
    assert clock_text(Fraction(-1, 24)) == "-0:00:00.042"
    assert clock_text(Fraction(359_999_9996, 10000)) == "100:00:00.000"


def test_wrapping_keeps_names_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    lines = hang(
        "  name  ", "take /a/path-with-hyphens/that/is/long or pip install fdiwn-vsr[dali]"
    )
    assert max(map(len, lines)) <= 60
    assert {line[:8].strip() for line in lines[1:]} == {""}
    assert any("fdiwn-vsr[dali]" in line for line in lines)
    assert table([]) == []


def test_info(tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    clip = tmp_path / "clip.mkv"
    make_clip(
        clip,
        frames=50,
        color=BT709,
        sar=Fraction(16, 15),
        audio="aac",
        subtitles=[Subtitle(Fraction(0), Fraction(1), "Hello")],
        attachments={"font.ttf": b"not really"},
        chapters=[(Fraction(0), Fraction(1), "Opening"), (Fraction(1), Fraction(2), "Ending")],
        metadata={"title": "A clip"},
    )
    assert run(["info", str(clip)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert max(map(len, out.splitlines()[1:])) <= 80
    for expected in (
        "0  video       h264 (High",
        "64x48, yuv420p, pixels 16:15",
        "25 frames/s, 50 frames, ticks of 1/1000 s",
        "colour BT.709, primaries BT709, transfer BT709, limited range",
        "aac (LC), 48000 Hz",
        "2  subtitle    subrip",
        "3  attachment",
        "'font.ttf'",
        "0:00:01.000  Ending",
        "A clip",
    ):
        assert expected in out

    assert run(["info", str(clip), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["streams"][0]["sar"] == "16/15"
    assert found["streams"][0]["color"]["matrix"] == "bt709"
    assert found["streams"][0]["frames"] == 50
    assert [stream["kind"] for stream in found["streams"]] == [
        *("video", "audio", "subtitle", "attachment"),
    ]
    assert len(found["chapters"]) == 2


def test_tags_and_names_do_not_command_the_terminal(tmp_path: Path, capsys: Captured) -> None:
    """Colours, titles of windows, and what moves the cursor, as strangers may write them."""
    evil = "\x1b[31mred\x1b]0;owned\x07\x9b2J\x08"
    path = tmp_path / f"{evil}.mkv"
    chapters = [(Fraction(0), Fraction(1, 25), evil)]
    make_clip(
        path, frames=3, metadata={"title": f"{evil}\n2nd", "comment": evil}, chapters=chapters
    )
    for command in (["info", str(path)], ["plan", str(path), "--model", "bicubic"]):
        assert run(command) == 0
        out, err = capsys.readouterr()
        assert set(out + err) & {*map(chr, range(32)), *map(chr, range(127, 160))} == {"\n"}
        assert "?]0;owned??2J?.mkv" in out
        if command[0] == "info":
            assert "?[31mred?]0;owned??2J? 2nd" in out
            assert out.count("?[31mred") == 3
    assert run(["info", str(path.with_suffix(".mp4"))]) == 3
    assert "\x1b" not in capsys.readouterr().err
    bold = "\x1b[1mhead\x1b[0m  "
    assert hang(bold, f"a{evil}", size=6) == [f"{bold}a?[31mred?]0;owned??2J?"]
    assert table([(evil, "b")]) == ["  ?[31mred?]0;owned??2J?  b"]


def test_info_of_what_is_no_video(tmp_path: Path, capsys: Captured) -> None:
    for path in (tmp_path / "missing.mp4", tmp_path):
        assert run(["info", str(path)]) == 3
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith(f"error: {path}: ")


def test_presets_are_listed_with_their_owner(config: Path, capsys: Captured) -> None:
    (config / "phone.toml").write_text('description = "for the phone"\nextends = ["x2", "hevc"]\n')
    (config / "x2.toml").write_text('description = "my own"\nextends = ["x2"]\n')
    (config / "bad.toml").write_text("[encode]\nqualty = 3\n")
    assert run(["presets"]) == 0
    out, err = capsys.readouterr()
    own, shipped = out.split("\nshipped\n")
    assert own.startswith(f"yours, in {config}\n")
    assert "phone  for the phone\n" in own
    assert "x2     my own (instead of the shipped one)\n" in own
    assert "bad    broken: unknown key 'encode.qualty'" in own
    assert "bad.toml" in err
    names = [line.split()[0] for line in shipped.splitlines() if line.startswith("  ")]
    assert names == sorted(preset.name for preset in find_presets() if preset.origin == "shipped")


def test_presets_as_json(config: Path, capsys: Captured) -> None:
    assert run(["presets", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in listed] == [preset.name for preset in find_presets()]
    assert all(entry["description"] and Path(entry["path"]).is_file() for entry in listed)
    (config / "bad.toml").write_text("x = ")
    assert run(["presets", "--json"]) == 0
    broken = {e["name"]: e["problem"] for e in json.loads(capsys.readouterr().out) if e["problem"]}
    assert list(broken) == ["bad"]
    assert "not valid TOML" in broken["bad"]
    assert run(["presets", "show", "x2-hevc", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["codec"] == "hevc"


@pytest.mark.parametrize(
    "arguments", [["presets", "show", "x2-hevc"], ["weights", "verify"]], ids=" ".join
)
def test_json_may_stand_before_a_subcommand(arguments: list[str], capsys: Captured) -> None:
    assert run([*arguments, "--json"]) == 0
    expected = capsys.readouterr().out
    assert json.loads(expected)
    assert run([arguments[0], "--json", *arguments[1:]]) == 0
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize("name", [preset.name for preset in find_presets()])
def test_a_shown_preset_means_the_same(name: str, config: Path, capsys: Captured) -> None:
    assert run(["presets", "show", name]) == 0
    shown = capsys.readouterr().out
    copy = config / "copy.toml"
    copy.write_text(shown, encoding="utf-8")
    assert "extends" not in tomllib.loads(shown)
    resolved = load_preset(name)
    assert load_preset("copy") == replace(resolved, name="copy", path=str(copy))


def test_a_shown_preset_says_where_values_come_from(config: Path, tmp_path: Path) -> None:
    (config / "x2.toml").write_text(
        '# Mine.\ndescription = "my own"\nextends = ["x2", "hevc"]\n\n'
        '[model]\nweights = "w.safetensors"\n\n[encode]\n# Plays on the old box.\ncodec = "h264"\n'
    )
    shown = preset_toml("x2").splitlines()
    assert shown[0] == f"# {config / 'x2.toml'}"
    assert shown[shown.index('codec = "h264"') - 1] == "# Plays on the old box."
    assert shown[shown.index('name = "fdiwn"') - 1].endswith("(from x2)")
    # Relative to its own file, so that a copy elsewhere finds it.
    assert f'weights = "{config / "w.safetensors"}"' in shown
    # HEVC's wishes went with HEVC; what is left of that preset has nothing to do with the codec.
    assert not any(line.startswith(("speed", "x2 =", "x265")) for line in shown)


def test_unknown_preset(config: Path, capsys: Captured) -> None:
    assert run(["presets", "show", "hecv"]) == 2
    assert "Did you mean 'hevc'?" in capsys.readouterr().err


def test_doctor_looks_at_every_row(capsys: Captured) -> None:
    code = run(["doctor", "--json"])
    findings = json.loads(capsys.readouterr().out)
    named = {(finding["area"], finding["name"]): finding["state"] for finding in findings}
    assert {name for area, name in named if area == "codecs"} == set(CODECS)
    assert {name for area, name in named if area == "models"} == set(MODELS)
    assert {name for area, name in named if area == "readers"} == set(READERS)
    assert named["readers", "pyav"] == named["backends", "torch"] == named["codecs", "h264"] == "ok"
    assert {finding["state"] for finding in findings} <= {"ok", "absent", "failed"}
    assert code == (8 if "failed" in named.values() else 0)
    assert all(finding["text"] for finding in findings)


def test_doctor_says_why_readers_and_encoders_do_not_work(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(NvdecReader, "available", lambda: "torch sees no CUDA device")
    monkeypatch.setattr(DaliReader, "available", lambda: "DALI is not installed")

    def problem(name: str) -> str | None:
        return "the GPU has no encoder for it" if CODECS[name].hardware else None

    monkeypatch.setattr("vsr.media.codecs.encoder_problem", problem)
    run(["doctor"])
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "ok pyav every sample exact" in lines
    assert "- nvdec torch sees no CUDA device" in lines
    assert "- dali DALI is not installed" in lines
    assert "- hevc_nvenc the GPU has no encoder for it" in lines


def test_doctor_says_what_trains_the_trunk(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    why, single = "it has not been built here", "ok float32 trunk on cpu in C++ with AVX2"
    names = {torch.bfloat16: "AVX512-BF16", torch.float32: "AVX2"}
    half = (
        "ok bfloat16 trunk on cpu in C++ with AVX512-BF16",
        f"- bfloat16 trunk in torch, not C++: {why}",
    )
    for absent, row in ({}, half[0]), ({torch.bfloat16: why}, half[1]):
        found = {
            dtype: SimpleNamespace(name=names[dtype]) for dtype in names if dtype not in absent
        }
        monkeypatch.setattr("vsr.models.trunk_native.problem", absent.get)
        monkeypatch.setattr("vsr.models.trunk_native.library", found.get)
        run(["doctor"])
        lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
        at = lines.index("training")
        assert lines[at + 1 : at + 3] == [row, single]


def test_doctor_fails_where_something_essential_does(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    problem = "FFmpeg was built without the encoder libx264"
    monkeypatch.setattr("vsr.media.codecs.encoder_problem", lambda _: problem)
    assert run(["doctor"]) == 8
    out = capsys.readouterr().out
    assert any(
        line.startswith("  !   h264 ") and line.endswith(problem) for line in out.split("\n")
    )
    assert any(line.startswith("  -   h264_nvenc ") for line in out.split("\n"))
    assert max(map(len, out.splitlines()[3:])) <= 80


@pytest.mark.parametrize("check", ["_machine", "_torch", "_backends"])
def test_doctor_goes_on_where_one_check_breaks(
    check: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Iterator[checks.Finding]:
        raise PackageNotFoundError("onnxruntime")
        yield

    broken.__name__ = check
    monkeypatch.setattr(checks, check, broken)
    assert run(["doctor", "--json"]) == 8
    found = json.loads(capsys.readouterr().out)
    assert [f["text"] for f in found if f["state"] == "failed"] == [
        "PackageNotFoundError: No package metadata was found for onnxruntime"
    ]
    assert any(f["name"] == "h264" for f in found)


def test_doctor_survives_a_missing_library(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_torch(name: str) -> None:
        raise ImportError(f"no {name} today")

    monkeypatch.setattr(checks, "import_module", without_torch)
    assert run(["doctor"]) == 8
    assert "cannot be imported: no torch today" in capsys.readouterr().out

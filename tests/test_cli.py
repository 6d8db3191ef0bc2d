"""The command line's frame: help, messages, exit codes, signals, completion."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vsr import __version__
from vsr.cli.commands import presets as presets_module
from vsr.cli.entry import run
from vsr.cli.group import COMMANDS
from vsr.errors import (
    EXIT_CODES,
    DecodeError,
    EncodeError,
    InputError,
    OutOfMemoryError,
    VsrError,
    exit_code,
)

ROOT = Path(__file__).resolve().parent.parent

Captured = pytest.CaptureFixture[str]


def vsr(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """``python -m vsr`` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "vsr", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONWARNINGS": "error", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def raising(error: BaseException) -> Any:
    def function(*_: object, **__: object) -> None:
        raise error

    return function


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["upscale", "--help"], ["plan", "-h"], ["presets"], ["completion", "zsh"]],
    ids=" ".join,
)
def test_starts_without_torch_and_av(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from vsr.cli.entry import run\n"
        f"assert run({arguments!r}) == 0\n"
        "heavy = {'torch', 'av', 'numpy', 'tqdm', 'safetensors'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_in_80_columns(
    name: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run([name, "-h"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"Usage: vsr {name}")
    assert "--debug" in out
    assert max(map(len, out.splitlines())) <= 80


def test_help_lists_every_command_with_its_line(capsys: Captured) -> None:
    assert run(["-h"]) == 0
    out = capsys.readouterr().out
    for name, (_, line) in COMMANDS.items():
        assert f"{name} " in out
        assert line in out


def test_every_option_of_upscale_is_an_option_of_plan(capsys: Captured) -> None:
    def options(name: str) -> set[str]:
        assert run([name, "-h"]) == 0
        return {w.strip(",") for w in capsys.readouterr().out.split() if w.startswith("--")}

    how_to_run = {"--quiet", "--devices", "--fresh", "--no-resume", "--ray"}
    assert options("upscale") - options("plan") == how_to_run


def test_version(capsys: Captured) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"vsr {__version__}\n"


def test_no_arguments_show_the_help_and_are_an_error(capsys: Captured) -> None:
    assert run([]) == 2
    out, err = capsys.readouterr()
    assert (out, err.startswith("Usage: vsr")) == ("", True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["upscael"], "there is no command 'upscael'. Did you mean 'upscale'?"),
        (["pyproject.toml"], "Did you mean 'vsr upscale pyproject.toml'?"),
        (["xyzzy"], "there is no command 'xyzzy'. Commands: upscale, plan,"),
        (["upscale", "a.mp4", "--presett", "x2"], "--preset"),
        (["upscale"], "Missing argument 'SRC...'"),
        (["plan", "a.mp4", "b.mp4"], "one SRC at a time: what is 'b.mp4'?"),
        (["upscale", "a.mp4", "-s", "5"], "'5' is not one of '2', '3', '4'"),
        (["upscale", "a.mp4", "--start", "soon"], "'soon' is not a time"),
        (["upscale", "a.mp4", "--end", "1:75"], "more than 59 minutes or seconds"),
        (["upscale", "a.mp4", "--end=-1"], "'-1' is not a time"),
        (["upscale", "a.mp4", "-x", "tune"], "'tune' is no KEY=VALUE"),
        (["upscale", "a.mp4", "--frames", "0"], "--frames"),
        (["upscale", "a.mp4", "--json", "--quiet"], "--json and --quiet exclude each other"),
        (["upscale", "--json", "--bad"], "No such option '--bad'"),
        (["presets", "show"], "Missing argument 'NAME'"),
        (["completion", "cmd.exe"], "cmd.exe"),
    ],
)
def test_wrong_usage(
    arguments: list[str], message: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert err.startswith("error: ")
    assert message in err
    assert "-h` lists what there is." in err
    assert ("./ before it" in err) == ("No such option" in err)
    assert "--json" not in arguments or json.loads(out)["exit_code"] == 2


KINDS = [kind for kind in EXIT_CODES if issubclass(kind, VsrError)]


@pytest.mark.parametrize("kind", [*KINDS, DecodeError, EncodeError, OutOfMemoryError])
def test_errors_say_what_where_and_remedy(
    kind: type[VsrError], capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = kind("it broke", where="a.mp4", remedy="Mend it.")
    monkeypatch.setattr(presets_module, "find_presets", raising(error))
    assert run(["presets"]) == exit_code(error) > 1
    assert capsys.readouterr() == ("", "error: a.mp4: it broke\n  Mend it.\n")

    assert run(["presets", "--json"]) == exit_code(error)
    assert json.loads(capsys.readouterr().out) == {
        "event": "error",
        "kind": type(error).__name__,
        "message": "it broke",
        "where": "a.mp4",
        "remedy": "Mend it.",
        "exit_code": exit_code(error),
    }


def test_bugs_are_owned_up_to(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VSR_DEBUG", raising=False)
    monkeypatch.setattr(presets_module, "find_presets", raising(ZeroDivisionError("by nought")))
    assert run(["presets"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ZeroDivisionError: by nought\n")
    assert f"bug in vsr {__version__}" in err
    assert "--debug" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("how", ["before", "after", "environment"])
def test_debug_shows_the_traceback(
    how: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presets_module, "find_presets", raising(InputError("it broke")))
    monkeypatch.setenv("VSR_DEBUG", "1" if how == "environment" else "0")
    arguments = {"before": ["--debug", "presets"], "after": ["presets", "--debug"]}
    assert run(arguments.get(how, ["presets"])) == 3
    err = capsys.readouterr().err
    assert err.startswith("Traceback (most recent call last):")
    assert err.endswith("error: it broke\n")


def test_a_missing_library_is_no_bug(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = ModuleNotFoundError("No module named 'torch'", name="torch")
    monkeypatch.setattr(presets_module, "find_presets", raising(missing))
    assert run(["presets"]) == 1
    err = capsys.readouterr().err
    assert "The installation is not complete" in err
    assert "bug" not in err


def test_colour_is_for_terminals_only(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    run(["upscael"])
    assert "\x1b" not in capsys.readouterr().err
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    run(["upscael"])
    assert capsys.readouterr().err.startswith("\x1b[31m\x1b[1merror:\x1b[0m there is no command")
    monkeypatch.setenv("NO_COLOR", "1")
    run(["upscael"])
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("SIGINT", 130, "stopped: by Ctrl-C\n"),
        ("SIGTERM", 143, "stopped: by SIGTERM\n"),
        ("SIGHUP", 129, "stopped: by SIGHUP\n"),
    ],
)
def test_signals_end_a_run_tidily(
    name: str, code: int, message: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = getattr(signal, name)
    before = signal.getsignal(number)
    cleaned = []

    def work() -> None:
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(number)  # an impatient second one must not stop the cleaning up
            cleaned.append(True)

    monkeypatch.setattr(presets_module, "find_presets", work)
    assert run(["presets"]) == code
    err = capsys.readouterr().err
    assert err.startswith("stopping: waiting for the frame at hand.")
    assert err.endswith(message)
    assert cleaned == [True]
    assert signal.getsignal(number) is before


def test_ignored_signals_stay_ignored(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    """``nohup`` starts programs so."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        monkeypatch.setattr(
            presets_module, "find_presets", lambda: [signal.raise_signal(signal.SIGHUP)][:0]
        )
        assert run(["presets"]) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_reader_that_goes_away_is_no_error() -> None:
    """As in ``vsr presets | head -0``."""
    receiving, sending = os.pipe()
    os.close(receiving)
    done = subprocess.run(
        [sys.executable, "-m", "vsr", "presets"],
        cwd=ROOT,
        stdout=sending,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(sending)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    done = vsr("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"_VSR_COMPLETE={shell}_complete" in done.stdout
    assert f"vsr completion {shell} >" in done.stdout
    if shell == "zsh":
        assert done.stdout.startswith("#compdef vsr\n")


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("vsr up", ["plain,upscale"]),
        ("vsr ", [f"plain,{name}" for name in COMMANDS]),
        ("vsr upscale --preset x2-h", ["plain,x2-h264", "plain,x2-hevc"]),
        ("vsr presets show arch", ["plain,archive"]),
        ("vsr upscale --preset ./mine", ["file,./mine"]),
        ("vsr upscale --codec hev", ["plain,hevc", "plain,hevc_nvenc"]),
        ("vsr upscale hol", ["file,hol"]),
        ("vsr upscale -o hol", ["file,hol"]),
        ("vsr plan a.mp4 --deinterlace o", ["plain,on", "plain,off"]),
        ("vsr upscale --overw", ["plain,--overwrite"]),
        ("vsr completion b", ["plain,bash"]),
        ("vsr watch st", ["dir,st", "plain,status"]),
        ("vsr watch ./st", ["dir,./st"]),
        ("vsr watch status --a", ["plain,--all"]),
    ],
)
def test_completion(words: str, found: list[str]) -> None:
    done = vsr(_VSR_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(words.count(" ")))
    assert done.returncode == 0, done.stderr
    assert set(found) <= set(done.stdout.split())


def test_models_are_completed() -> None:
    words = "vsr upscale --model fd"
    done = vsr(_VSR_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD="3")
    assert done.stdout.split() == ["plain,fdiwn", "plain,fdiwn-m"]


def test_weights_are_completed() -> None:
    for typed, found in (("cl", "plain,clean"), ("w/x", "file,w/x")):
        words = f"vsr upscale --weights {typed}"
        done = vsr(_VSR_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD="3")
        assert done.stdout.split() == [found]


def test_an_error_outlives_its_reader() -> None:
    """Ctrl-C in a pipeline ends the reader as well: the code is still that of the error."""
    receiving, sending = os.pipe()
    os.close(receiving)
    done = subprocess.run(
        [sys.executable, "-m", "vsr", "info", "missing.mp4", "--json"],
        cwd=ROOT,
        stdout=sending,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(sending)
    assert done.returncode == 3
    assert b"Traceback" not in done.stderr

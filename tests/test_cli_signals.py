"""Signals at bad moments: each ends a run, whatever becomes of its exception."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from vsr.cli import entry
from vsr.cli.commands import presets as presets_module
from vsr.cli.entry import run
from vsr.errors import OutputError

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def during(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], int]:
    """Run ``vsr presets`` with something else for what it does; gives the exit code."""

    def command(work: Callable[[], object]) -> int:
        monkeypatch.setattr(presets_module, "find_presets", lambda: [work()][:0])
        return run(["presets"])

    return command


def drop(number: int) -> None:
    """Get a signal where exceptions are dropped, as in a C library."""
    with suppress(BaseException):
        signal.raise_signal(number)


def wait() -> None:
    """Far longer than any test takes."""
    for _ in range(3000):
        time.sleep(0.01)
    pytest.fail("the signal has not arrived")


def modules(folder: Path, **sources: str) -> None:
    for name, source in sources.items():
        (folder / f"{name}.py").write_text(source)


IMPORTS = """
try:
    import vsr_test_inner
except BaseException:
    vsr_test_inner = None
done = hasattr(vsr_test_inner, "DONE")
"""


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_within_an_import_waits_for_its_end(
    name: str,
    code: int,
    during: Callable[[Callable[[], object]], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    """torch imports NumPy so: what is raised in there is lost, and half a module stays."""
    monkeypatch.syspath_prepend(tmp_path)
    inner = f"import signal\nsignal.raise_signal(signal.{name})\nDONE = True\n"
    modules(tmp_path, vsr_test_outer=IMPORTS, vsr_test_inner=inner)
    imported = []

    def work() -> None:
        import vsr_test_outer  # type: ignore[import-not-found]

        imported.append(vsr_test_outer.done)
        wait()

    try:
        assert during(work) == code
    finally:
        for module in ("vsr_test_outer", "vsr_test_inner"):
            sys.modules.pop(module, None)
    assert imported in ([True], [])  # it may stop right behind the import
    assert capsys.readouterr().err.startswith("stopped: by ")


def test_a_second_signal_within_an_import_says_what_it_waits_for(
    during: Callable[[Callable[[], object]], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    modules(tmp_path, vsr_test_inner="import signal\n" + "signal.raise_signal(15)\n" * 2)

    def work() -> None:
        import vsr_test_inner  # type: ignore[import-not-found]  # noqa: F401

        wait()

    try:
        assert during(work) == 143
    finally:
        sys.modules.pop("vsr_test_inner", None)
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("stopping: waiting for what is being loaded. Once more ends it now")
    assert second == "stopped: by SIGTERM"


def test_a_signal_whose_exception_is_dropped_comes_again(
    during: Callable[[Callable[[], object]], int], capsys: Captured
) -> None:
    def work() -> None:
        drop(signal.SIGTERM)
        wait()

    assert during(work) == 143
    assert capsys.readouterr().err == "stopped: by SIGTERM\n"


def test_a_second_signal_ends_what_the_first_has_not(
    during: Callable[[Callable[[], object]], int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    monkeypatch.setattr(entry, "PATIENCE", 3600.0)

    def work() -> None:
        drop(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the second one was lost as well")

    assert during(work) == 130
    assert capsys.readouterr().err == "stopped: by Ctrl-C\n"


def test_cleaning_up_is_left_alone(
    during: Callable[[Callable[[], object]], int], capsys: Captured
) -> None:
    """Also where the exception is on its way and nobody is handling it."""
    cleaned = []

    def pause(what: str) -> None:
        time.sleep(4 * entry.PATIENCE)
        cleaned.append(what)

    def steps() -> Iterator[None]:
        try:
            yield
        finally:
            pause("generator")

    def work() -> None:
        try:
            for _ in steps():  # closed as soon as nobody has it any more
                signal.raise_signal(signal.SIGTERM)
        finally:
            pause("finally")

    assert during(work) == 143
    assert cleaned == ["generator", "finally"]
    assert capsys.readouterr().err == "stopped: by SIGTERM\n"


@pytest.mark.parametrize(
    ("then", "said"),
    [
        (AttributeError("half a module has no such thing"), ""),
        (OutputError("the disk is full", where="a.mp4"), "; a.mp4: the disk is full"),
        (SystemExit(1), ""),
        (None, ""),
    ],
    ids=str,
)
def test_whatever_follows_a_signal_the_code_is_its(
    then: BaseException | None,
    said: str,
    during: Callable[[Callable[[], object]], int],
    capsys: Captured,
) -> None:
    def work() -> None:
        drop(signal.SIGTERM)
        if then is not None:
            raise then

    assert during(work) == 143
    assert capsys.readouterr().err == f"stopped: by SIGTERM{said}\n"


def test_who_takes_the_signals_over_decides(
    during: Callable[[Callable[[], object]], int], capsys: Captured
) -> None:
    """As ``vsr watch`` does, which ends with 0 when it is stopped."""
    heard = []

    def work() -> None:
        drop(signal.SIGTERM)
        before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
        try:
            for _ in range(3000):
                if heard:
                    time.sleep(3 * entry.PATIENCE)  # it must not come once more
                    return
                time.sleep(0.01)
        finally:
            signal.signal(signal.SIGTERM, before)

    assert during(work) == 0
    assert heard == [signal.SIGTERM]
    assert "stopped" not in capsys.readouterr().err


@pytest.mark.parametrize(("status", "code"), [(7, 7), (0, 1), (None, 1), ("why", 1)])
def test_a_library_that_ends_the_process_is_no_bug(
    status: int | str | None,
    code: int,
    during: Callable[[Callable[[], object]], int],
    capsys: Captured,
) -> None:
    def work() -> None:
        raise SystemExit(status)

    assert during(work) == code
    assert capsys.readouterr().err == f"error: a library has ended the run, with {status!r}\n"


SCRIPT = """
import os, sys
from vsr.cli import entry
from vsr.cli.commands import presets

def work():
    print("to stdout")
    print("to stderr", file=sys.stderr)
    assert open(os.devnull).fileno() > 2
    assert sys.stdin.read() == ""
    return []

presets.find_presets = work
entry.main()
"""


@pytest.mark.skipif(os.name == "nt", reason="needs a shell")
@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_streams_lead_nowhere(closed: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" presets {closed}', sys.executable, SCRIPT],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent.parent,
    )
    assert done.returncode == 0, done.stderr
    assert ("to stdout" in done.stdout) == ("1" not in closed)
    assert ("to stderr" in done.stderr) == ("2" not in closed)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
@pytest.mark.parametrize(
    ("arguments", "code"), [([], 2), (["presets", "show", "nowhere"], 2), (["presets"], 4)]
)
def test_a_full_disk_behind_both_streams_changes_no_code(arguments: list[str], code: int) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "vsr", *arguments],
            stdout=full,
            stderr=full,
            cwd=Path(__file__).parent.parent,
            check=False,
        )
    assert done.returncode == code


LOADING = """
import sys

class Stopped:
    def find_spec(self, name, path=None, target=None):
        if name == "vsr.cli.group":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Stopped())
from vsr.cli import main
main()
"""


def test_a_stop_while_the_program_loads_has_no_traceback() -> None:
    done = subprocess.run([sys.executable, "-c", LOADING], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")

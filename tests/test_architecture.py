"""The rules that keep the tree in shape, checked rather than remembered."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).resolve().parent.parent
MOST_LINES = 400
MOST_FILES = 14
#: GitHub warns from 50 MB; weights are 2.5 MB at most, and nothing else has a reason to be large.
MOST_BYTES = 3 * 1024 * 1024
#: Somebody's home or workspace, which exists on one machine only.
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|Users|work|farm)/\w")
UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b|NotImplemented" + "Error")


def tracked(*patterns: str) -> list[Path]:
    """The files git knows; a file that is about to be added is not judged yet."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    out = subprocess.run(
        ["git", "ls-files", "-z", "--", *patterns], cwd=ROOT, check=True, capture_output=True
    ).stdout.decode()
    return [ROOT / name for name in out.split("\0") if name and (ROOT / name).is_file()]


def test_imports_point_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert lint_imports(config_filename="pyproject.toml", no_logo=True) == 0


@pytest.mark.parametrize("folder", ["vsr", "pipelines", "tests", "tools", "benchmarks"])
def test_files_are_short(folder: str) -> None:
    lines = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / folder).rglob("*.py")
    }
    assert {name: n for name, n in lines.items() if n >= MOST_LINES} == {}


def test_folders_of_the_package_are_small() -> None:
    counts = Counter(
        str(path.parent.relative_to(ROOT))
        for folder in ("vsr", "pipelines")
        for path in (ROOT / folder).rglob("*.py")
    )
    assert {name: n for name, n in counts.items() if n > MOST_FILES} == {}


@pytest.mark.parametrize(
    "arguments",
    [
        ["-c", "import vsr; assert 'upscale' in dir(vsr)"],
        ["-c", "from vsr.cli import main; main()", "--help"],
        ["-c", "from vsr.cli import main; main()", "upscale", "--help"],
    ],
    ids=["import vsr", "vsr --help", "vsr upscale --help"],
)
def test_starting_is_cheap(arguments: list[str]) -> None:
    """torch and av take seconds to load, which nobody should wait for to read a help text."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "vsr.errors" in loaded
    assert loaded.isdisjoint({"torch", "av", "numpy"})


def test_public_names_exist() -> None:
    import vsr

    for name in vsr.__all__:
        assert getattr(vsr, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'upscael'"):
        _ = vsr.upscael


def test_no_path_of_one_machine() -> None:
    found = []
    for path in tracked():
        text = path.read_bytes().decode("utf-8", errors="ignore")
        found += [f"{path.relative_to(ROOT)}: {m[0]}" for m in MACHINE_PATH.finditer(text)]
    assert found == []


def test_nothing_is_left_unfinished() -> None:
    found = []
    for path in tracked("*.py"):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if UNFINISHED.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert found == []


def test_tracked_files_are_small() -> None:
    sizes = {str(path.relative_to(ROOT)): path.stat().st_size for path in tracked()}
    assert {name: size for name, size in sizes.items() if size > MOST_BYTES} == {}


def test_versions_agree() -> None:
    import vsr

    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", changelog, re.MULTILINE)
    assert versions[:1] == [vsr.__version__]


def test_every_dependency_is_imported() -> None:
    """What is installed with the package is what the package uses."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = {re.split(r"[<>=\[ ]", line)[0] for line in project["dependencies"]}
    code = "\n".join(
        path.read_text(encoding="utf-8")
        for folder in ("vsr", "pipelines")
        for path in (ROOT / folder).rglob("*.py")
    )
    used = {n for n in required if re.search(rf"^\s*(?:import|from) {n}\b", code, re.MULTILINE)}
    assert used == required

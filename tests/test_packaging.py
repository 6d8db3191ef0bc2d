"""What users install: the wheel, in an environment of its own, away from the checkout."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import pytest
from synth import make_clip

from vsr import __version__

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source archive as a release is."""
    folder = tmp_path_factory.mktemp("dist")
    # Isolation would download the build backend; the development tools include it. Without CMake
    # the wheel has no native engine, which is not what is tested here.
    command = [sys.executable, "-m", "build", "--no-isolation", "--skip-dependency-check"]
    command += ["--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` folder of an environment that has the wheel.

    Installing torch again would cost a gigabyte and minutes, so the dependencies come from the
    environment the tests run in: a ``.pth`` file appends its folder to the path. It comes after the
    new environment's own packages, and ``.pth`` files inside it (such as the one that makes the
    checkout importable, if it is installed editable) are not followed, so ``vsr`` can only be the
    wheel's.
    """
    folder = tmp_path_factory.mktemp("clean") / "venv"
    venv.create(folder, symlinks=os.name != "nt")
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install"]
    command += ["--quiet", "--no-index", "--no-deps", str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    own = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    shared = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (own / "dependencies.pth").write_text("\n".join(sorted(shared)) + "\n", encoding="utf-8")
    return scripts


def _output(command: list[str], cwd: Path | None = None) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VSR_"))}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_wheel_holds_what_it_must_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    info = f"fdiwn_vsr-{__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"vsr", "pipelines", info}
    assert f"{info}/licenses/LICENSE" in names
    assert {"vsr/py.typed", "pipelines/py.typed"} <= set(names)
    inside = {name for name in names if name.startswith("vsr/presets/")}
    assert inside == {f"vsr/presets/{path.name}" for path in (ROOT / "presets").iterdir()}
    page = {"page.html", "page.css", "viewer.js", "curves.js"}
    assert {f"pipelines/report/{name}" for name in page} <= set(names)
    weights = {name for name in names if name.startswith("vsr/models/weights/")}
    files = (f"{name}_x{scale}.safetensors" for name in ("fdiwn", "fdiwn-m") for scale in (2, 3, 4))
    shipped = {"README.md", "SHA256SUMS", *files}
    assert {f"vsr/models/weights/{name}" for name in shipped} <= weights
    assert {"vsr/engine/native/build.json", "vsr/models/trunk_native/build.json"} <= set(names)
    # One compiler builds both.
    for engine in ("amx", "avx512_bf16", "avx2"):
        training = f"training_{engine}"
        libraries = {
            f"vsr/engine/native/libvsr_{engine}.so",
            f"vsr/models/trunk_native/libvsr_{training}.so",
        }
        assert libraries & set(names) in (set(), libraries)


def _hook() -> Any:
    """The module that builds the C++ with the package."""
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    return build


def test_no_more_files_are_compiled_at_a_time_than_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    build, gigabyte = _hook(), 1 << 30
    monkeypatch.delenv("CMAKE_BUILD_PARALLEL_LEVEL", raising=False)
    cores = SimpleNamespace(usable_cores=lambda: 32)
    monkeypatch.setattr(build, "_module", lambda _root, _name: cores)
    for memory, jobs in ((64 * gigabyte, 32), (4 * gigabyte, 8), (gigabyte // 4, 1)):
        told = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": memory // 4096}
        monkeypatch.setattr(build.os, "sysconf", told.__getitem__, raising=False)
        assert build._jobs(ROOT) == jobs
    monkeypatch.setenv("CMAKE_BUILD_PARALLEL_LEVEL", "3")
    assert build._jobs(ROOT) == 3


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        ({"c++", "cmake", "make"}, []),
        ({"clang++"}, ["cmake>=3.18", "ninja"]),
        ({"g++", "ninja"}, ["cmake>=3.18"]),
        ({"cmake"}, []),
    ],
)
def test_a_compiler_is_all_that_the_native_engine_asks_of_a_system(
    there: set[str], wanted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    build = _hook()
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: name if name in there else None)
    assert build.tools_to_install() == wanted


def test_installed_package_is_whole(installed: Path, tmp_path: Path) -> None:
    code = """
import importlib.metadata, importlib.resources, json, vsr
from vsr.preset import find_presets
print(json.dumps({
    "file": vsr.__file__,
    "version": importlib.metadata.version("fdiwn-vsr"),
    "presets": {preset.name: str(preset.path) for preset in find_presets()},
}))
"""
    facts = json.loads(_output([str(installed / "python"), "-c", code], cwd=tmp_path))
    home = installed.parent.resolve()
    assert Path(facts["file"]).resolve().is_relative_to(home)
    assert facts["version"] == __version__
    assert set(facts["presets"]) >= {"x2", "x3", "x4", "hevc", "x2-hevc"}
    assert all(Path(path).resolve().is_relative_to(home) for path in facts["presets"].values())
    assert _output([str(installed / "vsr"), "--version"], cwd=tmp_path).endswith(__version__)


def test_installed_package_upscales(installed: Path, tmp_path: Path) -> None:
    """The shipped weights, a shipped preset and sound, from a folder that knows no checkout."""
    clip = make_clip(tmp_path / "in.mp4", width=48, height=32, frames=3, audio="aac")
    command = [str(installed / "vsr"), "upscale", "in.mp4", "-s", "2", "-o", "out.mp4", "--quiet"]
    _output(command, cwd=tmp_path)
    with av.open(str(clip.path)) as source, av.open(str(tmp_path / "out.mp4")) as result:
        video = result.streams.video[0]
        assert (video.width, video.height) == (96, 64)
        expected = [frame.time for frame in source.decode(video=0)]
        assert [frame.time for frame in result.decode(video=0)] == pytest.approx(expected)
        assert len(expected) == 3
        assert len(result.streams.audio) == 1


def test_installed_package_compares(installed: Path, tmp_path: Path) -> None:
    """The page's parts are found where the package is, not in a checkout."""
    for name in ("a.mp4", "b.mp4"):
        make_clip(tmp_path / name, width=48, height=32, frames=2)
    command = [str(installed / "vsr"), "compare", "a.mp4", "b.mp4", "-o", "page.html"]
    assert "page" in _output(command, cwd=tmp_path)
    assert (tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")

"""Builds the C++ engine, and the trunk for training, with the package, where that is possible.

Without a compiler or CMake the package is built all the same, for any machine: it then runs and
trains the network with torch. Either way, what happened is written to a ``build.json`` where the
libraries would be, from where ``vsr doctor`` takes it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

#: How much of a failed tool's last words is kept.
_LAST_WORDS = 300
#: Bytes that the compiler needs for one file.
_ROOM_TO_COMPILE = 1 << 29
#: CMake's component -> where in the package its libraries are.
_FOLDERS = {"engine": "vsr/engine/native", "training": "vsr/models/trunk_native"}


class NativeBuildHook(BuildHookInterface[Any]):
    """Hatchling's hook for wheels and editable installations."""

    def dependencies(self) -> list[str]:
        """What building takes besides a compiler, where the system has none of it."""
        return tools_to_install()

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Build into the package's folder, and mark the wheel as this platform's if it worked."""
        why = build_in_place(Path(self.root))
        build_data["artifacts"] += [f"{folder}/build.json" for folder in _FOLDERS.values()]
        if why:
            self.app.display_warning(f"The native engine is left out: {why}")
            return
        build_data["artifacts"] += [f"{folder}/libvsr_*.so" for folder in _FOLDERS.values()]
        build_data["pure_python"] = False
        # No part of it depends on Python's own interface.
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"


def tools_to_install() -> list[str]:
    """Requirements of the build: CMake and what it drives; none where there is no compiler."""
    compilers = (os.environ.get("CXX", "c++"), "g++", "clang++")
    if not any(shutil.which(name) for name in compilers):
        return []
    found = [] if shutil.which("cmake") else ["cmake>=3.18"]
    return found if shutil.which("make") or shutil.which("ninja") else [*found, "ninja"]


def build_in_place(root: Path) -> str:
    """Build the libraries of the checkout ``root`` into it; the reason if there are none then."""
    record = _module(root, "native_build")
    targets = {component: root / folder for component, folder in _FOLDERS.items()}
    for target in targets.values():
        for old in target.glob("libvsr_*.so"):
            old.unlink()
    why = _build(root / "native", targets)
    for target in targets.values():
        record.write_record(target / record.RECORD, root / "native", why)
    return why


def _build(sources: Path, targets: dict[str, Path]) -> str:
    """Configure, build and install; the reason why that is impossible, or nothing."""
    cmake = shutil.which("cmake")
    if cmake is None:
        return "CMake was not found when the package was built"
    # CMake takes make for granted.
    generator = [] if shutil.which("make") or "CMAKE_GENERATOR" in os.environ else ["-G", "Ninja"]
    with tempfile.TemporaryDirectory() as folder:
        for arguments in (
            ["-S", str(sources), "-B", folder, *generator],
            ["--build", folder, "--parallel", str(_jobs(sources.parent))],
            *(
                ["--install", folder, "--component", component, "--prefix", str(target)]
                for component, target in targets.items()
            ),
        ):
            done = subprocess.run([cmake, *arguments], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                said = " ".join((done.stderr or done.stdout).split())
                return f"cmake {arguments[0]} failed: {said[-_LAST_WORDS:]}"
    return ""


def _jobs(root: Path) -> int:
    """How many files to compile at a time; CMake's own default may be all of them.

    As many as there are cores for it and half gigabytes of memory, or what the environment says.
    """
    told = os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL", "")
    if told.isdecimal() and int(told) > 0:
        return int(told)
    cores: int = _module(root, "cores").usable_cores()
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # the system does not tell
        return cores
    return max(1, min(cores, memory // _ROOM_TO_COMPILE))


def _module(root: Path, name: str) -> ModuleType:
    """The package's module of that name, without the package."""
    spec = importlib.util.spec_from_file_location(name, root / "vsr" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    sys.exit(build_in_place(Path(__file__).resolve().parent) or None)

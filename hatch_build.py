"""Builds the C++ engine with the package, where that is possible.

Without a compiler or CMake the package is built all the same, for any machine: it then runs the
network with torch. Either way, what happened is written to ``vsr/engine/native/build.json``, from
where ``vsr doctor`` takes it.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

#: How much of a failed tool's last words is kept.
_LAST_WORDS = 300


class NativeBuildHook(BuildHookInterface[Any]):
    """Hatchling's hook for wheels and editable installations."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Build into the package's folder, and mark the wheel as this platform's if it worked."""
        why = build_in_place(Path(self.root))
        build_data["artifacts"] += ["vsr/engine/native/build.json"]
        if why:
            self.app.display_warning(f"The native engine is left out: {why}")
            return
        build_data["artifacts"] += ["vsr/engine/native/libvsr_*.so"]
        build_data["pure_python"] = False
        # No part of it depends on Python's own interface.
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"


def build_in_place(root: Path) -> str:
    """Build the engine of the checkout ``root`` into it; the reason if there is none afterwards."""
    target = root / "vsr" / "engine" / "native"
    for old in target.glob("libvsr_*.so"):
        old.unlink()
    why = _build(root / "native", target)
    record = {"sources": _digest(root), "why": why}
    (target / "build.json").write_text(json.dumps(record) + "\n", encoding="utf-8")
    return why


def _build(sources: Path, target: Path) -> str:
    """Configure, build and install; the reason why that is impossible, or nothing."""
    cmake = shutil.which("cmake")
    if cmake is None:
        return "CMake was not found when the package was built"
    with tempfile.TemporaryDirectory() as folder:
        for arguments in (
            ["-S", str(sources), "-B", folder],
            ["--build", folder, "--parallel"],
            ["--install", folder, "--prefix", str(target)],
        ):
            done = subprocess.run([cmake, *arguments], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                said = " ".join((done.stderr or done.stdout).split())
                return f"cmake {arguments[0]} failed: {said[-_LAST_WORDS:]}"
    return ""


def _digest(root: Path) -> str:
    path = root / "vsr" / "engine" / "native" / "sources.py"
    spec = importlib.util.spec_from_file_location("vsr_native_sources", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return str(module.digest(root / "native"))


if __name__ == "__main__":
    sys.exit(build_in_place(Path(__file__).resolve().parent) or None)

"""C++ libraries that only tests use; ``native/CMakeLists.txt`` has them under ``VSR_TESTS``."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = ["built"]

_SOURCES = Path(__file__).resolve().parent.parent / "native"


def built(target: str, folder: Path, *, optimised: bool = True) -> Path:
    """The library of a target, built in ``folder``; the test is skipped where that cannot be.

    Args:
        target: its name without ``vsr_``.
        folder: an empty one.
        optimised: for what computes much; else it builds in a fraction of the time.
    """
    if shutil.which("cmake") is None:
        pytest.skip("CMake is not installed")
    if platform.machine().lower() not in {"x86_64", "amd64"}:
        pytest.skip("these are built on x86-64 alone")
    configure = ["cmake", "-S", str(_SOURCES), "-B", str(folder), "-DVSR_TESTS=ON"]
    configure += [f"-DCMAKE_BUILD_TYPE={'Release' if optimised else 'Debug'}"]
    for command in (configure, ["cmake", "--build", str(folder), "--target", f"vsr_{target}"]):
        subprocess.run(command, check=True, capture_output=True)
    return next(folder.rglob(f"libvsr_{target}.so"))

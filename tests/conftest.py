"""Fixtures shared by all tests."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import hypothesis
import pytest
from browser import browser, chromium

if TYPE_CHECKING:
    from synth import Clip

__all__ = ["browser", "chromium", "numpy_benchmark", "reference"]

# No test depends on timing: a machine with other work is slow now and then.
hypothesis.settings.register_profile("vsr", deadline=None)
hypothesis.settings.load_profile("vsr")

if "PYTEST_XDIST_WORKER" in os.environ:
    # There is a worker for each core; more threads than cores make torch several times slower.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def _interpret() -> None:
    """Without a GPU, Triton's kernels are interpreted: it decides when it is first imported."""
    import torch

    if not torch.cuda.is_available():
        os.environ.setdefault("TRITON_INTERPRET", "1")


_interpret()

_ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder of reference material (weights, images, clips) that is never in the repository."""
    folder = Path(os.environ.get("VSR_REFERENCE", _ROOT / ".." / "shared" / "reference")).resolve()
    if not folder.is_dir():
        pytest.skip("reference material not found: set VSR_REFERENCE to its folder")
    return folder


@pytest.fixture(scope="session")
def numpy_benchmark(reference: Path) -> ModuleType:
    """The script that came with the benchmark: resizing, Y and PSNR in numpy."""
    spec = importlib.util.spec_from_file_location("imresize", reference / "imresize_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session", autouse=True)
def _empty_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What somebody keeps in their own cache changes no test, and no test changes that."""
    folder = str(tmp_path_factory.mktemp("cache"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", folder)
        patch.setenv("LOCALAPPDATA", folder)
        yield


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of about eight frames."""
    from pipelines.segments import cut as cutting

    monkeypatch.setattr(cutting, "segment_length", lambda _: 8)


@pytest.fixture(scope="session")
def slow_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 frames at two a second: three segments without any patching, so in any process."""
    from synth import make_clip

    path = tmp_path_factory.mktemp("source") / "in.mp4"
    options = {"g": "12", "bf": "3"}
    make_clip(path, frames=100, rate=2, width=32, height=32, audio="aac", options=options)
    return path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip GPU tests with a reason, unless ``VSR_REQUIRE=cuda`` insists on running them.

    Tests that take the ``browser`` fixture get the mark of that name; the fixture skips.
    """
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
    marked = [item for item in items if item.get_closest_marker("cuda")]
    if not marked or "cuda" in os.environ.get("VSR_REQUIRE", "").split(","):
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no CUDA device (VSR_REQUIRE=cuda to insist)"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """Two frames of 24x16."""
    from synth import make_clip

    return make_clip(tmp_path_factory.mktemp("clip") / "in.mp4", width=24, height=16, frames=2)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained FDIWN x3, as PyTorch writes it."""
    from weights_helpers import untrained

    return untrained(tmp_path_factory.mktemp("checkpoint") / "run7.pt")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of weights of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    return tmp_path / "cache" / "vsr" / "weights"

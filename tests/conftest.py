"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder of reference material (weights, images, clips) that is never in the repository."""
    folder = Path(os.environ.get("VSR_REFERENCE", _ROOT / ".." / "shared" / "reference")).resolve()
    if not folder.is_dir():
        pytest.skip("reference material not found: set VSR_REFERENCE to its folder")
    return folder


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
    """Skip GPU tests with a reason, unless ``VSR_REQUIRE=cuda`` insists on running them."""
    marked = [item for item in items if item.get_closest_marker("cuda")]
    if not marked or os.environ.get("VSR_REQUIRE") == "cuda":
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no CUDA device (VSR_REQUIRE=cuda to insist)"))

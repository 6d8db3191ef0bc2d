"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from browser import browser, chromium

__all__ = ["browser", "chromium", "reference"]

_ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder of reference material (weights, images, clips) that is never in the repository."""
    folder = Path(os.environ.get("VSR_REFERENCE", _ROOT / ".." / "shared" / "reference")).resolve()
    if not folder.is_dir():
        pytest.skip("reference material not found: set VSR_REFERENCE to its folder")
    return folder


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

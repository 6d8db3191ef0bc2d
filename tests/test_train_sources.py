"""``vsr train`` goes on with a run only on what that run began with."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from photos import make_photos

from pipelines.train import train
from vsr.errors import UsageError
from vsr.training.recipe import RECIPES
from vsr.training.settings import TrainSettings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainSettings:
    """Of a run of milliseconds that has images to validate on and weights to start from."""
    monkeypatch.setitem(RECIPES, "fdiwn-m", "tiny_recipe")
    photos = make_photos(tmp_path / "photos", count=2, height=40, width=48)
    more: dict[str, Any] = {"model": "fdiwn-m", "steps": 1, "batch": 1, "patch": 8}
    first = train(TrainSettings(data=str(photos), **more), tmp_path / "first")
    start = shutil.copy(first.weights, tmp_path / "start.safetensors")
    other = make_photos(tmp_path / "other", count=2, height=40, width=48)
    return TrainSettings(data=str(photos), validation=str(other), start_from=str(start), **more)


def change(what: str, settings: TrainSettings) -> str:
    """Change one of a run's sources; where it lies."""
    if what == "weights to start from":
        assert settings.start_from is not None
        path = Path(settings.start_from)
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        return settings.start_from
    folder = settings.data if what == "images" else settings.validation
    assert folder is not None
    shutil.copy(next(Path(folder).rglob("*.png")), Path(folder) / "another.png")
    return folder


@pytest.mark.parametrize("what", ["images", "images for validation", "weights to start from"])
def test_a_run_is_not_resumed_on_something_else(
    settings: TrainSettings, tmp_path: Path, what: str
) -> None:
    out = tmp_path / "run"
    train(settings, out)
    assert train(settings, out).outcome.steps == 1
    where = change(what, settings)
    with pytest.raises(UsageError, match=f"the {what} have changed since the run") as caught:
        train(settings, out)
    assert caught.value.where == where
    assert "--out" in caught.value.remedy
    assert train(settings, tmp_path / "another").outcome.steps == 1


def test_runs_of_old_know_their_images_only(settings: TrainSettings, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(settings, out)
    known = out / "data.txt"
    lines = known.read_text(encoding="ascii").splitlines()
    assert [line.partition(" ")[0] for line in lines[1:]] == ["validation", "start"]
    known.write_text(lines[0] + "\n", encoding="ascii")
    change("images for validation", settings)
    assert train(settings, out).outcome.steps == 1
    change("images", settings)
    with pytest.raises(UsageError, match="the images have changed"):
        train(settings, out)

"""``vsr train`` goes on with a run only on what that run began with."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from photos import make_photos

from pipelines.train import train
from vsr.errors import InputError, NameTakenError, UsageError
from vsr.training.recipe import RECIPES
from vsr.training.settings import LARGEST_SEED, TrainSettings


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


def test_a_folder_may_be_written_otherwise(
    settings: TrainSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = replace(settings, data="photos", validation=None)
    train(settings, "run")
    for data in ("photos/", f".{os.sep}photos"):
        again = train(replace(settings, data=data), "run").outcome
        assert (again.steps, again.step_ms) == (1, 0)
    with pytest.raises(UsageError, match="data: other instead of photos"):
        train(replace(settings, data="other"), "run")


def test_a_run_s_files_that_are_damaged(settings: TrainSettings, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(settings, out)
    known = (out / "data.txt").read_bytes()
    (out / "data.txt").write_bytes(b"\xff\n")
    with pytest.raises(UsageError, match="the images have changed since the run"):
        train(settings, out)
    (out / "data.txt").unlink()
    with pytest.raises(InputError, match="the run has lost its data") as caught:
        train(settings, out)
    assert "--start-from" in caught.value.remedy
    (out / "data.txt").write_bytes(known)
    log = (out / "log.csv").read_bytes()
    for damaged in (log + b"\xff", log + b"2,a,b,c,d,e,f\n", log + b"\0" * 4 + b",,,,,,1\n"):
        (out / "log.csv").write_bytes(damaged)
        with pytest.raises(InputError, match="the run's log cannot be read") as caught:
            train(settings, out)
        assert caught.value.where == str(out / "log.csv")
        assert (out / "log.csv").read_bytes() == damaged
    (out / "log.csv").unlink()
    assert train(settings, out).outcome.steps == 1


def test_seeds_that_are_too_large(settings: TrainSettings, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="seed must be at most"):
        replace(settings, seed=LARGEST_SEED + 1)
    largest = replace(settings, seed=LARGEST_SEED, validation=None, start_from=None)
    assert train(largest, tmp_path / "run").outcome.steps == 1


@pytest.mark.parametrize(
    "name", ["checkpoint.pt", "fdiwn-m_x2.safetensors", "log.csv", "curves.png"]
)
def test_a_new_run_neither_takes_nor_replaces_what_is_there(
    settings: TrainSettings, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    shutil.copy(tmp_path / "first" / name, out)
    before = (out / name).read_bytes()
    settings = replace(settings, steps=2)
    with pytest.raises(NameTakenError, match=f"the folder has {name} and no settings.json"):
        train(settings, out)
    assert (out / name).read_bytes() == before
    assert not (out / "settings.json").exists()
    (out / name).unlink()
    assert train(settings, out).outcome.steps == 2

"""Drawings that are trained on beside photos."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from photos import make_photos

from pipelines.train import Started, TrainEvent, train
from vsr.errors import DependencyError
from vsr.models.bicubic import imresize
from vsr.models.weights import read_metadata
from vsr.training.data import drawings
from vsr.training.data.drawings import draw
from vsr.training.data.images import find_images
from vsr.training.data.store import drawing_names, hold_out, prepare
from vsr.training.recipe import RECIPES
from vsr.training.settings import TrainSettings


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawings of 92 pixels, which take milliseconds."""
    monkeypatch.setattr(drawings, "SIDE", 92)


def test_a_number_is_a_drawing() -> None:
    first, second = draw(0), draw(1)
    assert (first.shape, first.dtype) == ((92, 92, 3), np.uint8)
    assert (first == draw(0)).all()
    assert (first != second).mean() > 0.5


def test_they_have_what_photos_lack() -> None:
    """Steps of most of the range from a pixel to the next, and flat ground beside them."""
    grey = np.stack([draw(number).mean(2) for number in range(6)])
    steps = np.abs(np.diff(grey, axis=2))
    assert steps.max() > 120
    assert (steps > 40).mean() > 0.02
    assert np.median(steps) < 12


@pytest.mark.parametrize("scale", [2, 3])
def test_a_store_has_them_after_the_images(scale: int, tmp_path: Path) -> None:
    folder = make_photos(tmp_path / "photos")
    images = find_images(folder)
    seen: list[tuple[int, int]] = []
    store = prepare(
        images, folder, tmp_path / "store", scale=scale, patch=8, drawings=2,
        on_image=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert seen[-1] == (len(images) + 2, len(images) + 2)
    assert [entry.name for entry in store.entries[-2:]] == drawing_names(2)
    for number, entry in enumerate(store.entries[-2:]):
        side = 92 // scale * scale
        expected = draw(number)[:side, :side]
        lr, hr = store.pair(entry)
        assert (hr.numpy() == expected).all()
        assert (lr.numpy() == imresize(expected, 1 / scale)).all()


def test_some_are_trained_on_and_some_validated_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RECIPES, "fdiwn-m", "tiny_recipe")
    folder = make_photos(tmp_path / "photos")
    names = [path.name for path in find_images(folder)]
    begun: list[Started] = []

    def listen(event: TrainEvent) -> None:
        if isinstance(event, Started):
            begun.append(event)

    for count in (0, 1, 20):
        settings = TrainSettings(
            model="fdiwn-m", data=str(folder), steps=2, batch=1, patch=8, drawings=count
        )
        report = train(settings, tmp_path / f"run{count}", on_event=listen)
    held = len(hold_out(names))
    counts = [(event.training, event.validation) for event in begun]
    assert counts == [(3 - held, held), (4 - held, held), (21 - held, held + 2)]
    metadata = read_metadata(Path(report.weights))
    assert metadata["data"] == f"photos: {len(names)} images and 20 drawings"


def test_without_opencv_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    monkeypatch.delitem(sys.modules, "vsr.training.data.drawings")
    folder = make_photos(tmp_path / "photos")
    with pytest.raises(DependencyError, match="OpenCV") as caught:
        prepare(find_images(folder), folder, tmp_path / "s", scale=2, patch=8, drawings=1)
    assert "train" in caught.value.remedy
    assert not (tmp_path / "s").exists()

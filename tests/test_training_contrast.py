"""Photos with more contrast: what they are, and how a store and a run take them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from photos import make_photos, photo

from pipelines.train import Started, TrainEvent, train
from vsr.models.bicubic import imresize
from vsr.models.weights import read_metadata
from vsr.training.data.contrast import contrast_name, harder
from vsr.training.data.images import find_images
from vsr.training.data.store import hold_out, prepare
from vsr.training.recipe import RECIPES
from vsr.training.settings import TrainSettings


def spread(picture: np.ndarray) -> float:
    """Mean step between neighbours, codes."""
    return float(np.abs(np.diff(picture.astype(int), axis=1)).mean())


@pytest.mark.parametrize("name", ["a.png", "b.png", "c.jpg", "d/e.webp"])
def test_it_has_the_same_shapes_and_steeper_edges(name: str) -> None:
    pixels = photo(61, 80, 3)
    steep, half = harder(pixels, name), imresize(pixels, 0.5)
    assert steep.shape == half.shape == (31, 40, 3)
    assert (harder(pixels, name) == steep).all()
    assert spread(steep) > 1.3 * spread(half)
    # Each of its colours is one of the photo's, stretched or inverted.
    flat = [half[..., c].ravel() for c in range(3)]
    matched = {
        max(range(3), key=lambda c: abs(np.corrcoef(steep[..., k].ravel(), flat[c])[0, 1]))
        for k in range(3)
    }
    assert matched == {0, 1, 2}
    for k in range(3):
        assert max(abs(np.corrcoef(steep[..., k].ravel(), f)[0, 1]) for f in flat) > 0.9


def test_names_make_different_pictures() -> None:
    pixels = photo(40, 40, 1)
    assert not (harder(pixels, "a.png") == harder(pixels, "b.png")).all()


@pytest.mark.parametrize("scale", [2, 3])
def test_a_store_has_them_after_each_image(scale: int, tmp_path: Path) -> None:
    """In as many sizes, as long as they are no smaller than a patch."""
    folder = make_photos(tmp_path / "photos", count=2, height=130, width=150)
    images = find_images(folder)
    store = prepare(
        images, folder, tmp_path / "store", scale=scale, patch=8, sizes=2, contrast=True
    )
    names = [n for i in ("0.png", "1.png") for n in [i] * 2 + [contrast_name(i)] * 2]
    assert [entry.name for entry in store.entries] == names
    hr = store.pair(store.entries[0])[1].numpy()
    expected = harder(hr, "0.png")
    expected = expected[: len(expected) // scale * scale, : expected.shape[1] // scale * scale]
    lr, steep = store.pair(store.entries[2])
    assert (steep.numpy() == expected).all()
    assert (lr.numpy() == imresize(expected, 1 / scale)).all()


def test_images_too_small_for_it_have_none(tmp_path: Path) -> None:
    folder = make_photos(tmp_path / "photos", count=2, height=30, width=40)
    store = prepare(find_images(folder), folder, tmp_path / "s", scale=2, patch=8, contrast=True)
    assert [entry.name for entry in store.entries] == ["0.png", "1.png"]


def test_they_are_trained_on_and_not_validated_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RECIPES, "fdiwn-m", "tiny_recipe")
    folder = make_photos(tmp_path / "photos")
    names = [path.name for path in find_images(folder)]
    begun: list[Started] = []

    def listen(event: TrainEvent) -> None:
        if isinstance(event, Started):
            begun.append(event)

    settings = TrainSettings(
        model="fdiwn-m", data=str(folder), steps=2, batch=1, patch=8, contrast=True
    )
    report = train(settings, tmp_path / "run", on_event=listen)
    held = len(hold_out(names))
    assert [(e.training, e.validation) for e in begun] == [(2 * (len(names) - held), held)]
    metadata = read_metadata(Path(report.weights))
    assert metadata["data"] == f"photos: {len(names)} images, with more contrast too"

"""Weights files: what is written is read, what is broken says so, what ships is complete."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from vsr.errors import ModelError
from vsr.models.fdiwn import Fdiwn, Variant
from vsr.models.registry import load_model
from vsr.models.weights import (
    FOLDER,
    read_metadata,
    read_weights,
    save_weights,
    sha256,
    shipped,
    shipped_path,
)


def test_round_trip(tmp_path: Path) -> None:
    state = Fdiwn(2).state_dict()
    path = tmp_path / "weights.safetensors"
    save_weights(path, state, {"model": "fdiwn", "scale": "2"})
    again = read_weights(path)
    assert again.keys() == state.keys()
    assert all(torch.equal(again[key], state[key]) for key in state)
    assert read_metadata(path) == {"model": "fdiwn", "scale": "2"}
    assert sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert list(tmp_path.iterdir()) == [path]


def test_half_precision_files_come_back_as_float32(tmp_path: Path) -> None:
    path = tmp_path / "half.pt"
    torch.save({"x": torch.ones(3, dtype=torch.float16)}, path)
    assert read_weights(path)["x"].dtype == torch.float32


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such weights file") as error:
        read_weights(tmp_path / "nowhere.pt")
    assert error.value.where.endswith("nowhere.pt")
    assert error.value.remedy == "Check the path."


def test_the_name_of_a_set_where_a_file_is_needed() -> None:
    with pytest.raises(ModelError, match="name of a set, and a file is needed here"):
        read_weights(Path("clean"))


@pytest.mark.parametrize("name", ["text.pt", "text.safetensors", "text"])
@pytest.mark.parametrize(
    "content", [b"", b"not weights at all, " * 20, b"import os\n", b"hello world\n" * 10]
)
def test_unreadable_file(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelError, match="not a readable weights file") as error:
        read_weights(path)
    assert "weights_only" not in str(error.value)


def test_damaged_checkpoints_are_unreadable_whatever_the_damage(tmp_path: Path) -> None:
    """The older format, too: each byte of its head is another kind of trouble for torch."""
    path, seen = tmp_path / "damaged.pt", 0
    torch.save({"x": torch.ones(3)}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            read_weights(path)
        except ModelError:
            seen += 1
    assert seen > 100


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_cut_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut{suffix}"
    state = Fdiwn(2).state_dict()
    if suffix == ".pt":
        torch.save(state, path)
    else:
        save_weights(path, state, {})
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(ModelError, match="not a readable weights file"):
        read_weights(path)


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    path = tmp_path / "evil.pt"
    torch.save({"x": _Evil()}, path)
    with pytest.raises(ModelError, match="not a readable weights file"):
        read_weights(path)
    assert not _Evil.ran


class _Evil:
    ran = False

    def __reduce__(self) -> tuple[object, ...]:
        return (_run, ())


def _run() -> None:
    _Evil.ran = True


@pytest.mark.parametrize(
    "content",
    [{"step": 3, "net": {"x": torch.zeros(1)}}, {0: torch.zeros(1)}, [torch.zeros(1)]],
    ids=["checkpoint", "numbers", "list"],
)
def test_what_is_not_a_state_dictionary_is_refused(content: object, tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    torch.save(content, path)
    with pytest.raises(ModelError, match="not a dictionary of named tensors"):
        read_weights(path)


@pytest.mark.parametrize("variant", ["fdiwn", "fdiwn-m"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_shipped_weights_fit_and_say_what_they_are(scale: int, variant: Variant) -> None:
    path = shipped_path(variant, scale)
    assert path in shipped()
    Fdiwn(scale, variant).load_state_dict(read_weights(path))
    metadata = read_metadata(path)
    assert (metadata["model"], metadata["scale"]) == (variant, str(scale))
    assert metadata["training"]


def test_the_model_card_names_every_shipped_file_with_its_hash() -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    for path in shipped():
        assert path.name in card
        assert sha256(path) in card


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.safetensors")), ids=lambda path: path.stem)
def test_shipped_weights_hold_in_half_precision(path: Path) -> None:
    # Flat and smooth pictures, where deviations are near 0 and what divides by them is large: a
    # unit whose scalar is nearly 0 overflowed here, and on no white noise.
    metadata = read_metadata(path)
    full, half = (
        load_model(metadata["model"], int(metadata["scale"]), path, dtype=dtype)
        for dtype in (torch.float32, torch.float16)
    )
    ramp = torch.linspace(0, 255, 20).expand(1, 3, 20, 20)
    for picture in (torch.full((1, 3, 20, 20), 90.0), ramp, (ramp + 2 * ramp.mT) / 3):
        difference = (half(picture) - full(picture)).abs().max()
        assert difference < 0.5  # false where it is not a number

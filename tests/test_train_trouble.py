"""``vsr train`` where something is in its way: another process, a full disk, unusable images."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from photos import make_photos, photo
from PIL import Image

from pipelines.train import Prepared, train
from vsr.cli.entry import run
from vsr.errors import InputError, OutOfMemoryError, OutputError, UsageError
from vsr.training.data.images import find_images
from vsr.training.data.store import prepare
from vsr.training.data.usable import PANNED, VALIDATED
from vsr.training.learner import Learner
from vsr.training.loop import Stepped
from vsr.training.recipe import RECIPES, recipe_for
from vsr.training.settings import TrainSettings


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs train two convolutions, which takes milliseconds."""
    monkeypatch.setitem(RECIPES, "fdiwn-m", "tiny_recipe")
    return make_photos(tmp_path / "photos", count=2, height=40, width=48)


def tiny(photos: Path, **wishes: Any) -> TrainSettings:
    settings = {"model": "fdiwn-m", "data": str(photos), "steps": 2, "batch": 1, "patch": 8}
    return TrainSettings(**settings | wishes)


def test_one_process_at_a_time_works_at_a_run(photos: Path, tmp_path: Path) -> None:
    out, refused = tmp_path / "run", []

    def meanwhile(event: object) -> None:
        if isinstance(event, Stepped) and not refused:
            with pytest.raises(UsageError) as caught:
                train(tiny(photos), out)
            refused.append(caught.value)
            train(tiny(photos), tmp_path / "another")

    assert train(tiny(photos), out, on_event=meanwhile).outcome.steps == 2
    assert refused[0].what.startswith("another `vsr train` works with this run: process")
    assert str(os.getpid()) in refused[0].what
    assert refused[0].where == str(out)
    assert train(tiny(photos), out).outcome.steps == 2


def test_what_a_killed_process_left_half_written_goes(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    hexadecimal = "0123456789abcdef"
    names = ("checkpoint.pt", "settings.json", "log.csv", "fdiwn-m_x2.safetensors")
    for name in names:
        (out / f".{name}.{hexadecimal}.part").write_bytes(b"half")
    others = {f".{hexadecimal}.part", f".mine.{hexadecimal}.part", "checkpoint.part"}
    for name in others:
        (out / name).touch()
    train(tiny(photos), out)
    assert {path.name for path in out.iterdir() if path.suffix == ".part"} == others


def test_settings_are_there_whole_or_not_at_all(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run whose first write was cut can be begun again."""
    out = tmp_path / "run"

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    for calls in (0, 1):
        left = iter([lambda _: None] * calls)
        with monkeypatch.context() as patched:
            patched.setattr("os.fsync", lambda file, left=left: next(left, full)(file))
            with pytest.raises(OutputError, match="No space left on device"):
                train(tiny(photos), out)
        assert not (out / "settings.json").exists()
        assert not list(out.glob("*.part")) + list(out.glob(".*.part"))
    assert train(tiny(photos), out).outcome.steps == 2
    assert json.loads((out / "settings.json").read_text(encoding="utf-8"))["patch"] == 8


@pytest.mark.parametrize("limit", [3000, 20_000])
def test_a_full_disk_ends_the_run_and_leaves_no_parts(
    limit: int, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The store does not fit into the smaller, the checkpoint not into the larger."""
    resource = pytest.importorskip("resource")
    out, store = tmp_path / "run", tmp_path / "store"
    line = (
        f"train --model fdiwn-m --data {photos} -o {out} --store {store} --steps 2 --batch 1 "
        "--patch 8 --save-every 1 --json"
    )
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        code = run(line.split())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    said = capsys.readouterr()
    assert code == 4, said
    assert "File too large" in said.err
    assert (out / "settings.json").is_file()
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".part")]
    assert len(list(store.iterdir())) == (limit > 3000)
    assert run(line.split()) == 0


def test_a_store_that_cannot_be_made(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    line = f"train --model fdiwn-m --data {photos} -o {tmp_path / 'run'} --patch 8 --store"
    assert run([*line.split(), str(tmp_path / "file" / "x")]) == 4
    said = capsys.readouterr().err
    assert "prepared images cannot be written (Not a directory)" in said
    assert "--store" in said


def test_weight_decay_is_adamw_s(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(f"train --data {photos} -o {photos / 'r'} --weight-decay 0.1".split()) == 2
    assert "weight decay is adamw's, and the optimiser is muon" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["photos/run", "photos"])
def test_what_a_run_makes_is_not_trained_on(place: str, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / place
    train(tiny(photos), out)
    Image.fromarray(photo(40, 48, 7)).save(out / "curves.png")
    if out != photos:
        (out / "seen").mkdir()
        Image.fromarray(photo(40, 48, 7)).save(out / "seen" / "still.png")
    assert train(tiny(photos), out).outcome.steps == 2
    assert [path.name for path in find_images(photos)] == ["0.png", "1.png"]
    known = (out / "data.txt").read_text(encoding="ascii")
    other = tmp_path / "other"
    train(tiny(photos), other)
    assert (other / "data.txt").read_text(encoding="ascii") == known


def test_folders_that_are_named_are_left_out_before_there_is_a_run(photos: Path) -> None:
    make_photos(photos / "store", count=1)
    assert len(find_images(photos)) == 3
    relative = photos / "x" / ".." / "store"
    (photos / "x").mkdir()
    assert [path.name for path in find_images(photos, but=[relative])] == ["0.png", "1.png"]
    assert len(find_images(photos, but=[photos, photos.parent])) == 2 + 1


def test_a_folder_with_settings_alone_is_no_run(photos: Path) -> None:
    make_photos(photos / "a", count=1)
    (photos / "a" / "settings.json").touch()
    assert len(find_images(photos)) == 3


@pytest.mark.parametrize(
    ("wishes", "side", "said", "remedy"),
    [
        ({"patch": 48}, 40, "40x40 pixels are smaller than a patch (96x96)", "at most 20."),
        ({"patch": 48}, 14, "14x14 pixels are smaller than a patch (96x96)", "of the folder."),
        (
            {"patch": 48, "degrade": "video"}, 108,
            "108x108 pixels are smaller than a patch and the pan of --degrade video over it "
            "(110x110)", "at most 47.",
        ),
        ({"validation": True}, 30, "smaller than what can be validated on (32x32)", "the folder."),
    ],
)  # fmt: skip
def test_small_images_say_what_would_do(
    wishes: dict[str, Any], side: int, said: str, remedy: str, photos: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "small"
    make_photos(folder, count=1, height=side, width=side)
    make_photos(tmp_path / "large", count=2, height=120, width=120)
    Image.fromarray(photo(120, 120, 3)).save(folder / "large.png")
    data = folder
    if wishes.get("validation"):
        wishes, data = {"validation": str(folder)}, tmp_path / "large"
    with pytest.raises(InputError) as caught:
        train(tiny(data, **wishes), tmp_path / "run")
    assert said in caught.value.what
    assert caught.value.remedy.endswith(remedy)
    assert ("--patch" in caught.value.remedy) == remedy.startswith("at most")


def test_the_largest_patch_is_that_which_the_limit_allows() -> None:
    assert PANNED.patch is not None
    for side in range(12, 400):
        largest = PANNED.patch(side)
        assert PANNED.side(largest) <= side < PANNED.side(largest + 1)
    assert VALIDATED.side(8) == VALIDATED.side(99) == 16


def test_all_unusable_images_are_named_before_any_is_prepared(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(25):
        Image.fromarray(photo(20, 20 + number, 9)).save(photos / f"small{number:02}.png")
    whole = (photos / "0.png").read_bytes()
    (photos / "cut.png").write_bytes(whole[: len(whole) // 2])
    made: list[object] = []
    monkeypatch.setattr(
        "vsr.training.data.store.imresize", lambda image, *_: made.append(image) or image
    )
    events: list[object] = []
    with pytest.raises(InputError, match="26 images cannot be used:") as caught:
        train(tiny(photos, patch=16, drawings=3), tmp_path / "run", on_event=events.append)
    lines = caught.value.what.splitlines()
    assert lines[1].startswith("  cut.png: the image cannot be read (")
    assert lines[2:] == [
        f"  small{n:02}.png: {20 + n}x20 pixels are smaller than a patch (32x32)" for n in range(25)
    ]
    assert caught.value.remedy == (
        "Take them out of the folder; for the small ones, choose a --patch of at most 10."
    )
    assert made == []
    assert events == [Prepared(0, 30 + 1)]


def test_what_only_decoding_shows_is_named_too(photos: Path, tmp_path: Path) -> None:
    whole = (photos / "0.png").read_bytes()
    for name in ("a.png", "z.png"):
        (photos / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"2 images .* used:\n  a.png: .*\n  z.png: "):
        prepare(find_images(photos), photos, tmp_path / "s", scale=2, patch=8)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


def test_float32_stays_float32_in_a_step(photos: Path, tmp_path: Path) -> None:
    """What torch would let cuDNN round; whatever else was set stays as it is."""
    seen: list[tuple[bool, bool]] = []
    cudnn = torch.backends.cudnn

    class Spy(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide = torch.nn.Conv2d(3, 12, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append((cudnn.allow_tf32, cudnn.deterministic))
            return torch.nn.functional.pixel_shuffle(self.wide(x), 2)

    learner = Learner(Spy(), recipe_for("fdiwn-m", 2), tiny(photos), torch.device("cpu"))
    lr, hr = torch.rand(1, 3, 8, 8) * 255, torch.rand(1, 3, 16, 16) * 255
    allowed = cudnn.allow_tf32
    for deterministic in (False, True):
        with cudnn.flags(enabled=True, deterministic=deterministic, allow_tf32=True):
            learner.update(lr, hr, 1e-3)
            assert cudnn.allow_tf32
    assert seen == [(False, False), (False, True)]
    assert cudnn.allow_tf32 == allowed


def test_a_step_that_memory_has_no_room_for(photos: Path, tmp_path: Path) -> None:
    """More than a process can address: NumPy refuses it on any machine."""
    with pytest.raises(OutOfMemoryError, match="steps of 100,000,000,000,000 crops") as caught:
        train(tiny(photos, batch=10**14), tmp_path / "run")
    assert "--batch" in caught.value.remedy

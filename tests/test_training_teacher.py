"""What a teacher makes of the pictures: how it is made, kept, drawn from and asked for."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from photos import make_photos, photo
from torch import Tensor

from pipelines.train import Taught, TrainEvent, train
from vsr import Upscaler
from vsr.cli.entry import run
from vsr.errors import InputError, ModelError, OutputError, UsageError
from vsr.metrics import psnr_y
from vsr.models.bicubic import imresize
from vsr.models.weights import read_metadata, save_weights, sha256, shipped_path
from vsr.training.data.crops import Crops
from vsr.training.data.images import find_images
from vsr.training.data.store import Store, prepare
from vsr.training.data.teacher import in_eight_positions, taught
from vsr.training.settings import TrainSettings


def skewed(x: Tensor) -> Tensor:
    """Enlarges twice, and to one corner: no two positions give the same."""
    moved = (x + 3 * x.roll(1, 3) + 5 * x.roll(1, 2)) / 9
    return moved.repeat_interleave(2, 2).repeat_interleave(2, 3)


@given(quarters=st.integers(0, 3), mirrored=st.booleans(), seed=st.integers(0, 999))
@settings(max_examples=30, deadline=None)
def test_a_picture_that_is_turned_gives_the_result_turned(
    quarters: int, mirrored: bool, seed: int
) -> None:
    x = torch.rand(1, 3, 6, 9, generator=torch.Generator().manual_seed(seed)) * 255

    def turn(y: Tensor) -> Tensor:
        y = torch.rot90(y, quarters, (2, 3))
        return y.flip(3) if mirrored else y

    expected = turn(in_eight_positions(skewed, x))
    assert torch.allclose(in_eight_positions(skewed, turn(x)), expected, atol=1e-3)
    if quarters or mirrored:
        assert not torch.allclose(skewed(turn(x)), turn(skewed(x)), atol=1e-3)


def test_eight_positions_are_better_than_one() -> None:
    """The shipped network on a picture that it has never seen, against the original."""
    original = photo(64, 96, 7)
    hr = torch.from_numpy(original).permute(2, 0, 1)[None]
    lr = torch.from_numpy(imresize(original, 1 / 2)).permute(2, 0, 1)[None].float()
    network = Upscaler(2, "fdiwn-m", device="cpu", dtype="float32")
    results = network(lr), in_eight_positions(network, lr)
    once, eight = (float(psnr_y(sr.clamp(0, 255).round(), hr)) for sr in results)
    assert eight > once


def stored(tmp_path: Path) -> tuple[Store, Path]:
    folder = make_photos(tmp_path / "photos", count=3, height=40, width=48)
    target = tmp_path / "store"
    return prepare(find_images(folder), folder, target, scale=2, patch=8, sizes=2), target


def test_pictures_are_the_teacher_s_and_made_once(tmp_path: Path) -> None:
    store, folder = stored(tmp_path)
    part = store.part({"0.png", "2.png"})
    told: list[tuple[int, int]] = []
    asked = taught(part, folder, skewed, "a", on_picture=lambda *done: told.append(done))
    assert told == [(done, 4) for done in range(5)]
    assert asked.taught is not None
    for entry in asked.entries:
        lr, hr = store.pair(entry)
        expected = in_eight_positions(skewed, lr.permute(2, 0, 1)[None].float())
        codes = expected[0].round().to(torch.uint8).permute(1, 2, 0).flatten()
        assert torch.equal(asked.taught[entry.hr : entry.hr + hr.numel()], codes)
    left_out = next(entry for entry in store.entries if entry.name == "1.png")
    assert not asked.taught[left_out.hr : left_out.hr + 3000].any()

    def never(_: Tensor) -> Tensor:
        raise AssertionError

    again = taught(part, folder, never, "a")
    assert again.taught is not None
    assert torch.equal(again.taught, asked.taught)
    for other, teacher in ((part, "b"), (store, "a")):
        with pytest.raises(AssertionError):
            taught(other, folder, never, teacher)


def test_a_teacher_that_was_stopped_goes_on(tmp_path: Path) -> None:
    store, folder = stored(tmp_path)
    whole = taught(store, folder, skewed, "whole").taught
    asked = 0

    def counted(x: Tensor) -> Tensor:
        nonlocal asked
        asked += 1
        return skewed(x)

    def stop(done: int, _: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        taught(store, folder, counted, "a", on_picture=stop)
    assert asked == 8 * 4
    result = taught(store, folder, counted, "a").taught
    assert asked == 8 * len(store.entries) == 8 * 6
    assert result is not None
    assert whole is not None
    assert torch.equal(result, whole)
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", *[".u8"] * 4]


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, folder = stored(tmp_path)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left") as caught:
        taught(store, folder, skewed, "a")
    assert "--store" in caught.value.remedy
    monkeypatch.undo()
    assert taught(store, folder, skewed, "a").taught is not None


def test_damaged_pictures_are_told(tmp_path: Path) -> None:
    store, folder = stored(tmp_path)
    taught(store, folder, skewed, "a")
    (path,) = folder.glob("teacher-*.u8")
    with path.open("r+b") as file:
        file.truncate(100)
    with pytest.raises(InputError, match=r"damaged .*100 bytes instead of") as caught:
        taught(store, folder, skewed, "a")
    assert caught.value.where == str(path)


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_crops_have_their_share_of_the_teacher(share: float, tmp_path: Path) -> None:
    store, folder = stored(tmp_path)
    with_teacher = taught(store, folder, skewed, "a")
    assert with_teacher.taught is not None
    as_hr = Store(store.scale, store.entries, store.lr, with_teacher.taught)
    for step in range(5):
        lr, hr = Crops(with_teacher, 4, 8, seed=3, detail=2, taught=share)(step)
        plain, original = Crops(store, 4, 8, seed=3, detail=2)(step)
        _, teachers = Crops(as_hr, 4, 8, seed=3, detail=2)(step)
        assert torch.equal(lr, plain)
        assert torch.allclose(hr, (1 - share) * original + share * teachers, atol=1e-4)


def wishes(tmp_path: Path, **more: Any) -> TrainSettings:
    folder = make_photos(tmp_path / "photos", count=3, height=40, width=48)
    tiny = {"model": "fdiwn-m", "data": str(folder), "steps": 2, "batch": 1, "patch": 8}
    return TrainSettings(**tiny | {"teacher": str(shipped_path("fdiwn-m", 2))} | more)


def test_a_run_with_a_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it learns is not what it would learn without; it goes on as it began."""
    asked = wishes(tmp_path, teacher=str(tmp_path / "teacher.safetensors"))
    teacher = Path(asked.teacher or "")
    teacher.write_bytes(shipped_path("fdiwn-m", 2).read_bytes())
    events: list[TrainEvent] = []
    report = train(asked, tmp_path / "run", device="cpu", on_event=events.append)
    assert [e.pictures for e in events if isinstance(e, Taught)] == [0, 1, 2]
    metadata = read_metadata(Path(report.weights))
    assert metadata["training"].endswith("75% taught by teacher.safetensors")
    without = train(wishes(tmp_path, teacher=None), tmp_path / "without", device="cpu")
    assert sha256(Path(without.weights)) != sha256(Path(report.weights))
    assert without.outcome.first_psnr == report.outcome.first_psnr  # validated on originals

    assert train(asked, tmp_path / "run", device="cpu").outcome.steps == 2
    teacher.write_bytes(shipped_path("fdiwn", 2).read_bytes())
    with pytest.raises(UsageError, match="the teacher's weights have changed since"):
        train(asked, tmp_path / "run", device="cpu")


def _other_weights(tmp_path: Path) -> Path:
    path = tmp_path / "other.safetensors"
    save_weights(path, {"weight": torch.ones(2)}, {})
    return path


@pytest.mark.parametrize(
    ("teacher", "kind", "words"),
    [
        (lambda _: shipped_path("fdiwn", 3), UsageError, "enlarges 3 times"),
        (_other_weights, ModelError, "not the weights of a model that could teach"),
        (lambda path: path / "missing.safetensors", ModelError, "missing.safetensors"),
    ],
    ids=["scale", "model", "missing"],
)
def test_teachers_that_cannot_teach(
    teacher: Callable[[Path], Path], kind: type[Exception], words: str, tmp_path: Path
) -> None:
    path = teacher(tmp_path)
    with pytest.raises(kind, match=words):
        train(wishes(tmp_path, teacher=str(path)), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "more", [{"degrade": "video"}, {"teacher_share": 0.0}, {"teacher_share": 2.0}]
)
def test_wishes_that_make_no_sense(more: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="teacher"):
        wishes(tmp_path, **more)


def test_a_share_without_a_teacher(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_photos(tmp_path / "photos")
    line = f"train --data {tmp_path}/photos -o {tmp_path}/run --teacher-share 0.5"
    assert run(line.split()) == 2
    assert "--teacher FILE" in capsys.readouterr().err

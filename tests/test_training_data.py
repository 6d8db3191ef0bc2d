"""Images, the store of LR/HR pairs, and the crops that are drawn from it."""

from __future__ import annotations

import os
import struct
import sys
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from photos import make_photos, photo
from PIL import Image

from vsr.errors import DependencyError, InputError
from vsr.models.bicubic import imresize
from vsr.training.data.crops import Batches, Crops
from vsr.training.data.images import find_images, read_image
from vsr.training.data.store import Entry, Store, fingerprint, hold_out, prepare

CPU = torch.device("cpu")


def prepared(folder: Path, scale: int = 2, patch: int = 8, **settings: object) -> Store:
    images = find_images(folder)
    return prepare(images, folder, folder.parent / "store", scale=scale, patch=patch, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "webp"])
def test_lossless_images_are_read_exactly(ending: str, tmp_path: Path) -> None:
    pixels = photo(30, 40, 1)
    Image.fromarray(pixels).save(tmp_path / f"a.{ending}", lossless=True)
    assert (read_image(tmp_path / f"a.{ending}") == pixels).all()


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    grey = photo(20, 30, 2)[..., 0]
    Image.fromarray(grey).save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png") == grey[..., None]).all()


def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    codes = (np.arange(600, dtype=np.uint16) * 109).reshape(20, 30)
    Image.fromarray(codes).save(tmp_path / "a.png")
    expected = np.floor(codes / 257 + 0.5)
    assert (read_image(tmp_path / "a.png") == expected[..., None]).all()


def test_16_bit_rgb_keeps_its_colours(tmp_path: Path) -> None:
    pixels = photo(20, 30, 3)
    cv2.imwrite(str(tmp_path / "a.png"), pixels[..., ::-1].astype(np.uint16) * 257)
    assert np.abs(read_image(tmp_path / "a.png").astype(int) - pixels).max() <= 1


def deep_pixels() -> NDArray[np.uint16]:
    """``(20, 30, 4)``: codes around those where rounding and cutting off differ."""
    codes = np.random.default_rng(8).integers(0, 65536, (20, 30, 4)).astype(np.uint16)
    codes[0, :4, 0] = (255, 128, 129, 65535)
    return codes


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_16_bit_colours_are_rounded(tmp_path: Path, ending: str) -> None:
    codes = deep_pixels()[..., :3]
    cv2.imwrite(str(tmp_path / f"a.{ending}"), codes[..., ::-1])
    read = read_image(tmp_path / f"a.{ending}")
    assert (read == np.floor(codes / 257 + 0.5)).all()
    assert read[0, :4, 0].tolist() == [1, 0, 1, 255]


def test_16_bit_transparency_lies_on_black(tmp_path: Path) -> None:
    codes = deep_pixels()
    cv2.imwrite(str(tmp_path / "a.png"), codes[..., [2, 1, 0, 3]])
    exact = codes[..., :3] / 257.0 * (codes[..., 3:] / 65535.0)
    assert np.abs(read_image(tmp_path / "a.png") - exact).max() <= 1.5


def test_16_bit_colours_are_turned_as_exif_says(tmp_path: Path) -> None:
    codes = deep_pixels()[..., :3]
    _, data = cv2.imencode(".png", codes[..., ::-1])
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    chunk = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    header = bytes(data)[: 8 + 25]  # signature and IHDR
    chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "a.png").write_bytes(header + chunk + bytes(data)[len(header) :])
    expected = np.rot90(np.floor(codes / 257 + 0.5), -1)
    assert (read_image(tmp_path / "a.png") == expected).all()


def test_palette_becomes_its_colours(tmp_path: Path) -> None:
    image = Image.fromarray(photo(20, 30, 4)).quantize(16)
    image.save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png") == np.asarray(image.convert("RGB"))).all()


def test_transparency_lies_on_black(tmp_path: Path) -> None:
    pixels = np.dstack([photo(20, 30, 5), np.zeros((20, 30), np.uint8)])
    pixels[:10, :, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    read = read_image(tmp_path / "a.png")
    assert (read[:10] == pixels[:10, :, :3]).all()
    assert (read[10:] == 0).all()


def test_cmyk_jpeg_keeps_its_colours(tmp_path: Path) -> None:
    flat = np.full((32, 32, 3), (200, 60, 120), np.uint8)
    Image.fromarray(flat).convert("CMYK").save(tmp_path / "a.jpg", quality=98)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - flat).max() < 8


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    pixels = photo(20, 30, 6)
    exif = Image.Exif()
    exif[0x0112] = 6  # stands on its right side: to be turned clockwise
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    assert (read_image(tmp_path / "a.png") == np.rot90(pixels, -1)).all()


@pytest.mark.parametrize(
    ("ending", "options", "size"),
    [
        ("jpg", {}, (100, 1200)),
        ("webp", {"quality": 80}, (100, 1200)),
        ("webp", {"lossless": True}, (200, 2400)),
        ("png", {}, (200, 2400)),
    ],
)
def test_large_lossy_images_are_shrunk(
    ending: str, options: dict[str, object], size: tuple[int, int], tmp_path: Path
) -> None:
    Image.fromarray(photo(200, 2400, 7)).save(tmp_path / f"a.{ending}", **options)
    assert read_image(tmp_path / f"a.{ending}").shape[:2] == size
    assert read_image(tmp_path / f"a.{ending}", shrink=False).shape[:2] == (200, 2400)


def test_small_jpegs_keep_their_size(tmp_path: Path) -> None:
    Image.fromarray(photo(100, 120, 7)).save(tmp_path / "a.jpg")
    assert read_image(tmp_path / "a.jpg").shape[:2] == (100, 120)


@pytest.mark.parametrize("content", [b"", b"no image at all", None], ids=["empty", "text", "cut"])
def test_unreadable_images_are_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(photo(50, 60, 8)).save(path)
    path.write_bytes(path.read_bytes()[:2000] if content is None else content)
    with pytest.raises(InputError, match="cannot be read") as caught:
        read_image(path)
    assert caught.value.where == str(path)
    assert caught.value.remedy


def test_float_images_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.ones((20, 20), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match="no agreed range"):
        read_image(tmp_path / "a.tif")


def test_without_pillow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(DependencyError, match=r"fdiwn-vsr\[train\]"):
        read_image(tmp_path / "a.png")


def test_images_are_found_in_subfolders_in_one_order(tmp_path: Path) -> None:
    for name in ("b/x.PNG", "a.jpeg", "b/.hidden.png", ".cache/y.png", "notes.txt", "c.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [p.relative_to(tmp_path).as_posix() for p in find_images(tmp_path)]
    assert names == ["a.jpeg", "b/x.PNG", "c.webp"]


def test_missing_and_empty_folders_are_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        find_images(tmp_path / "gone")
    with pytest.raises(InputError, match=r"no images.*\n.*\.png"):
        find_images(tmp_path)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_store_gives_back_what_went_in(scale: int, tmp_path: Path) -> None:
    folder = make_photos(tmp_path / "photos", count=2)
    store = prepared(folder, scale)
    for index, entry in enumerate(store.entries):
        whole = photo(70, 90, index)
        expected = whole[: 70 // scale * scale, : 90 // scale * scale]
        lr, hr = store.pair(entry)
        assert entry.name == f"{index}.png"
        assert (hr.numpy() == expected).all()
        assert (lr.numpy() == imresize(expected, 1 / scale)).all()


def test_store_is_prepared_once(tmp_path: Path) -> None:
    folder = make_photos(tmp_path / "photos", count=2)
    seen: list[tuple[int, int]] = []
    tell = lambda done, total: seen.append((done, total))  # noqa: E731
    prepared(folder, on_image=tell)
    assert seen == [(0, 2), (1, 2), (2, 2)]
    again = prepared(folder, on_image=tell)
    assert len(seen) == 3
    assert (again.pair(again.entries[1])[1].numpy() == photo(70, 90, 1)).all()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["photos", "store"]


def test_damaged_store_is_an_error(tmp_path: Path) -> None:
    folder = make_photos(tmp_path / "photos", count=2)
    prepared(folder)
    with (tmp_path / "store" / "hr.u8").open("r+b") as file:
        file.truncate(100)
    with pytest.raises(InputError, match="100 bytes instead of") as caught:
        Store.open(tmp_path / "store")
    assert "Delete this folder" in caught.value.remedy


def test_all_unusable_images_are_named_and_nothing_is_left(tmp_path: Path) -> None:
    folder = make_photos(tmp_path / "photos", count=2)
    Image.fromarray(photo(20, 90, 9)).save(folder / "flat.png")
    (folder / "broken.png").write_bytes(b"x")
    with pytest.raises(InputError) as caught:
        prepared(folder, patch=16)
    message = str(caught.value)
    assert "2 images cannot be used" in message
    assert "flat.png: 90x20 pixels are smaller than a patch (32x32)" in message
    assert "broken.png" in message
    assert [p.name for p in tmp_path.iterdir()] == ["photos"]


def test_fingerprint_changes_with_the_files(tmp_path: Path) -> None:
    folder = make_photos(tmp_path / "photos", count=2)
    images = find_images(folder)
    before = fingerprint(images, folder, 2)
    assert before == fingerprint(images, folder, 2)
    assert before != fingerprint(images, folder, 3)
    assert before != fingerprint(images[:1], folder, 2)
    for number, path in enumerate(images):
        os.utime(path, (number, number))  # as in a copy of the folder
    assert before == fingerprint(images, folder, 2)
    (folder / "1.png").write_bytes(b"other")
    assert before != fingerprint(images, folder, 2)


def test_held_out_images() -> None:
    names = [f"{n:02}" for n in range(77)]
    assert hold_out(names) == {"05", "18", "31", "44", "57", "70"}
    assert hold_out(names[:3]) == {"02"}
    with pytest.raises(InputError, match="--validation"):
        hold_out(names[:1])


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 4), st.integers(0, 2**32), st.integers(0, 10**6), st.integers(1, 3))
def test_crops_of_lr_and_hr_show_the_same_place_in_the_same_way(
    scale: int, seed: int, step: int, detail: int
) -> None:
    """Every pixel of HR is its place; LR is the place of its block's first pixel, in LR pixels."""
    patch, sizes = 5, [(9, 14), (23, 6)]
    lr_flat, hr_flat, entries = [], [], []
    for number, (h, w) in enumerate(sizes):
        lr, hr = (
            np.stack([*np.meshgrid(np.arange(h * s), np.arange(w * s), indexing="ij"),
                      np.full((h * s, w * s), number)], -1).astype(np.uint8)
            for s in (1, scale)
        )  # fmt: skip
        at = [sum(a.size for a in flat) for flat in (lr_flat, hr_flat)]
        entries.append(Entry(str(number), h, w, at[0], at[1], w * scale))
        lr_flat.append(lr.ravel())
        hr_flat.append(hr.ravel())
    flat = [torch.from_numpy(np.concatenate(f)) for f in (lr_flat, hr_flat)]
    store = Store(scale, tuple(entries), *flat)
    lr, hr = Crops(store, 6, patch, seed=seed, detail=detail)(step)
    assert lr.shape == (6, 3, patch, patch)
    assert hr.shape == (6, 3, patch * scale, patch * scale)
    assert lr.is_contiguous(memory_format=torch.channels_last)
    blocks = hr.unfold(2, scale, scale).unfold(3, scale, scale)
    assert torch.equal((blocks[:, :2].amin((-1, -2))) / scale, lr[:, :2])
    assert torch.equal(blocks[:, 2].amax((-1, -2)), lr[:, 2])
    # Within a block, too: one step in HR is one pixel.
    across = hr[:, :2].diff(dim=3).abs().sum(1) + 0
    assert (across == 1).all()


def test_all_eight_flips_and_rotations_come_up(tmp_path: Path) -> None:
    folder = make_photos(tmp_path / "photos", count=1, height=16, width=16)
    store = prepared(folder, patch=8)
    lr, _ = Crops(store, 200, 8, seed=3)(0)
    assert len({crop.numpy().tobytes() for crop in lr}) == 8


def test_crops_are_a_function_of_seed_and_step(tmp_path: Path) -> None:
    store = prepared(make_photos(tmp_path / "photos"))
    first, again = (Crops(store, 4, 8, seed=1, detail=3) for _ in range(2))
    assert torch.equal(first(7)[0], again(7)[0])
    assert not torch.equal(first(7)[0], again(8)[0])
    assert not torch.equal(first(7)[0], Crops(store, 4, 8, seed=2, detail=3)(7)[0])


def test_detail_is_preferred(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    picture = photo(64, 128, 1)
    picture[:, :64] = 90
    Image.fromarray(picture).save(tmp_path / "photos" / "a.png")
    store = prepared(tmp_path / "photos")

    def busy(detail: int) -> float:
        lr, _ = Crops(store, 400, 8, seed=1, detail=detail)(0)
        return float((lr.amax((1, 2, 3)) - lr.amin((1, 2, 3)) > 60).float().mean())

    assert busy(3) > busy(1) + 0.15


def test_batches_come_in_order_and_can_be_sought(tmp_path: Path) -> None:
    store = prepared(make_photos(tmp_path / "photos"))
    crops = Crops(store, 2, 8, seed=5, detail=2)
    with Batches(store, 2, 8, seed=5, detail=2, device=CPU) as batches:
        for step in (0, 1, 2):
            lr, hr = batches.take()
            assert torch.equal(lr, crops(step)[0])
            assert torch.equal(hr, crops(step)[1])
        batches.seek(9)
        assert torch.equal(batches.take()[0], crops(9)[0])


@pytest.mark.parametrize("scale", [2, 3])
def test_images_are_taken_in_several_sizes(scale: int, tmp_path: Path) -> None:
    """As long as they are no smaller than a patch."""
    folder = make_photos(tmp_path / "photos", count=2, height=70, width=90)
    plain = prepared(folder, scale)
    images = find_images(folder)
    store = prepare(images, folder, tmp_path / "more", scale=scale, patch=8, sizes=9)
    fits = 3 if scale == 2 else 2
    assert [entry.name for entry in store.entries] == ["0.png"] * fits + ["1.png"] * fits
    for number in range(2):
        expected = plain.pair(plain.entries[number])[1].numpy()
        for entry in store.entries[number * fits : (number + 1) * fits]:
            lr, hr = store.pair(entry)
            assert (hr.numpy() == expected).all()
            assert (lr.numpy() == imresize(expected, 1 / scale)).all()
            half = imresize(expected, 0.5)
            expected = half[: len(half) // scale * scale, : half.shape[1] // scale * scale]
        assert min(expected.shape[:2]) // scale < 8


def test_two_runs_prepare_the_same_images_once(tmp_path: Path) -> None:
    folder = make_photos(tmp_path / "photos", count=4)
    done: list[int] = []
    both = threading.Barrier(2)

    def run() -> Store:
        both.wait()
        return prepared(folder, on_image=lambda number, _total: done.append(number))

    with ThreadPoolExecutor(2) as pool:
        one, other = (future.result() for future in [pool.submit(run) for _ in range(2)])
    assert sorted(done) in ([0, 0, 1, 2, 3, 4], [0, 1, 2, 3, 4])
    assert one.entries == other.entries
    assert torch.equal(one.hr, other.hr)
    assert not list(tmp_path.glob(".store.part"))

"""LR/HR pairs on disk, prepared once and mapped into memory.

A store is a folder with three files: ``lr.u8`` and ``hr.u8`` hold all pictures one after another,
rows of RGB bytes; ``index.json`` says where each begins. The index is written last, so that a
folder with an index is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vsr.errors import InputError, OutputError
from vsr.models.bicubic import imresize
from vsr.training.data.contrast import contrast_name, harder
from vsr.training.data.usable import PATCH, HrReader, Least, whole

__all__ = [
    "DRAWING_FORMAT",
    "Degrade",
    "Entry",
    "Store",
    "alone",
    "drawing_names",
    "fingerprint",
    "hold_out",
    "mapped",
    "prepare",
]

#: LR picture -> versions of it, each with the place (y, x) of its first pixel in the LR picture.
Degrade = Callable[[NDArray[np.uint8], int], Sequence[tuple[NDArray[np.uint8], int, int]]]

_INDEX = "index.json"
#: Changes when a store is prepared otherwise, so that old ones are not taken.
_FORMAT = 2
#: Changes when a number's drawing is another one.
DRAWING_FORMAT = 1
#: One in so many images is for validation.
HELD_OUT_EVERY = 13
_HELD_OUT_FIRST = 5


@dataclass(frozen=True, slots=True)
class Entry:
    """One pair.

    Attributes:
        name: the image's path in its folder.
        height, width: of the LR picture, pixels.
        lr, hr: where in the files the first pixel is, bytes.
        hr_width: pixels from one row of HR to the next; more than ``scale * width`` where the pair
            is a part of the image.
    """

    name: str
    height: int
    width: int
    lr: int
    hr: int
    hr_width: int


@dataclass(frozen=True, slots=True, eq=False)
class Store:
    """An open store.

    Attributes:
        scale: HR pixels per LR pixel. entries: the pairs.
        lr, hr: the files, flat uint8, mapped into memory: reading a part reads that part of the
            file, and writing changes nothing on disk.
        taught: what a teacher makes of LR, laid out as ``hr``; ``None`` without a teacher.
    """

    scale: int
    entries: tuple[Entry, ...]
    lr: Tensor
    hr: Tensor
    taught: Tensor | None = None

    @classmethod
    def open(cls, folder: Path) -> Store:
        """Open what :func:`prepare` wrote.

        Raises:
            InputError: it is not whole.
        """
        try:
            index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
            entries = tuple(Entry(**entry) for entry in index["entries"])
            lr, hr = (mapped(folder / f"{part}.u8", index[part]) for part in ("lr", "hr"))
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise InputError(
                f"the prepared images are damaged ({error})",
                where=str(folder),
                remedy="Delete this folder; it is prepared again.",
            ) from error
        return cls(index["scale"], entries, lr, hr)

    def pair(self, entry: Entry) -> tuple[Tensor, Tensor]:
        """Both pictures of a pair, ``(H, W, 3)`` uint8, LR first."""
        h, w, s = entry.height, entry.width, self.scale
        lr = self.lr[entry.lr : entry.lr + h * w * 3].view(h, w, 3)
        size, strides = (h * s, w * s, 3), (entry.hr_width * 3, 3, 1)
        return lr, self.hr.as_strided(size, strides, entry.hr)

    def part(self, names: set[str]) -> Store:
        """The same store with the pairs of these images alone."""
        chosen = tuple(entry for entry in self.entries if entry.name in names)
        return replace(self, entries=chosen)


def mapped(path: Path, size: int) -> Tensor:
    """A file of bytes as a flat uint8 tensor; reading a part reads that part of the file.

    Raises:
        ValueError: it has not ``size`` bytes.
        OSError: it cannot be read.
    """
    if path.stat().st_size != size:
        raise ValueError(f"{path.name} has {path.stat().st_size} bytes instead of {size}")
    # Not by torch.from_file(), which takes no path that is not UTF-8.
    return torch.from_numpy(np.memmap(path, np.uint8, "c"))


def hold_out(names: Sequence[str]) -> set[str]:
    """Names of the images that are kept for validation: every thirteenth, one at least.

    Raises:
        InputError: there is only one image.
    """
    if len(names) < 2:
        raise InputError(
            "one image is not enough: one is held out for validation",
            where=names[0] if names else "",
            remedy="Add images, or name others to validate on with --validation FOLDER.",
        )
    return set(names[_HELD_OUT_FIRST::HELD_OUT_EVERY] or names[-1:])


def fingerprint(images: Iterable[Path], folder: Path, *facts: object) -> str:
    """Sixteen hexadecimal digits that change with the files (names, bytes) and ``facts``.

    Not with when the files were written, so that a copied folder is the same one.
    """
    digest = hashlib.sha256(repr((_FORMAT, facts)).encode())
    for path in images:
        found = path.stat()
        name = path.relative_to(folder).as_posix()
        digest.update(repr((name, _of_bytes(path, found.st_size, found.st_mtime_ns))).encode())
    return digest.hexdigest()[:16]


@cache
def _of_bytes(path: Path, _size: int, _mtime_ns: int) -> str:
    """A file's SHA-256; empty if it cannot be read, which is told with the other unusable ones."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def prepare(
    images: Sequence[Path],
    folder: Path,
    target: Path,
    *,
    scale: int,
    patch: int,
    least: Least = PATCH,
    shrink: bool = True,
    degrade: Degrade | None = None,
    drawings: int = 0,
    sizes: int = 1,
    contrast: bool = False,
    on_image: Callable[[int, int], None] = lambda _done, _total: None,
) -> Store:
    """Read every image and store it beside its LR version; does nothing if that has been done.

    Where another process is doing it, this one waits and takes what the other has prepared.

    LR is MATLAB's bicubic, bit for bit, of HR cropped to a multiple of ``scale``.

    Args:
        images: files below ``folder``, which names them.
        folder: see above.
        target: the store; it appears when it is complete.
        scale: HR pixels per LR pixel.
        patch: LR pixels that every side must have.
        least: why so many, for messages.
        shrink: shrink large lossy images first, see :func:`~vsr.training.data.images.read_image`.
        degrade: makes versions of an LR picture; it also gets the image's number.
        drawings: so many are stored after the images, see :mod:`vsr.training.data.drawings`. Their
            names are those of :func:`drawing_names`.
        sizes: every image is stored in so many, each half the one before, as long as it is no
            smaller than a patch; drawings are not.
        contrast: every image is stored with more contrast besides, under the name that
            :func:`~vsr.training.data.contrast.contrast_name` gives, as long as it is no smaller
            than a patch; drawings are not.
        on_image: called with images done and in all.

    Raises:
        InputError: images cannot be read or are too small; all of them are named, a line each, and
            none is prepared any more once one is known.
        OutputError: the store cannot be written.
        DependencyError: Pillow is not installed, or for drawings OpenCV.
    """
    if (target / _INDEX).is_file():
        return Store.open(target)
    on_image(0, len(images) + drawings)
    read = HrReader(folder, scale, patch, least, shrink=shrink)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with alone(target.with_name(f".{target.name}.lock")):
            if not (target / _INDEX).is_file():
                part = target.with_name(f".{target.name}.part")
                shutil.rmtree(part, ignore_errors=True)
                part.mkdir()
                try:
                    _write(
                        images, folder, part, scale, patch, read, degrade, drawings, sizes,
                        contrast, on_image,
                    )  # fmt: skip
                    part.replace(target)
                finally:
                    shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise OutputError(
            f"the prepared images cannot be written ({error.strerror or error})",
            where=str(target.parent),
            remedy="Make room, change the permissions, or choose another folder with --store.",
        ) from error
    return Store.open(target)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until nobody else is in here with the same file, which is only there meanwhile."""
    try:
        import fcntl
    except ImportError:  # Windows: two runs must not prepare the same images at once there.
        yield
        return
    while True:
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not _is_at(file.fileno(), path):
                continue  # the one before has removed this file after we opened it
            try:
                yield
            finally:
                path.unlink()
            return


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def drawing_names(count: int) -> list[str]:
    """What drawings are called in a store; no image is called so."""
    return [f"drawing:{number}" for number in range(count)]


def _write(
    images: Sequence[Path],
    folder: Path,
    part: Path,
    scale: int,
    patch: int,
    read: HrReader,
    degrade: Degrade | None,
    drawings: int,
    sizes: int,
    contrast: bool,
    on_image: Callable[[int, int], None],
) -> None:
    entries: list[Entry] = []
    names = [path.relative_to(folder).as_posix() for path in images] + drawing_names(drawings)
    sources: list[Path | int] = [*images, *range(drawings)]
    read.glance(images)
    with (part / "lr.u8").open("wb") as lr_file, (part / "hr.u8").open("wb") as hr_file:
        for number, (name, source) in enumerate(zip(names, sources, strict=True)):
            if isinstance(source, Path):
                hr = read(source)
            else:
                hr = None if read.failed else _drawn(source, scale)
            if hr is None or read.failed:  # what is left is read only to be named
                continue
            for label, size in _variants(hr, name, source, sizes, contrast, scale, patch):
                lr = imresize(size, 1 / scale)
                for version, y, x in degrade(lr, number) if degrade else [(lr, 0, 0)]:
                    first = hr_file.tell() + (y * scale * size.shape[1] + x * scale) * 3
                    height, width = version.shape[:2]
                    entries.append(
                        Entry(label, height, width, lr_file.tell(), first, size.shape[1])
                    )
                    lr_file.write(np.ascontiguousarray(version).data)
                hr_file.write(np.ascontiguousarray(size).data)
            on_image(number + 1, len(sources))
        lengths = {"lr": lr_file.tell(), "hr": hr_file.tell()}
    if read.failed:
        raise read.error()
    index = {"scale": scale, **lengths, "entries": [asdict(entry) for entry in entries]}
    (part / _INDEX).write_text(json.dumps(index) + "\n", encoding="utf-8")


def _drawn(number: int, scale: int) -> NDArray[np.uint8]:
    """HR of the drawing of a number."""
    from vsr.training.data.drawings import draw

    return whole(draw(number), scale)


def _variants(
    hr: NDArray[np.uint8], name: str, source: Path | int, sizes: int, contrast: bool, scale: int,
    patch: int,
) -> Iterator[tuple[str, NDArray[np.uint8]]]:  # fmt: skip
    """All that is stored of an image or drawing, with what it is called."""
    if isinstance(source, int):
        yield name, hr
        return
    for size in _halved(hr, sizes, scale, patch):
        yield name, size
    if not contrast:
        return
    steep = whole(harder(hr, name), scale)
    if min(steep.shape[:2]) // scale >= patch:
        for size in _halved(steep, sizes, scale, patch):
            yield contrast_name(name), size


def _halved(
    hr: NDArray[np.uint8], sizes: int, scale: int, patch: int
) -> Iterator[NDArray[np.uint8]]:
    """``hr``, and then half of it and so on, as long as it is no smaller than a patch."""
    for number in range(sizes):
        if number:
            hr = whole(imresize(hr, 0.5), scale)
        if number and min(hr.shape[:2]) // scale < patch:
            return
        yield hr

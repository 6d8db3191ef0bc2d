"""Folders of benchmark images: where the pictures are, and which small one belongs to which."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vsr.errors import InputError
from vsr.media.image import IMAGE_ENDINGS

__all__ = ["ImagePair", "find_images"]

#: Where benchmarks keep their ground truth, best known first; the folder itself at last.
_TRUTH = ("HR", "GT", "GTmod12", "original", "")
#: Where they keep the small images of a scale.
_SMALL = ("LR_x{}", "LRx{}", "LR_bicubic/X{}", "LRbicx{}", "LR/x{}", "LR/X{}")


@dataclass(frozen=True, slots=True)
class ImagePair:
    """A ground truth, and the published small image of it, if there is one."""

    name: str
    truth: Path
    small: Path | None


def find_images(folder: str | Path, scale: int) -> list[ImagePair]:
    """The images of a benchmark, sorted by name.

    Args:
        folder: has the ground truth in it or in ``HR``, ``GT``, ``GTmod12`` or ``original``; small
            images, if there are any, in ``LR_x2`` and the like, under the same names (an ``x2`` at
            their end is fine).
        scale: of the small images.

    Raises:
        InputError: there is no such folder, no image in it, two of one name, or a small image is
            missing.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(
            "there is no such folder", where=str(folder), remedy="Name a folder of images."
        )
    truths = next(filter(None, (_images(root / name) for name in _TRUTH)), {})
    if not truths:
        raise InputError(
            "there is no ground truth in this folder",
            where=str(folder),
            remedy="Put the large images into it, or into a folder HR inside it: "
            + ", ".join(IMAGE_ENDINGS),
        )
    small_folder = next(
        (root / name.format(scale) for name in _SMALL if (root / name.format(scale)).is_dir()), None
    )
    if small_folder is None:
        return [ImagePair(name, path, None) for name, path in truths.items()]
    smalls = _by_name((_base(name, scale), path) for name, path in _images(small_folder).items())
    lacking = [name for name in truths if _base(name, scale) not in smalls]
    if lacking:
        raise InputError(
            f"{len(lacking)} of {len(truths)} images have no small one here, the first is "
            f"{lacking[0]}",
            where=str(small_folder),
            remedy="Complete the folder, or remove it: the small images are then computed.",
        )
    return [ImagePair(name, path, smalls[_base(name, scale)]) for name, path in truths.items()]


def _images(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    found = (p for p in folder.iterdir() if p.suffix.lower() in IMAGE_ENDINGS and p.is_file())
    return _by_name((path.stem, path) for path in sorted(found) if not path.name.startswith("."))


def _by_name(named: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    """Raise if two are called the same: either may be the one that is meant."""
    found: dict[str, Path] = {}
    for name, path in named:
        if name in found:
            raise InputError(
                f"{found[name].name} and {path.name} are both the image {name!r}",
                where=str(path.parent),
                remedy="Take one of them out of the folder, or give it another name.",
            )
        found[name] = path
    return found


def _base(name: str, scale: int) -> str:
    """Without what some benchmarks append to the names of small images or of large ones."""
    for ending in (f"_x{scale}", f"x{scale}", "_LR", "_HR", "_GT"):
        if len(name) > len(ending):
            name = name.removesuffix(ending)
    return name

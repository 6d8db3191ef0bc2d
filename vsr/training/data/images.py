"""Images of a folder as 8-bit RGB, whatever they are stored as."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vsr.errors import DependencyError, InputError

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

__all__ = ["CURVES", "DATA", "ENDINGS", "SETTINGS", "find_images", "read_image", "size_told"]

#: Files with other endings are not taken for images.
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
#: A folder with the first two is a training run's; the third is a picture that it makes there.
#: DATA tells the run's sources, a line each; runs of old have the images' alone.
SETTINGS, DATA, CURVES = "settings.json", "data.txt", "curves.png"
#: Lossy images with a longer side from here on are shrunk; smaller ones have no pixels to spare.
LARGE = 2000


def find_images(folder: Path, *, but: Collection[Path] = ()) -> list[Path]:
    """The images below ``folder``, sorted by their path in it; hidden ones are left out.

    What a training run makes is no image to train on, either: left out are folders that are runs,
    and curves where ``folder`` itself is one.

    Args:
        folder: where to look, in subfolders too.
        but: a run's folders, about to be made or there: left out where they are below ``folder``.

    Raises:
        InputError: there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise InputError(
            "there is no such folder", where=str(folder), remedy="Name a folder with images."
        )
    below = list(folder.rglob("*"))
    runs = {p.parent for p in below if p.name == SETTINGS and p.with_name(DATA).is_file()}
    others = {path.resolve() for path in but}
    curves = folder / CURVES if folder in runs or folder.resolve() in others else None
    left_out = {
        *(runs - {folder}),
        *(p for p in below if others and p.is_dir() and p.resolve() in others),
    }
    found = [
        path
        for path in below
        if path.suffix.lower() in ENDINGS
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path != curves
        and left_out.isdisjoint(path.parents)
    ]
    if not found:
        raise InputError(
            "there are no images in this folder",
            where=str(folder),
            remedy=f"Images are files ending in {', '.join(ENDINGS)}, in subfolders too.",
        )
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def read_image(path: Path, *, shrink: bool = True) -> NDArray[np.uint8]:
    """An image, upright, as sRGB codes.

    EXIF rotation is applied, grey and palettes become RGB, 16 bits are rounded to 8, CMYK is
    converted, transparency lies on black. Colour profiles are not applied.

    Args:
        path: the file; of an animation, the first picture.
        shrink: make large JPEG and lossy WebP images smaller, by 2 or more, to 2000 pixels at
            most: that removes their compression artefacts, which must not be learnt.

    Returns:
        ``(H, W, 3)`` uint8.

    Raises:
        InputError: it cannot be decoded.
        DependencyError: Pillow is not installed.
    """
    with _opened(path) as image:
        from PIL import Image, ImageOps

        lossy = _is_lossy(path, image)
        whole = _rounded(path, image) if _has_deep_colours(image) else image
        rgb = _to_rgb(ImageOps.exif_transpose(whole))
    size = _shrunk(rgb.size) if shrink and lossy else rgb.size
    if size != rgb.size:
        rgb = rgb.resize(size, Image.Resampling.BICUBIC)
    return np.asarray(rgb)


def size_told(path: Path, *, shrink: bool = True) -> tuple[int, int]:
    """Width and height of what :func:`read_image` gives, by the file's header, or turned.

    Raises:
        InputError, DependencyError: as there; but what is wrong behind the header is not seen.
    """
    with _opened(path) as image:
        return _shrunk(image.size) if shrink and _is_lossy(path, image) else image.size


@contextmanager
def _opened(path: Path) -> Iterator[ImageFile]:
    """An image whose header has been read; what is wrong with it in the block becomes ours."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise DependencyError(
            "reading training images needs Pillow",
            remedy="pip install 'fdiwn-vsr[train]'",
        ) from error
    try:
        with Image.open(path) as image:
            yield image
    except (
        UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError,
    ) as error:  # fmt: skip
        raise InputError(
            f"the image cannot be read ({error})",
            where=str(path),
            remedy="Repair it or take it out of the folder.",
        ) from error


def _shrunk(size: tuple[int, int]) -> tuple[int, int]:
    """What a lossy image's size becomes."""
    if max(size) < LARGE:
        return size
    factor = max(2.0, max(size) / LARGE)
    width, height = (round(n / factor) for n in size)
    return width, height


def _is_lossy(path: Path, image: ImageFile) -> bool:
    return image.format == "JPEG" or _is_lossy_webp(path)


def _has_deep_colours(image: ImageFile) -> bool:
    """Whether Pillow would cut off the low byte of 16-bit colours; before it has decoded any."""
    if image.mode not in ("RGB", "RGBA", "LA"):
        return False
    how = [tile[3] for tile in image.tile]  # a decoder's arguments, or the first of them alone
    raw = [str(args[0] if isinstance(args, tuple) and args else args) for args in how]
    return any(name.startswith(f"{image.mode};16") for name in raw)


def _rounded(path: Path, image: Image) -> Image:
    """Such an image with its colours rounded, and with its EXIF data."""
    import cv2
    from PIL import Image as Images

    data = np.frombuffer(path.read_bytes(), np.uint8)
    codes = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if codes is None or codes.dtype != np.uint16 or codes.shape[2:] not in ((3,), (4,)):
        raise ValueError("its 16-bit samples cannot be decoded")
    order = [2, 1, 0, 3][: codes.shape[2]]
    rounded = Images.fromarray(
        ((codes[..., order].astype(np.uint32) + 128) // 257).astype(np.uint8)
    )
    rounded.info["exif"] = image.getexif().tobytes()
    return rounded


def _to_rgb(image: Image) -> Image:
    from PIL import Image as Images

    if image.mode.startswith(("I", "F")):
        # Pillow clips 16-bit grey instead of scaling it; floats have no agreed range.
        if image.mode == "F":
            raise ValueError("floating-point samples have no agreed range")
        codes = np.asarray(image).astype(np.float64)
        if codes.min() < 0 or codes.max() > 65535:
            raise ValueError("32-bit samples have no agreed range")
        image = Images.fromarray(np.floor(codes / 257 + 0.5).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Images.alpha_composite(Images.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return image.convert("RGB")


def _is_lossy_webp(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(64)
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP" and b"VP8 " in head

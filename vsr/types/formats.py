"""The planar pixel formats that frames have between reader and writer, by FFmpeg's name."""

from __future__ import annotations

from vsr.types.media import PixelFormat

__all__ = ["PIXEL_FORMATS", "pixel_format"]

# FFmpeg's subsampling digits -> log2 of the horizontal and vertical step between chroma samples.
_SUBSAMPLINGS = {
    "444": (0, 0),
    "440": (0, 1),
    "422": (1, 0),
    "420": (1, 1),
    "411": (2, 0),
    "410": (2, 2),
}
_YUV_BITS = {"444": (8, 9, 10, 12, 14, 16), "440": (8, 10, 12), "422": (8, 9, 10, 12, 14, 16),
             "420": (8, 9, 10, 12, 14, 16), "411": (8,), "410": (8,)}  # fmt: skip
_YUVA_BITS = {"444": (8, 9, 10, 12, 16), "422": (8, 9, 10, 12, 16), "420": (8, 9, 10, 16)}

_RGB_BITS = (8, 9, 10, 12, 14, 16)
_RGBA_BITS = (8, 10, 12, 14, 16)


def _rows() -> dict[str, PixelFormat]:
    rows: list[PixelFormat] = []
    for prefix, table, alpha in (("yuv", _YUV_BITS, False), ("yuva", _YUVA_BITS, True)):
        for digits, depths in table.items():
            for bits in depths:
                name = _name(f"{prefix}{digits}p", bits)
                rows.append(PixelFormat(name, "yuv", bits, *_SUBSAMPLINGS[digits], alpha))
    rows += [PixelFormat(_name("gbrp", bits), "rgb", bits) for bits in _RGB_BITS]
    rows += [PixelFormat(_name("gbrap", bits), "rgb", bits, alpha=True) for bits in _RGBA_BITS]
    rows += [PixelFormat(_name("gray", bits), "gray", bits) for bits in _RGB_BITS]
    return {row.name: row for row in rows}


def _name(prefix: str, bits: int) -> str:
    return prefix if bits == 8 else f"{prefix}{bits}le"


#: Every planar format the package handles; the names are FFmpeg's.
PIXEL_FORMATS: dict[str, PixelFormat] = _rows()


def pixel_format(name: str) -> PixelFormat:
    """The row called ``name``.

    Raises:
        KeyError: it is not one of the planar formats handled here.
    """
    return PIXEL_FORMATS[name]

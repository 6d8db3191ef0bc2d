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


def _rows() -> dict[str, PixelFormat]:
    rows: list[PixelFormat] = []
    for prefix, table, alpha in (("yuv", _YUV_BITS, False), ("yuva", _YUVA_BITS, True)):
        for digits, depths in table.items():
            for bits in depths:
                name = f"{prefix}{digits}p" + (f"{bits}le" if bits > 8 else "")
                rows.append(PixelFormat(name, "yuv", bits, *_SUBSAMPLINGS[digits], alpha))
    for prefix, depths, alpha in (("gbrp", (8, 9, 10, 12, 14, 16), False), ("gbrap", (8, 10, 12, 14, 16), True)):  # fmt: skip
        for bits in depths:
            name = prefix + (f"{bits}le" if bits > 8 else "")
            rows.append(PixelFormat(name, "rgb", bits, alpha=alpha))
    for bits in (8, 9, 10, 12, 14, 16):
        rows.append(PixelFormat("gray" + (f"{bits}le" if bits > 8 else ""), "gray", bits))
    return {row.name: row for row in rows}


#: Every planar format the package handles; the names are FFmpeg's.
PIXEL_FORMATS: dict[str, PixelFormat] = _rows()


def pixel_format(name: str) -> PixelFormat:
    """The row called ``name``.

    Raises:
        KeyError: it is not one of the planar formats handled here.
    """
    return PIXEL_FORMATS[name]

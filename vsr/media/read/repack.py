"""Decoded frames' samples, sorted into the planar formats of :data:`vsr.types.PIXEL_FORMATS`.

Nothing here computes with colours: every sample of the decoder's format ends up, unchanged, in one
place of a plane (bits of ``rgb565`` and its kind widen to 8 by repeating their top bits, which is
what FFmpeg does and can be undone). The layouts are those of FFmpeg's ``libavutil/pixdesc.c``.

Samples are copied once, into the batch's own contiguous memory: decoders pad their lines and
recycle their buffers, so borrowing them would cost a copy later and starve the decoder meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vsr.types import PIXEL_FORMATS, ColorRange, PixelFormat

if TYPE_CHECKING:
    from av import VideoFrame

__all__ = ["Repack", "native_range", "repack_for"]

Planes = Sequence[NDArray[Any]]


@dataclass(frozen=True, slots=True)
class _Samples:
    """Where a plane's samples are: every ``step``-th one of source plane ``plane``."""

    plane: int
    offset: int = 0
    step: int = 1


@dataclass(frozen=True, slots=True)
class _Bits:
    """Where a plane's samples are inside of each word: ``bits`` of them from bit ``low`` up."""

    low: int
    bits: int


@dataclass(frozen=True, slots=True)
class Repack:
    """How one native format becomes a planar one.

    Attributes:
        native: FFmpeg's name of the decoder's format.
        format: the planar format it becomes.
        dtype: numpy's name of the native samples or words (``<u2``).
        shift: the sample's value lies this many bits above the lowest.
        sources: for each plane of ``format``, where its samples are.
    """

    native: str
    format: PixelFormat
    dtype: str
    shift: int
    sources: tuple[_Samples | _Bits | None, ...]

    def __call__(self, frame: VideoFrame, into: Planes) -> None:
        """Write the samples of ``frame`` into one ``(H_p, W_p)`` array per plane.

        Arrays are uint8 or uint16 as :attr:`vsr.types.PixelFormat.bits` says.
        """
        if self.native == "pal8":
            _unpack_palette(frame, into)
        elif self.native in _ONE_BIT:
            _unpack_bits(frame, into[0], invert=self.native == "monow")
        else:
            self._unpack(frame, into)

    def _unpack(self, frame: VideoFrame, into: Planes) -> None:
        rows = [_rows(frame, index, self.dtype) for index in range(len(frame.planes))]
        for target, source in zip(into, self.sources, strict=True):
            height, width = target.shape
            if source is None:  # a grey format with alpha has no chroma
                target[...] = 1 << (self.format.bits - 1)
            elif isinstance(source, _Bits):
                words = rows[0][:height, :width]
                values = (words >> source.low) & ((1 << source.bits) - 1)
                target[...] = _widen(values, source.bits, self.format.bits)
            else:
                last = source.offset + (width - 1) * source.step + 1
                samples = rows[source.plane][:height, source.offset : last : source.step]
                if self.shift:
                    np.right_shift(samples, self.shift, out=target, casting="unsafe")
                else:
                    target[...] = samples


def _rows(frame: VideoFrame, index: int, dtype: str) -> NDArray[Any]:
    """The lines of a plane, top to bottom, each with its padding."""
    plane = frame.planes[index]
    data = np.frombuffer(memoryview(plane), np.uint8)
    stride = abs(plane.line_size)
    rows = data[: plane.height * stride].reshape(plane.height, stride)
    itemsize = np.dtype(dtype).itemsize
    rows = rows[:, : stride // itemsize * itemsize].view(dtype)
    # With a negative line size the lowest address holds the bottom line.
    return rows if plane.line_size > 0 else rows[::-1]


def _widen(values: NDArray[Any], bits: int, wanted: int) -> NDArray[Any]:
    """Spread ``bits``-bit values over ``wanted`` bits by repeating their top bits below them."""
    wide = values.astype(np.uint32) << (wanted - bits)
    have = bits
    while have < wanted:
        wide |= wide >> have
        have *= 2
    return wide


def _unpack_palette(frame: VideoFrame, into: Planes) -> None:
    """``pal8``: indices into 256 native-endian words 0xAARRGGBB."""
    height, width = into[0].shape
    indices = _rows(frame, 0, "u1")[:height, :width]
    words = np.frombuffer(memoryview(frame.planes[1]), np.uint32, count=256)
    for target, low in zip(into, (8, 0, 16, 24), strict=True):  # G, B, R, A
        target[...] = ((words >> low) & 255).astype(np.uint8)[indices]


def _unpack_bits(frame: VideoFrame, into: NDArray[Any], *, invert: bool) -> None:
    """``monob``/``monow``: eight pixels a byte, the leftmost in the top bit."""
    height, width = into.shape
    bits = np.unpackbits(_rows(frame, 0, "u1")[:height], axis=1)[:, :width]
    into[...] = (bits ^ invert) * np.uint8(255)


_ONE_BIT = ("monob", "monow")

# name -> planar format, dtype, shift, (plane, offset, step) per plane of the planar format.
_RGB = "gbrp"
_SHUFFLED: dict[str, tuple[str, str, int, tuple[tuple[int, int, int] | None, ...]]] = {}


def _semi_planar(name: str, target: str, dtype: str = "u1", shift: int = 0, u: int = 0) -> None:
    _SHUFFLED[name] = (target, dtype, shift, ((0, 0, 1), (1, u, 2), (1, 1 - u, 2)))


def _packed(name: str, target: str, order: str, dtype: str = "u1", shift: int = 0) -> None:
    """``order`` spells the samples of a pixel as they lie in memory; ``x`` is padding.

    In 4:2:2 it spells a pair of pixels, with two ``y``.
    """
    fmt = PIXEL_FORMATS[target]
    letters = {"yuv": "yuv", "rgb": "gbr", "gray": "y"}[fmt.family] + ("a" if fmt.alpha else "")
    places: list[tuple[int, int, int] | None] = []
    for letter in letters:
        if letter in order:
            places.append((0, order.index(letter), len(order) // order.count(letter)))
        else:
            places.append(None)
    _SHUFFLED[name] = (target, dtype, shift, tuple(places))


for _name, _digits, _u in (("nv12", "420", 0), ("nv21", "420", 1), ("nv16", "422", 0),
                           ("nv24", "444", 0), ("nv42", "444", 1)):  # fmt: skip
    _semi_planar(_name, f"yuv{_digits}p", u=_u)
for _family, _digits in (("p0", "420"), ("p2", "422"), ("p4", "444")):
    for _bits in (10, 12, 16):
        _semi_planar(f"{_family}{_bits}le", f"yuv{_digits}p{_bits}le", "<u2", 16 - _bits)
_semi_planar("nv20le", "yuv422p10le", "<u2")
for _name, _order in (("yuyv422", "yuyv"), ("uyvy422", "uyvy"), ("yvyu422", "yvyu")):
    _packed(_name, "yuv422p", _order)
for _bits in (10, 12, 16):
    _packed(f"y2{_bits}le", f"yuv422p{_bits}le", "yuyv", "<u2", 16 - _bits)
for _name, _order in (("vyu444", "vyu"), ("vuyx", "vuyx")):
    _packed(_name, "yuv444p", _order)
for _name, _order in (("vuya", "vuya"), ("ayuv", "ayuv"), ("uyva", "uyva"), ("ya8", "ya")):
    _packed(_name, "yuva444p", _order)
_packed("ya16le", "yuva444p16le", "ya", "<u2")
_packed("ayuv64le", "yuva444p16le", "ayuv", "<u2")
_packed("xv36le", "yuv444p12le", "uyvx", "<u2", 4)
_packed("xv48le", "yuv444p16le", "uyvx", "<u2")
for _order in ("rgb", "bgr"):
    _packed(f"{_order}24", _RGB, _order)
    _packed(f"{_order}48le", "gbrp16le", _order, "<u2")
    _packed(f"{_order}a", "gbrap", f"{_order}a")
    _packed(f"a{_order}", "gbrap", f"a{_order}")
    _packed(f"{_order}0", _RGB, f"{_order}x")
    _packed(f"0{_order}", _RGB, f"x{_order}")
    _packed(f"{_order}a64le", "gbrap16le", f"{_order}a", "<u2")

# Planar formats whose value lies in the top bits, and those that only go by another name.
_TOP_BITS = {
    f"{stem}{bits}msble": (f"{stem}{bits}le", 16 - bits)
    for stem in ("yuv444p", "gbrp")
    for bits in (10, 12)
}
_FULL_RANGE = {f"yuvj{digits}p": f"yuv{digits}p" for digits in ("411", "420", "422", "440", "444")}

# name -> planar format, dtype of the word, (lowest bit, bits) per plane of the planar format.
_BITFIELDS: dict[str, tuple[str, str, tuple[tuple[int, int], ...]]] = {
    "rgb8": (_RGB, "u1", ((2, 3), (0, 2), (5, 3))),
    "bgr8": (_RGB, "u1", ((3, 3), (6, 2), (0, 3))),
    "rgb4_byte": (_RGB, "u1", ((1, 2), (0, 1), (3, 1))),
    "bgr4_byte": (_RGB, "u1", ((1, 2), (3, 1), (0, 1))),
    "rgb444le": (_RGB, "<u2", ((4, 4), (0, 4), (8, 4))),
    "bgr444le": (_RGB, "<u2", ((4, 4), (8, 4), (0, 4))),
    "rgb555le": (_RGB, "<u2", ((5, 5), (0, 5), (10, 5))),
    "bgr555le": (_RGB, "<u2", ((5, 5), (10, 5), (0, 5))),
    "rgb565le": (_RGB, "<u2", ((5, 6), (0, 5), (11, 5))),
    "bgr565le": (_RGB, "<u2", ((5, 6), (11, 5), (0, 5))),
    "x2rgb10le": ("gbrp10le", "<u4", ((10, 10), (0, 10), (20, 10))),
    "x2bgr10le": ("gbrp10le", "<u4", ((10, 10), (20, 10), (0, 10))),
    "xv30le": ("yuv444p10le", "<u4", ((10, 10), (0, 10), (20, 10))),
    "v30xle": ("yuv444p10le", "<u4", ((12, 10), (2, 10), (22, 10))),
}


def repack_for(native: str) -> Repack | None:
    """How ``native`` becomes planar, or ``None``: FFmpeg decodes to it, but nothing here reads it.

    Missing are floating point, XYZ and Bayer formats, whose samples mean something else.
    """
    if native.endswith("be"):
        little = repack_for(native[:-2] + "le")
        if little is None:
            return None
        dtype = little.dtype.replace("<", ">")
        return Repack(native, little.format, dtype, little.shift, little.sources)
    name, shift = _TOP_BITS.get(native, (_FULL_RANGE.get(native, native), 0))
    if name in PIXEL_FORMATS:
        fmt = PIXEL_FORMATS[name]
        dtype = "u1" if fmt.bits <= 8 else "<u2"
        return Repack(native, fmt, dtype, shift, tuple(_Samples(i) for i in range(fmt.planes)))
    if name in _SHUFFLED:
        target, dtype, shift, places = _SHUFFLED[name]
        sources = tuple(place and _Samples(*place) for place in places)
        return Repack(native, PIXEL_FORMATS[target], dtype, shift, sources)
    if name in _BITFIELDS:
        target, dtype, fields = _BITFIELDS[name]
        return Repack(native, PIXEL_FORMATS[target], dtype, 0, tuple(_Bits(*f) for f in fields))
    if name == "pal8":
        return Repack(native, PIXEL_FORMATS["gbrap"], "u1", 0, ())
    if name in _ONE_BIT:
        return Repack(native, PIXEL_FORMATS["gray"], "u1", 0, ())
    return None


def native_range(native: str) -> ColorRange:
    """The sample range that the format's name alone implies."""
    if native in _FULL_RANGE or native in _ONE_BIT:
        return ColorRange.FULL
    return ColorRange.UNSPECIFIED

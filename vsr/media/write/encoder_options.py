"""The options an encoder is opened with, and what it says about those it does not know."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av.logging

from vsr.media.codecs import hush, steady
from vsr.types import EncodePlan, HdrMetadata

__all__ = ["encoder_options", "open_deaf", "open_listening"]


def encoder_options(encode: EncodePlan) -> dict[str, str]:
    """The options the encoder is opened with: the plan's, HDR metadata, and no chatter."""
    options = dict(encode.options)
    for key, value in (*hush(encode.encoder).items(), *steady(encode.encoder).items()):
        if value.split("=")[0] not in options.get(key, ""):
            options[key] = _joined(options.get(key), value)
    if encode.hdr is not None and encode.hdr_param in _HDR_PARAMS:
        value = _HDR_PARAMS[encode.hdr_param](encode.hdr)
        options[encode.hdr_param] = _joined(options.get(encode.hdr_param), value)
    return options


def _joined(first: str | None, second: str) -> str:
    return f"{first}:{second}" if first else second


def _x265_hdr(hdr: HdrMetadata) -> str:
    return _joined("hdr10=1:repeat-headers=1", _x26x_pairs(hdr, "master-display", "max-cll"))


def _x264_hdr(hdr: HdrMetadata) -> str:
    return _x26x_pairs(hdr, "mastering-display", "cll")


def _x26x_pairs(hdr: HdrMetadata, display: str, light: str) -> str:
    return _hdr_pairs(hdr, display, light, _times(50000), _times(10000))


def _svtav1_hdr(hdr: HdrMetadata) -> str:
    return _hdr_pairs(hdr, "mastering-display", "content-light", _decimal, _decimal)


def _times(unit: int) -> Callable[[Fraction], str]:
    # Chromaticities count in 0.00002, luminances in 0.0001 cd/m2: ITU-T H.265, D.3.28.
    return lambda value: str(round(value * unit))


def _decimal(value: Fraction) -> str:
    return f"{float(value):.6f}"


def _hdr_pairs(
    hdr: HdrMetadata,
    display: str,
    light: str,
    chroma: Callable[[Fraction], str],
    nits: Callable[[Fraction], str],
) -> str:
    pairs = []
    low, high = hdr.min_luminance, hdr.max_luminance
    if hdr.primaries is not None and low is not None and high is not None:
        red, green, blue, white = (f"({chroma(x)},{chroma(y)})" for x, y in hdr.primaries)
        levels = f"({nits(high)},{nits(low)})"
        pairs.append(f"{display}=G{green}B{blue}R{red}WP{white}L{levels}")
    if hdr.max_cll is not None:
        pairs.append(f"{light}={hdr.max_cll},{hdr.max_fall or 0}")
    return ":".join(pairs)


_HDR_PARAMS = {
    "x265-params": _x265_hdr,
    "x264-params": _x264_hdr,
    "svtav1-params": _svtav1_hdr,
}


def open_listening(context: Any) -> list[str]:
    """Open and return what the encoder says about ``x264-params`` and the like it does not know.

    FFmpeg only warns about those. To be called before other threads decode: PyAV frees a decoder
    with the interpreter's lock held, and waits for FFmpeg's threads, which need that lock for what
    they have to say as long as somebody listens: that is for ever.
    """
    level = av.logging.get_level()
    av.logging.set_level(av.logging.WARNING)
    try:
        with av.logging.Capture() as lines:
            context.open()
    finally:
        av.logging.set_level(level)
    signs = ("Unknown option", "Error parsing option", "Invalid value for")
    return [text.strip().rstrip(".") for _, _, text in lines if text.startswith(signs)]


def open_deaf(context: Any) -> list[str]:
    """As :func:`open_listening`, where it is known already that there is nothing to hear."""
    context.open()
    return []

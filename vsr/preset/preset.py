"""The wishes a preset holds, and how one preset builds on another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Literal

from vsr.types import Mode, is_set_name

__all__ = ["CODEC_ALIASES", "DEFAULT_MODEL", "Preset", "merge", "rate_options"]

#: What people also call the codecs of the table.
CODEC_ALIASES = {"avc": "h264", "x264": "h264", "h265": "hevc", "x265": "hevc"}

#: The model where nobody names one.
DEFAULT_MODEL = "fdiwn"

# What encoders call a quality.
_QUALITIES = ("crf", "cq")


def rate_options(options: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Names of the encoder options that settle the rate in place of a quality.

    A bit rate of 0 is none: that is how libvpx and NVENC are told that the quality alone counts.
    """
    return tuple(name for name, value in options if name == "qp" or (name == "b" and value != "0"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Wishes; ``None`` (or an empty tuple) is no wish. The planner turns them into facts.

    Attributes:
        name: what ``--preset`` says; path: the file it came from, empty for none.
        description: one line for ``vsr presets``.
        model: row of the model table. scale: 2, 3 or 4.
        weights: name of a set (``clean``, ``video``, ...) or path of a weights file.
        codec: row of the codec table. container: row of the container table, used when no
            destination is named.
        quality: value of the encoder's quality option at every scale, or ``(scale, value)`` pairs.
        speed: value of the encoder's speed option.
        pix_fmt: planar pixel format of the result, FFmpeg's name.
        bit_depth: bits per sample of the result instead of the source's.
        gop_seconds: longest distance between key frames.
        options: further encoder options, ``(name, value)``.
        deinterlace, on_resize, strict, dtype, batch, mode: as in :class:`vsr.plan.Request`.
    """

    name: str = ""
    path: str = ""
    description: str = ""
    model: str | None = None
    scale: int | None = None
    weights: str | None = None
    codec: str | None = None
    container: str | None = None
    quality: int | tuple[tuple[int, int], ...] | None = None
    speed: str | None = None
    pix_fmt: str | None = None
    bit_depth: int | None = None
    gop_seconds: float | None = None
    options: tuple[tuple[str, str], ...] = ()
    deinterlace: Literal["auto", "on", "off"] | None = None
    on_resize: Literal["error", "scale"] | None = None
    strict: bool | None = None
    dtype: Literal["float32", "float16", "bfloat16"] | None = None
    batch: int | None = None
    mode: Mode | None = None

    def quality_at(self, scale: int) -> int | None:
        """The quality wished for at ``scale``; between listed scales the next lower one counts."""
        if self.quality is None or isinstance(self.quality, int):
            return self.quality
        listed = dict(self.quality)
        below = [known for known in listed if known <= scale]
        return listed[max(below)] if below else listed[min(listed)]

    def without_codec_wishes(self) -> Preset:
        """The same wishes less those that only mean something to one encoder.

        How many bits samples have means the same to all, and an encoder that lacks it is an error.
        """
        return replace(
            self,
            codec=None,
            container=None,
            quality=None,
            speed=None,
            pix_fmt=None,
            gop_seconds=None,
            options=(),
        )

    def without_rate(self) -> Preset:
        """The same wishes less a quality, and whatever settles the rate in its place."""
        options = tuple(
            # Libvpx and NVENC must be told that there is none.
            (name, "0" if name == "b" else value)
            for name, value in self.options
            if name not in ("qp", *_QUALITIES)
        )
        return replace(self, quality=None, options=options)


def merge(base: Preset, over: Preset) -> Preset:
    """``over`` on top of ``base``: its wishes win, option tables are joined key by key.

    When ``over`` asks for another codec than ``base``, the quality, speed, pixel format, key
    frames, container and options that ``base`` meant for its own codec are left behind: a CRF of
    one encoder is no CRF of another. So are weights where ``over`` asks for another model, a file
    of weights where it asks for another scale, and whatever settles the rate (a quality, ``qp``,
    ``b``) where ``over`` settles it.
    """
    if over.codec is not None and base.codec not in (None, over.codec):
        base = base.without_codec_wishes()
    if base.weights is not None and _other_weights(base, over):
        base = replace(base, weights=None)
    if over.quality is not None or rate_options(over.options):
        base = base.without_rate()
    wishes = {}
    for field in fields(Preset):
        value = getattr(over, field.name)
        unset = value is None or value == () or value == ""
        wishes[field.name] = getattr(base, field.name) if unset else value
    wishes["options"] = tuple((dict(base.options) | dict(over.options)).items())
    wishes |= {"name": over.name, "path": over.path, "description": over.description}
    return Preset(**wishes)


def _other_weights(base: Preset, over: Preset) -> bool:
    """Whether the weights of ``base`` are not for what ``over`` asks for."""
    if over.model is not None and over.model != (base.model or DEFAULT_MODEL):
        return True
    # A set has weights for several scales, a file for one.
    other_scale = over.scale is not None and base.scale not in (None, over.scale)
    return other_scale and not is_set_name(base.weights or "")

"""Reading preset files: strict keys, checked values, ``extends``."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from functools import reduce
from pathlib import Path
from typing import Any, get_args

from vsr.errors import PresetError
from vsr.preset.find import find_preset, nearest
from vsr.preset.preset import CODEC_ALIASES, Preset, merge
from vsr.types import PIXEL_FORMATS, Mode, is_set_name

__all__ = ["load_preset"]


class _WrongValueError(Exception):
    """A value is not what its key takes; the message says what it takes."""


def load_preset(name_or_path: str) -> Preset:
    """Read a preset, and below it the presets it ``extends``, the last named winning.

    Args:
        name_or_path: the name of a preset in the user's folder or a shipped one, or a path.

    Raises:
        PresetError: no such preset, a key or value it cannot have, or it extends itself.
    """
    return _load(find_preset(name_or_path, skip=()), ())


def _load(path: Path, stack: tuple[Path, ...]) -> Preset:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise PresetError(f"cannot read the preset: {error}", where=str(path)) from error
    except tomllib.TOMLDecodeError as error:
        raise PresetError(f"not valid TOML: {error}", where=str(path)) from error
    values = _read(table, path)
    below = values.pop("extends", ())
    own = Preset(name=path.stem, path=str(path), **values)
    stack = (*stack, path)
    layers = []
    for name in below:
        base = find_preset(name, beside=path.parent, skip=stack)
        if base in stack:
            chain = " -> ".join(step.stem for step in (*stack, base))
            raise PresetError(f"presets extend each other: {chain}", where=f"{path}: extends")
        layers.append(_load(base, stack))
    return reduce(merge, [*layers, own])


def _read(table: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Check one file's keys and values; they come back by field name of :class:`Preset`."""
    values: dict[str, Any] = {}
    for key, value in table.items():
        inner = {key: value}
        if key in _SECTIONS:
            if not isinstance(value, dict):
                raise PresetError("must be a table", where=f"{path}: {key}")
            inner = {f"{key}.{name}": item for name, item in value.items()}
        for dotted, item in inner.items():
            if dotted not in _KEYS:
                raise _unknown(dotted, path)
            field, check = _KEYS[dotted]
            try:
                values[field] = check(item)
            except _WrongValueError as error:
                raise PresetError(f"{error}, not {item!r}", where=f"{path}: {dotted}") from None
    weights = values.get("weights")
    if weights is not None and not is_set_name(weights):
        values["weights"] = str(path.parent / Path(weights).expanduser())
    return values


def _unknown(dotted: str, path: Path) -> PresetError:
    # A right key in the wrong section is as likely as a typing error.
    last = dotted.rpartition(".")[2]
    same = [known for known in _KEYS if known.rpartition(".")[2] == last]
    hint = f"Did you mean {same[0]!r}?" if same else nearest(dotted, _KEYS)
    return PresetError(
        f"unknown key {dotted!r}",
        where=str(path),
        remedy=hint or f"Known keys: {', '.join(_KEYS)}.",
    )


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise _WrongValueError("must be a text")
    return value


def _codec(value: object) -> str:
    name = _text(value)
    return CODEC_ALIASES.get(name, name)


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise _WrongValueError("must be a list of preset names")
    return tuple(value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise _WrongValueError("must be true or false")
    return value


def _integer(low: int, high: int) -> Callable[[object], int]:
    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise _WrongValueError(f"must be a whole number from {low} to {high}")
        return value

    return check


def _choice(*choices: str | int) -> Callable[[object], str | int]:
    def check(value: object) -> str | int:
        for choice in choices:
            if value == choice and type(value) is type(choice):
                return choice
        listed = ", ".join(map(repr, choices))
        hint = nearest(value, [str(choice) for choice in choices]) if isinstance(value, str) else ""
        raise _WrongValueError(f"must be one of {listed}{f' ({hint})' if hint else ''}")

    return check


def _pix_fmt(value: object) -> str:
    if value not in PIXEL_FORMATS:
        raise _WrongValueError("must be a planar pixel format by FFmpeg's name (yuv420p10le)")
    return str(value)


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 600:
        raise _WrongValueError(
            "must be a number of seconds from 0 (every frame a key frame) to 600"
        )
    return float(value)


def _quality(value: object) -> int | tuple[tuple[int, int], ...]:
    check = _integer(0, 255)  # The encoder's own range is checked once the encoder is known.
    if not isinstance(value, dict):
        return check(value)
    pairs = []
    for key, item in value.items():
        if key not in ("x2", "x3", "x4"):
            raise _WrongValueError("must be a number, or a table of numbers for x2, x3 and x4")
        pairs.append((int(key[1:]), check(item)))
    if not pairs:
        raise _WrongValueError("must be a number, or a table of numbers for x2, x3 and x4")
    return tuple(sorted(pairs))


def _word(value: object) -> str:
    # Encoders take text; TOML writers should not have to quote the 6 of preset 6.
    if isinstance(value, bool):
        return str(int(value))
    if not isinstance(value, str | int | float) or value == "":
        raise _WrongValueError("must be a text or a number")
    return str(value)


def _options(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict):
        raise _WrongValueError("must be a table of encoder options")
    return tuple((name, _word(item)) for name, item in value.items())


#: Dotted key in the file -> field of :class:`Preset`, and the check its value must pass.
_KEYS: dict[str, tuple[str, Callable[[object], Any]]] = {
    "description": ("description", _text),
    "extends": ("extends", _names),
    "model.name": ("model", _text),
    "model.scale": ("scale", _choice(2, 3, 4)),
    "model.weights": ("weights", _text),
    "video.deinterlace": ("deinterlace", _choice("auto", "on", "off")),
    "video.on_resize": ("on_resize", _choice("error", "scale")),
    "encode.codec": ("codec", _codec),
    "encode.container": ("container", _text),
    "encode.quality": ("quality", _quality),
    "encode.speed": ("speed", _word),
    "encode.pix_fmt": ("pix_fmt", _pix_fmt),
    "encode.bit_depth": ("bit_depth", _choice(8, 10, 12, 16)),
    "encode.gop_seconds": ("gop_seconds", _seconds),
    "encode.options": ("options", _options),
    "run.dtype": ("dtype", _choice("float32", "float16", "bfloat16")),
    "run.batch": ("batch", _integer(1, 64)),
    "run.mode": ("mode", _choice(*get_args(Mode))),
    "run.strict": ("strict", _flag),
}
_SECTIONS = frozenset(key.partition(".")[0] for key in _KEYS if "." in key)

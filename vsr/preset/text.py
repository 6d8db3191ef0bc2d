"""A preset with everything it extends, as one TOML text that says where each value is from."""

from __future__ import annotations

import json
import re
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vsr.preset import Preset, load_preset
from vsr.preset.find import find_preset

__all__ = ["preset_toml"]

_HEADER = re.compile(r"\[([\w.-]+)\]")
_KEY = re.compile(r"([\w-]+)\s*=")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class _Value:
    """A value of a file, under its whole dotted key, with the comment above it."""

    value: Any
    comment: str
    file: Path


def preset_toml(name: str) -> str:
    """The preset ``name`` resolved, as TOML.

    Written to a file, it is a preset with the same meaning that extends nothing.

    Raises:
        PresetError: no such preset, or it is broken.
    """
    resolved = load_preset(name)
    path = Path(resolved.path)
    values: dict[str, _Value] = {}
    for key, value in _collect(path, (path,)):
        if _counts(key, resolved):
            # A number replaces a table of numbers, and a table another, whole.
            other = [k for k in values if _whole(k) == _whole(key) and values[k].file != value.file]
            for replaced in other:
                del values[replaced]
            values[key] = value
    lines = [f"# {path}"]
    section, file = "", path
    for key in sorted(values, key=lambda dotted: _place(dotted, list(values))):
        above, _, last = key.rpartition(".")
        if above != section:
            lines += ["", f"[{above}]"]
            section, file = above, path
        found = values[key]
        origin = f"(from {found.file.stem})" if found.file not in (path, file) else ""
        file = found.file
        if comment := f"{found.comment} {origin}".strip():
            lines += textwrap.wrap(comment, 78, initial_indent="# ", subsequent_indent="# ")
        shown = resolved.weights if key == "model.weights" else found.value
        lines.append(f"{_toml_key(last)} = {_toml(shown)}")
    return "\n".join(lines)


def _whole(key: str) -> str:
    """The part of a key whose value is replaced in one piece when presets are merged."""
    return "encode.quality" if key.startswith("encode.quality.") else key


def _place(key: str, order: list[str]) -> tuple[int, int]:
    """Sections together, in the order in which they are first met; the top level first."""
    section = key.rpartition(".")[0]
    if not section:
        return -1, order.index(key)
    return next(i for i, k in enumerate(order) if k.rpartition(".")[0] == section), order.index(key)


def _counts(key: str, resolved: Preset) -> bool:
    """Whether the value is still there after merging: another codec drops a codec's wishes."""
    if key == "extends":
        return False
    first, _, rest = key.partition(".")
    if key.startswith("encode.options."):
        return rest.partition(".")[2] in dict(resolved.options)
    name = "model" if key == "model.name" else (rest or first).partition(".")[0]
    return getattr(resolved, name) not in (None, ())


def _collect(path: Path, skip: tuple[Path, ...]) -> Iterator[tuple[str, _Value]]:
    """All values of the preset and those below it, the deepest first; later ones win."""
    text = path.read_text(encoding="utf-8")
    table = tomllib.loads(text)
    for base in table.get("extends", ()):
        below = find_preset(base, beside=path.parent, skip=skip)
        for key, value in _collect(below, (*skip, below)):
            if key != "description":
                yield key, value
    comments = _comments(text)
    for key, value in _flat(table):
        yield key, _Value(value, comments.get(key, ""), path)


def _flat(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _comments(text: str) -> dict[str, str]:
    """The comment lines right above each key, by its whole dotted key."""
    found: dict[str, str] = {}
    section, above = "", []
    for line in map(str.strip, text.splitlines()):
        if line.startswith("#"):
            above.append(line.lstrip("# "))
            continue
        if header := _HEADER.match(line):
            section = f"{header[1]}."
            # A comment above a header is about all that follows: it stays for the first key.
            continue
        if key := _KEY.match(line):
            found[f"{section}{key[1]}"] = " ".join(above)
        above = []
    return found


def _toml_key(key: str) -> str:
    return key if _BARE.fullmatch(key) else json.dumps(key)


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    # TOML's strings, numbers and booleans are written as JSON's.
    return json.dumps(value, ensure_ascii=False)

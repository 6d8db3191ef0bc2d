"""Where preset files are: an explicit path, then the user's folder, then the shipped ones."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

from vsr.errors import PresetError

__all__ = ["PresetFile", "find_preset", "find_presets", "nearest", "preset_folders"]


@dataclass(frozen=True, slots=True)
class PresetFile:
    """A preset that can be named.

    Attributes:
        name: the file's name without ``.toml``. path: the file.
        origin: whose folder it lies in.
        shadows: the shipped file of the same name that it hides, ``None`` if it hides none.
    """

    name: str
    path: Path
    origin: Literal["user", "shipped"]
    shadows: Path | None = None


def _shipped_folder() -> Path:
    package = Path(str(files("vsr")))
    installed = package / "presets"
    # A checkout keeps them beside the package; the wheel has them inside.
    return installed if installed.is_dir() else package.parent / "presets"


def _user_folder() -> Path:
    if os.name == "nt" and os.environ.get("APPDATA"):
        return Path(os.environ["APPDATA"]) / "vsr" / "presets"
    config = os.environ.get("XDG_CONFIG_HOME")
    return (Path(config) if config else Path.home() / ".config") / "vsr" / "presets"


def preset_folders() -> tuple[Path, Path]:
    """The user's folder (``$XDG_CONFIG_HOME/vsr/presets``; may be missing) and the shipped one."""
    return _user_folder(), _shipped_folder()


def find_presets() -> list[PresetFile]:
    """All presets that have a name, sorted by it; the files are not read."""
    user, shipped = preset_folders()
    found = {path.stem: PresetFile(path.stem, path, "shipped") for path in shipped.glob("*.toml")}
    for path in user.glob("*.toml"):
        hidden = found.get(path.stem)
        found[path.stem] = PresetFile(path.stem, path, "user", hidden.path if hidden else None)
    return [found[name] for name in sorted(found)]


def find_preset(name_or_path: str, *, beside: Path | None = None, skip: Collection[Path]) -> Path:
    """The file that ``name_or_path`` means.

    Args:
        name_or_path: a name, or a path (it has a separator or ends in ``.toml``).
        beside: folder that relative paths start from; the working directory by default.
        skip: files that are not meant, so that a user's ``x2`` can extend the shipped ``x2``.

    Raises:
        PresetError: there is no such preset.
    """
    if name_or_path.endswith(".toml") or "/" in name_or_path or os.sep in name_or_path:
        path = (beside or Path()) / Path(name_or_path).expanduser()
        if path.is_file():
            return path
        raise PresetError("there is no such preset file", where=str(path))
    for folder in preset_folders():
        path = folder / f"{name_or_path}.toml"
        if path.is_file() and path not in skip:
            return path
    known = [preset.name for preset in find_presets()]
    raise PresetError(
        f"there is no preset called {name_or_path!r}",
        remedy=nearest(name_or_path, known) or f"Known presets: {', '.join(known)}.",
    )


def nearest(word: str, known: Collection[str]) -> str:
    """``Did you mean ...?`` for a word close to a known one, else an empty string."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"Did you mean {close[0]!r}?" if close else ""

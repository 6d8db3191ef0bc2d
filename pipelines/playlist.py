"""Lists of files: playlists, and plain text with a path a line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from vsr.errors import InputError, UsageError

__all__ = ["expand", "is_list"]

_PLAYLISTS = (".m3u", ".m3u8")


def is_list(argument: str) -> bool:
    """Whether ``argument`` stands for a list of files rather than for a file.

    A list is ``@`` with a path, or a playlist (.m3u, .m3u8); but an .m3u8 file with the tags of
    HTTP Live Streaming (RFC 8216) is one video in many pieces, and what is there under its full
    name, ``@`` included, is that file, as where a shell has put it for ``*.mp4``.
    """
    if argument.startswith("@"):
        return not Path(argument).exists()
    path = Path(argument)
    if path.suffix.lower() not in _PLAYLISTS or not path.is_file():
        return False
    return not any(line.startswith("#EXT-X-") for line in _lines(path))


def expand(arguments: Sequence[str]) -> list[str]:
    """Replace each list among ``arguments`` by the paths in it.

    Playlists name files relative to themselves; ``@list.txt`` names them relative to the current
    folder, as the command line itself would (``@./list.txt`` where there is a file of the name
    ``@list.txt``). ``@-`` reads stdin. Empty lines and those that begin
    with ``#`` do not count. A file that is named twice is taken once.

    Raises:
        InputError: a list cannot be read, or names what is not a file on this machine.
        UsageError: a list is empty.
    """
    found: dict[str, str] = {}
    for argument in arguments:
        for path in _paths(argument) if is_list(argument) else [argument]:
            found.setdefault(os.path.realpath(path), path)
    return list(found.values())


def _paths(argument: str) -> list[str]:
    listed = argument.removeprefix("@")
    lines: Iterable[str]
    if argument == "@-":
        lines, folder = _split(sys.stdin.buffer.read()), Path()
    elif argument.startswith("@"):
        lines, folder = _lines(Path(listed), called=argument), Path()
    else:
        lines, folder = _lines(Path(listed)), Path(listed).parent
    paths = [
        str(folder / _local(line.strip(), listed))
        for line in lines
        if line.strip() and not line.startswith("#")
    ]
    if not paths:
        raise UsageError("the list names no files", where=listed, remedy="Write a path a line.")
    return paths


def _lines(path: Path, *, called: str = "") -> list[str]:
    try:
        data = path.read_bytes()
    except OSError as error:
        remedy = "Check the path."
        if called:
            remedy += f" If {called} is to be a file rather than a list, name it ./{called}."
        raise InputError(
            f"cannot read the list: {error.strerror}", where=str(path), remedy=remedy
        ) from error
    # Old .m3u files are in Latin-1.
    return _split(data, latin=path.suffix.lower() == ".m3u")


def _split(data: bytes, *, latin: bool = False) -> list[str]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        # In lists by other programs, names are bytes of their own.
        text = data.decode("latin-1") if latin else os.fsdecode(data)
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _local(entry: str, listed: str) -> str:
    scheme, rest = urlsplit(entry).scheme, entry
    if scheme == "file":
        rest = unquote(urlsplit(entry).path)
    elif "://" in entry:
        raise InputError(
            f"the list names {entry}, which is no file on this machine",
            where=listed,
            remedy="Download it first, and name the file.",
        )
    return rest

"""Files that get their names when all of them are complete."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vsr.errors import OutputError, UsageError
from vsr.media.av_errors import av_errors
from vsr.media.write.atomic import AtomicFile

__all__ = ["check_results", "new_files", "save", "utf8"]


@contextmanager
def new_files(
    paths: Sequence[Path], *, overwrite: bool = False, sources: Sequence[str] = ()
) -> Iterator[list[Path]]:
    """Temporary files, to be written in a block, which get their names at its end.

    Entering checks that all can be written, so that long work is not done in vain. If the block
    raises, nothing is left of them; nor if one of them cannot get its name, except what has
    replaced an older file by then.

    Args:
        paths: the files.
        overwrite: replace files that are there.
        sources: what the files are made from, which none of them may replace.

    Yields:
        The temporary files, empty, in the order of ``paths``.

    Raises:
        UsageError: a name is there twice.
        OutputError: a file would replace a source; or as for
            :class:`vsr.media.write.atomic.AtomicFile`.
    """
    check_results(paths, sources)
    files: list[AtomicFile] = []
    named: list[Path] = []
    try:
        for path in paths:
            files.append(AtomicFile(str(path), overwrite=overwrite))  # noqa: PERF401 - one may fail
        yield [file.path for file in files]
        for file in files:
            file.commit()
            named.append(file.destination)
    finally:
        for file in files:
            file.discard()
        if len(named) < len(files) and not overwrite:
            for path in named:
                path.unlink(missing_ok=True)


def check_results(paths: Sequence[Path], sources: Sequence[str]) -> None:
    """Whether files may have these names, as :func:`new_files` looks for itself.

    Raises:
        UsageError: a name is there twice. OutputError: a file would replace a source.
    """
    real = [os.path.realpath(path) for path in paths]
    for i, path in enumerate(paths):
        if real[i] in real[:i]:
            raise UsageError(
                "two results cannot be the same file",
                where=str(path),
                remedy="Give each its own name.",
            )
        for source in sources:
            # Not Path.exists(), which raises where a name is too long.
            if os.path.exists(path) and os.path.exists(source) and path.samefile(source):  # noqa: PTH110
                raise OutputError(
                    "the result would replace one of the files it is made from",
                    where=str(path),
                    remedy="Choose another name.",
                )


def utf8(text: str) -> bytes:
    r"""Text as UTF-8; what is none in a file name becomes ``\udcff``, as JSON has it."""
    return text.encode(errors="backslashreplace")


def save(path: Path, content: str | bytes) -> None:
    """Write all of a file, text as :func:`utf8`.

    Raises:
        OutputError: the disk is full, or the like.
    """
    data = utf8(content) if isinstance(content, str) else content
    with av_errors(path, "write the file", OutputError):
        path.write_bytes(data)

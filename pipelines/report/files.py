"""Files that get their names when all of them are complete."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vsr.errors import OutputError
from vsr.media.av_errors import av_errors
from vsr.media.write.atomic import AtomicFile

__all__ = ["new_files", "save"]


@contextmanager
def new_files(paths: Sequence[Path], *, overwrite: bool = False) -> Iterator[list[Path]]:
    """Temporary files, to be written in a block, which get their names at its end.

    Entering checks that all can be written, so that long work is not done in vain. If the block
    raises, nothing is left of them.

    Yields:
        The temporary files, empty, in the order of ``paths``.

    Raises:
        OutputError: as for :class:`vsr.media.write.atomic.AtomicFile`.
    """
    files: list[AtomicFile] = []
    try:
        for path in paths:
            files.append(AtomicFile(str(path), overwrite=overwrite))  # noqa: PERF401 - one may fail
        yield [file.path for file in files]
        for file in files:
            file.commit()
    finally:
        for file in files:
            file.discard()


def save(path: Path, content: str | bytes) -> None:
    """Write all of a file, text as UTF-8.

    Raises:
        OutputError: the disk is full, or the like.
    """
    data = content.encode() if isinstance(content, str) else content
    with av_errors(path, "write the file", OutputError):
        path.write_bytes(data)

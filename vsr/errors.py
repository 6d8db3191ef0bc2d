"""Every error this package raises on purpose, as one tree.

::

    VsrError                    anything below; catch this one
    ├── UsageError              the request itself makes no sense (options that exclude each other)
    ├── InputError              the source cannot be read, or is not what the request needs
    │   └── DecodeError         the source broke while it was being decoded
    ├── OutputError             the result cannot be written where or how it was asked for
    │   ├── EncodeError         the encoder refused its settings or failed on a frame
    │   ├── NameTakenError      there is a file of the result's name, and it may not be replaced
    │   └── VerifyError         the written file was read back and is not what it must be
    ├── StrictError             something cannot go along and ``--strict`` forbids leaving it behind
    ├── ModelError              a network or its weights cannot be built or loaded
    ├── BackendError            a device or backend is missing or failed
    │   └── OutOfMemoryError    the device has no room for a batch of one frame
    ├── PresetError             a preset is missing, malformed or has an unknown key
    └── DependencyError         an optional package that was asked for by name is not installed

Each says what happened, where (file, pts, key) and what to do about it. They pickle, so that
they cross process borders whole. Foreign errors (FFmpeg's, CUDA's) become one of these in one
place each, always with ``raise ... from``.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "EXIT_CODES",
    "BackendError",
    "DecodeError",
    "DependencyError",
    "EncodeError",
    "InputError",
    "ModelError",
    "NameTakenError",
    "OutOfMemoryError",
    "OutputError",
    "PresetError",
    "StrictError",
    "UsageError",
    "VerifyError",
    "VsrError",
    "exit_code",
]


class VsrError(Exception):
    """Base of all deliberate errors.

    Args:
        what: one sentence, what happened.
        where: the file, stream, timestamp or key it happened at; empty if nowhere in particular.
        remedy: what the person can do about it; empty if nothing is known to help.
    """

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  {self.remedy}" if self.remedy else text

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.what, self.where, self.remedy))


def _rebuild(kind: type[VsrError], what: str, where: str, remedy: str) -> VsrError:
    return kind(what, where=where, remedy=remedy)


class UsageError(VsrError):
    """The request itself makes no sense."""


class InputError(VsrError):
    """The source cannot be read, or is not what the request needs."""


class DecodeError(InputError):
    """The source broke while it was being decoded."""


class OutputError(VsrError):
    """The result cannot be written where or how it was asked for."""


class EncodeError(OutputError):
    """The encoder refused its settings or failed on a frame."""


class NameTakenError(OutputError):
    """There is a file of the result's name, and it may not be replaced."""


class VerifyError(OutputError):
    """The written file was read back and is not what it must be."""


class StrictError(VsrError):
    """Something cannot go along and strict mode forbids leaving it behind."""


class ModelError(VsrError):
    """A network or its weights cannot be built or loaded."""


class BackendError(VsrError):
    """A device or backend is missing or failed."""


class OutOfMemoryError(BackendError):
    """The device has no room for a batch of one frame."""


class PresetError(VsrError):
    """A preset is missing, malformed or has an unknown key."""


class DependencyError(VsrError):
    """An optional package that was asked for by name is not installed."""


#: Exit code of the command line for each kind of error; the nearest class in the tree wins.
#: 0 is success, 130 is Ctrl-C (128 + SIGINT), 1 is a bug (an exception not in this table).
EXIT_CODES: dict[type[BaseException], int] = {
    UsageError: 2,
    PresetError: 2,
    InputError: 3,
    OutputError: 4,
    VerifyError: 5,
    StrictError: 6,
    ModelError: 7,
    BackendError: 8,
    DependencyError: 8,
    KeyboardInterrupt: 130,
}


def exit_code(error: BaseException) -> int:
    """Exit code of the command line for ``error``; 1 for what the table does not know."""
    for kind in type(error).__mro__:
        if kind in EXIT_CODES:
            return EXIT_CODES[kind]
    return 1

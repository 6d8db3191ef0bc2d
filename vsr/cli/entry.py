"""The entry point: runs a command and turns whatever ends it into a message and an exit code."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

import click

from vsr import __version__
from vsr.cli.command import wants_debug, wants_json
from vsr.cli.group import cli
from vsr.cli.output import StdoutError, echo, echo_json, note
from vsr.errors import EXIT_CODES, UsageError, VsrError, exit_code

__all__ = ["main", "run"]

_COMPLETE = "_VSR_COMPLETE"
_OWN = ("vsr", "pipelines")
_USAGE = EXIT_CODES[UsageError]
# Shells report 128 plus the signal's number for a program that a signal ended.
_SIGNALLED = 128
_BROKEN_PIPE = _SIGNALLED + 13


class _Stopped(KeyboardInterrupt):
    """Somebody wants this process to end. A KeyboardInterrupt, so that all clean up alike."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main() -> NoReturn:
    """Run ``vsr`` on the arguments of this process, and end it."""
    if instruction := os.environ.get(_COMPLETE):
        from click.shell_completion import shell_complete

        sys.exit(shell_complete(cli, {}, "vsr", _COMPLETE, instruction))
    if isinstance(sys.stdout, io.TextIOWrapper):
        # File names need not be text in the terminal's encoding; printing them must not fail.
        sys.stdout.reconfigure(errors="backslashreplace")
    # torch's threads wait for each other in a loop otherwise. Where other programs want the cores
    # too, they then wait for whoever is not running: once sixty times as long, on small frames.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _end(run(sys.argv[1:]))


def _end(code: int) -> NoReturn:
    """End the process with ``code``, whatever its threads are doing.

    After Ctrl-C or an error the network may be in the middle of a frame, which nothing interrupts.
    Python's own way out would take the ground from under it, and the process would abort.
    """
    if threading.active_count() == 1:
        sys.exit(code)
    for stream in (sys.stdout, sys.stderr):
        # A reader that is gone has been reported already.
        with suppress(OSError):
            stream.flush()
    os._exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run ``vsr`` with ``arguments``; returns the exit code, having said what went wrong."""
    if not arguments:
        echo(cli.get_help(click.Context(cli, info_name="vsr")), err=True)
        return _USAGE
    context: click.Context | None = None
    try:
        with _signals(), cli.make_context("vsr", list(arguments)) as context:
            cli.invoke(context)
            sys.stdout.flush()
    except click.exceptions.Exit as end:
        return end.exit_code
    except BrokenPipeError:
        _discard_output()
        return _BROKEN_PIPE
    except BaseException as error:  # noqa: BLE001 - the outermost frame: nobody else would report it
        code = _code(error)
        mute = isinstance(error, StdoutError)
        if mute:
            _discard_output()
        try:
            json = not mute and _speaks_json(error, context, arguments)
            _report(error, code, context, json=json)
        except BrokenPipeError:
            # Ctrl-C ends whoever reads the output, too.
            _discard_output()
        return code
    return 0


def _discard_output() -> None:
    """Stdout cannot be written any more: Python would fail on that once more while it exits."""
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - os.devnull is no path to build on
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _code(error: BaseException) -> int:
    if isinstance(error, _Stopped):
        return _SIGNALLED + error.number
    if isinstance(error, click.ClickException):
        return error.exit_code
    return exit_code(error)


def _speaks_json(
    error: BaseException, context: click.Context | None, arguments: Sequence[str]
) -> bool:
    # Where the arguments themselves are wrong, nobody has come to read this one.
    unread = isinstance(error, click.UsageError) and "--json" in arguments
    return unread or wants_json(context)


def _report(error: BaseException, code: int, context: click.Context | None, *, json: bool) -> None:
    debug = wants_debug(context)
    if debug:
        echo("".join(traceback.format_exception(error)), err=True)
    what, where, remedy = _explain(error, debug)
    if json:
        echo_json(
            {
                "event": "error",
                "kind": _kind(error),
                "message": what,
                "where": where,
                "remedy": remedy,
                "exit_code": code,
            }
        )
    said = f"{where}: {what}" if where else what
    if isinstance(error, KeyboardInterrupt):
        note("stopped", said, "yellow")
    else:
        note("error", said, "red")
    if remedy:
        echo(f"  {remedy}", err=True)


def _explain(error: BaseException, debug: bool) -> tuple[str, str, str]:
    """What happened, where, and what to do about it."""
    if isinstance(error, VsrError):
        return error.what, error.where, error.remedy
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx is not None else "vsr"
        hint = f"`{path} -h` lists what there is."
        if isinstance(error, click.NoSuchOption):
            hint += " A file whose name begins with a dash takes ./ before it."
        return error.format_message(), "", hint
    if isinstance(error, click.ClickException):
        return error.format_message(), "", ""
    if isinstance(error, KeyboardInterrupt):
        number = error.number if isinstance(error, _Stopped) else signal.SIGINT
        how = "by Ctrl-C" if number == signal.SIGINT else f"by {signal.Signals(number).name}"
        return how, "", ""
    what = f"{type(error).__name__}: {error}"
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith(_OWN):
        return what, "", "The installation is not complete: install fdiwn-vsr again with pip."
    return (
        what,
        "",
        f"This is a bug in vsr {__version__}. Please report it in the project's issue tracker with "
        + ("the traceback above" if debug else "what the same command prints with --debug")
        + " and what `vsr doctor` says.",
    )


def _kind(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "Stopped"
    return "UsageError" if isinstance(error, click.UsageError) else type(error).__name__


@contextmanager
def _signals() -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and a closed terminal end the block by an exception.

    The first one lets the run clean up. The network cannot be interrupted within a frame, so that
    may take seconds; the second says so, the third ends the process at once.
    """
    received = 0

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal received
        received += 1
        if received == 1:
            raise _Stopped(number)
        if received == 2:
            note(
                "stopping",
                "waiting for the frame at hand. Once more ends it now, and may leave a "
                "temporary file.",
                "yellow",
            )
            return
        os._exit(_SIGNALLED + number)

    names = ("SIGINT", "SIGTERM", "SIGHUP")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    # nohup and background jobs have some of them ignored, which must stay so.
    before = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) != signal.SIG_IGN}
    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""The entry point: runs a command and turns whatever ends it into a message and an exit code."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
import traceback
from _thread import allocate_lock, start_new_thread
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import NoReturn, Self

import click

from vsr import __version__
from vsr.cli.command import wants_debug, wants_json
from vsr.cli.group import cli
from vsr.cli.output import CLOSED, StdoutError, echo, echo_json, note
from vsr.errors import EXIT_CODES, UsageError, VsrError, exit_code
from vsr.stopping import PATIENCE, Raised, Stopped, give_again, importing

__all__ = ["main", "run"]

_COMPLETE = "_VSR_COMPLETE"
_OWN = ("vsr", "pipelines")
_USAGE = EXIT_CODES[UsageError]
# Shells report 128 plus the signal's number for a program that a signal ended.
_SIGNALLED = 128
_BROKEN_PIPE = _SIGNALLED + 13


def main() -> NoReturn:
    """Run ``vsr`` on the arguments of this process, and end it."""
    _open_streams()
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


def _open_streams() -> None:
    """Have standard streams that the caller has closed lead nowhere.

    The next file that is opened would get their numbers, and what libraries print with them.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            CLOSED.add(name)
            nowhere = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            os.set_inheritable(nowhere, True)
            setattr(sys, name, open(nowhere, mode, closefd=False))  # noqa: SIM115 - it stays open


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
        _try(lambda: echo(cli.get_help(click.Context(cli, info_name="vsr")), err=True))
        return _USAGE
    context: click.Context | None = None
    signals = _Signals()
    try:
        with signals, cli.make_context("vsr", list(arguments)) as context:
            cli.invoke(context)
            sys.stdout.flush()
            signals.check()
    except click.exceptions.Exit as end:
        return signals.code or end.exit_code
    except BrokenPipeError:
        _discard_output()
        return signals.code or _BROKEN_PIPE
    except BaseException as error:  # noqa: BLE001 - the outermost frame: nobody else would report it
        ended = signals.ended(error)
        code = _code(ended)
        if isinstance(ended, StdoutError):
            _discard_output()
            json = False
        else:
            json = _speaks_json(ended, context, arguments)
        _report(ended, code, context, json=json)
        return code
    return 0


def _try(say: Callable[[], None]) -> None:
    """Say something, if it can be said: the exit code is the same where nobody can hear it."""
    try:
        say()
    except (BrokenPipeError, StdoutError):
        _discard_output()


def _discard_output() -> None:
    """Let streams that cannot be written lead nowhere: Python would fail on them while it exits."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - os.devnull is no path to build on
                os.dup2(nowhere.fileno(), stream.fileno())


def _code(error: BaseException) -> int:
    if isinstance(error, Stopped):
        return _SIGNALLED + error.number
    if isinstance(error, click.ClickException):
        return error.exit_code
    if isinstance(error, SystemExit) and isinstance(error.code, int):
        return error.code or 1  # there is no result
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
        _try(lambda: echo("".join(traceback.format_exception(error)), err=True))
    what, where, remedy = _explain(error, debug)
    told = {
        "event": "error",
        "kind": _kind(error),
        "message": what,
        "where": where,
        "remedy": remedy,
        "exit_code": code,
    }
    if json:
        _try(lambda: echo_json(told))
    said = f"{where}: {what}" if where else what
    if isinstance(error, KeyboardInterrupt):
        _try(lambda: note("stopped", said, "yellow"))
    else:
        _try(lambda: note("error", said, "red"))
    if remedy:
        _try(lambda: echo(f"  {remedy}", err=True))


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
        number = error.number if isinstance(error, Stopped) else signal.SIGINT
        how = "by Ctrl-C" if number == signal.SIGINT else f"by {signal.Signals(number).name}"
        then = error.__cause__
        if isinstance(then, VsrError):  # what went wrong on the way out
            how += f"; {then.where}: {then.what}" if then.where else f"; {then.what}"
        return how, "", ""
    if isinstance(error, SystemExit):
        return f"a library has ended the run, with {error.code!r}", "", ""
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


class _Signals:
    """Let Ctrl-C, SIGTERM and a closed terminal end a block by an exception. A context manager.

    The first one lets the run clean up. The network cannot be interrupted within a frame, so that
    may take seconds; the second says so, the third ends the process at once.

    No exception gets lost (:mod:`vsr.stopping`).
    """

    def __init__(self) -> None:
        self._number = 0  # of the first signal
        self._received = 0
        self._raised = Raised()
        self._reminded = False
        self._over = False
        self._turn = allocate_lock()

    def __enter__(self) -> Self:
        names = ("SIGINT", "SIGTERM", "SIGHUP")
        numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
        # nohup and background jobs have some of them ignored, which must stay so.
        before = {n: signal.getsignal(n) for n in numbers}
        self._before = {n: handler for n, handler in before.items() if handler != signal.SIG_IGN}
        for number in self._before:
            signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        with self._turn:
            self._over = True
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def code(self) -> int:
        """The exit code, if there was a signal; else 0."""
        return _SIGNALLED + self._number if self._number else 0

    def check(self) -> None:
        """Raise if there was a signal that the block has not noticed."""
        if self._number:
            raise self._raised.new(self._number)

    def ended(self, error: BaseException) -> BaseException:
        """What has ended the block that raised ``error``: the signal, if there was one."""
        if not self._number or isinstance(error, KeyboardInterrupt):
            return error
        stop = self._raised.new(self._number)
        stop.__cause__ = error
        return stop

    def _handle(self, number: int, frame: FrameType | None) -> None:
        reminded, self._reminded = self._reminded, False
        self._received += not reminded
        if self._received > 2:
            os._exit(_SIGNALLED + number)
        if not self._number:
            self._number = number
            # No threading.Thread: what is interrupted here may hold that module's locks.
            start_new_thread(self._remind, ())
        loading = importing(frame, run.__code__)
        if self._raised.lost and not loading:
            raise self._raised.new(self._number)
        if self._received == 2 and not reminded:
            what = "what is being loaded" if loading else "the frame at hand"
            end = "Once more ends it now, and may leave a temporary file."
            note("stopping", f"waiting for {what}. {end}", "yellow")

    def _remind(self) -> None:
        """Give the signal again for as long as its exception is lost. Runs in a thread."""
        while True:
            time.sleep(PATIENCE)
            with self._turn:
                if self._over:
                    return
                if not self._raised.lost:
                    continue
                number = self._number
                ours = signal.getsignal(number) == self._handle
                if ours:
                    self._reminded = True
                else:
                    # Somebody has taken over, as `vsr watch` does, and decides what it means.
                    self._number = 0
                give_again(number)
                if not ours:
                    return

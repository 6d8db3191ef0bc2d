"""``vsr watch`` and ``vsr watch status``."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vsr.cli.command import Command, Option, json_option
from vsr.cli.options import wish_options
from vsr.cli.output import echo, echo_json, note
from vsr.cli.params import LocalPath, Seconds, address, size, watched
from vsr.cli.queue import json_listener, status_json, status_text, text_listener

if TYPE_CHECKING:
    from pipelines.watch.watcher import Watcher

__all__ = ["watch"]

_FOLDER, _TRIES, _PAGE = "Watching", "When something fails", "Web page"


class _Watch(Command):
    """``watch IN OUT``, and ``watch status`` before it."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Look for the one word that is no folder."""
        if args[:1] == ["status"]:
            return status.make_context(f"{info_name} status", args[1:], parent=parent, **extra)
        return super().make_context(info_name, args, parent=parent, **extra)


def _option(section: str, *names: str, **settings: Any) -> Callable[[Any], Any]:
    return click.option(*names, cls=Option, section=section, **settings)


@click.command(
    cls=_Watch, epilog="`vsr watch status OUT` shows the queue. docs/watch.md has the details."
)
@click.argument("source", metavar="IN", type=LocalPath(), shell_complete=watched)
@click.argument("destination", metavar="OUT", type=LocalPath())
@_option(_FOLDER, "--once", is_flag=True, help="Do what is there, then end; for cron.")
@_option(
    _FOLDER,
    "--settle",
    type=Seconds(zero=True),
    default=10.0,
    metavar="SEC",
    help="Take files that have not changed for SEC seconds.  [default: 10]",
)
@_option(
    _FOLDER,
    "--poll",
    type=Seconds(zero=False),
    metavar="SEC",
    help="Look every SEC seconds.  [default: when the system tells of a change; on network drives, "
    "every 10]",
)
@_option(
    _FOLDER,
    "--include",
    multiple=True,
    metavar="PATTERN",
    help="Take only such files, as '*.mkv' or 'shows/*'. May be repeated.  [default: all videos]",
)
@_option(_FOLDER, "--exclude", multiple=True, metavar="PATTERN", help="Leave such files out.")
@_option(
    _FOLDER,
    "--max-concurrent",
    type=click.IntRange(1, 64),
    default=1,
    metavar="N",
    help="Files done at the same time.  [default: 1]",
)
@_option(
    _FOLDER,
    "--ledger",
    type=LocalPath(),
    metavar="FILE",
    help="Where the queue is kept.  [default: OUT/.vsr-watch/ledger.sqlite]",
)
@_option(
    _TRIES,
    "--attempts",
    type=click.IntRange(min=1),
    default=3,
    metavar="N",
    help="Failures before a file is quarantined.  [default: 3]",
)
@_option(
    _TRIES,
    "--retry-delay",
    type=Seconds(zero=True),
    default=60.0,
    metavar="SEC",
    help="Wait before the second attempt. Each further wait is twice as long as the last, but no "
    "longer than an hour, or than SEC if that is more.  [default: 60]",
)
@_option(
    _TRIES,
    "--quarantine",
    type=LocalPath(),
    metavar="DIR",
    help="Where files that cannot be done are moved.  [default: IN/vsr-quarantine]",
)
@_option(
    _TRIES,
    "--keep-free",
    callback=size,
    default="1G",
    metavar="SIZE",
    help="Wait rather than leave less room than this on the disk of OUT.  [default: 1G]",
)
@_option(
    _PAGE,
    "--serve",
    callback=address,
    metavar="HOST:PORT",
    help="Show queue and pictures on a web page, as 127.0.0.1:8080.",
)
@_option(
    _PAGE,
    "--serve-anyone",
    is_flag=True,
    help="Let --serve listen to other machines, too; there is no password.",
)
@wish_options
@json_option("One JSON object per line on stdout.")
@click.pass_context
def watch(
    ctx: click.Context,
    /,
    source: str,
    destination: str,
    once: bool,
    settle: float,
    poll: float | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    max_concurrent: int,
    ledger: str | None,
    attempts: int,
    retry_delay: float,
    quarantine: str | None,
    keep_free: int,
    serve: tuple[str, int] | None,
    serve_anyone: bool,
    as_json: bool,
    **wishes: Any,
) -> None:
    """Make every video that comes into the folder IN larger, into the folder OUT.

    A file is taken when it has settled, and done once, whatever happens in between: what is known
    about it is kept on the disk. Folders inside IN are made in OUT as well. SIGTERM and Ctrl-C stop
    the watcher; the next one goes on.
    """
    from pipelines.queue.run import Policy
    from pipelines.watch.find import Filter
    from pipelines.watch.request import WatchRequest
    from pipelines.watch.watcher import Watcher

    policy = Policy(attempts=attempts, delay=retry_delay, keep_free=keep_free)
    request = WatchRequest(
        source=Path(source),
        destination=Path(destination),
        wishes={name: value for name, value in wishes.items() if value is not None},
        wanted=Filter(include, exclude),
        settle=settle,
        poll=poll,
        workers=max_concurrent,
        once=once,
        policy=policy,
        ledger=Path(ledger) if ledger else None,
        quarantine=Path(quarantine) if quarantine else None,
    )
    if serve is None and serve_anyone:
        raise click.UsageError("--serve-anyone goes with --serve HOST:PORT.")
    listener = json_listener() if as_json else text_listener()
    with (
        Watcher(request, on_event=listener) as watcher,
        _page(watcher, serve, serve_anyone),
        _stopped_by_signals(watcher),
    ):
        code = watcher.run()
    ctx.exit(code)


@contextmanager
def _page(watcher: Watcher, serve: tuple[str, int] | None, anyone: bool) -> Iterator[None]:
    if serve is None:
        yield
        return
    from pipelines.watch.serve import Page

    with Page(watcher.ledger, watcher.home, *serve, anyone=anyone) as page:
        echo(f"the queue is shown at {page.url}", err=True)
        yield


@contextmanager
def _stopped_by_signals(watcher: Watcher) -> Iterator[None]:
    """Stopping is how a watcher ends: signals do not break into its bookkeeping.

    The first one stops it, the second says that this takes a moment, the third ends the process at
    once; its workers notice, and clean up.
    """
    received = 0

    def handle(number: int, _frame: object) -> None:
        nonlocal received
        received += 1
        if received == 1:
            watcher.stop()
        elif received == 2:
            note("stopping", "waiting for the frame at hand. Once more ends it now.", "yellow")
        else:
            import os

            os._exit(128 + number)

    names = ("SIGINT", "SIGTERM", "SIGHUP")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) != signal.SIG_IGN}
    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@click.command(cls=Command)
@click.argument("place", metavar="OUT", type=LocalPath())
@click.option("--all", "everything", is_flag=True, help="List what is done, too.")
@json_option("Print the queue as one JSON object.")
def status(place: str, everything: bool, as_json: bool) -> None:
    """Show the queue of the watcher that writes to OUT; OUT may be a ledger instead.

    The watcher need not run.
    """
    from pipelines.queue.ledger import Ledger
    from pipelines.watch.request import ledger_place

    with Ledger(ledger_place(Path(place)), read_only=True) as ledger:
        if as_json:
            echo_json(status_json(ledger), indent=2)
        else:
            echo(status_text(ledger, everything=everything))

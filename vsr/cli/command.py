"""What every command has: ``-h``, ``--debug``, and a help whose options stand in sections."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

__all__ = [
    "SETTINGS",
    "Command",
    "Option",
    "debug_option",
    "json_option",
    "wants_debug",
    "wants_json",
]

#: click's settings, the same for all commands.
SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

_COMMON = "Common"
F = TypeVar("F", bound=Callable[..., Any])

# Keys in the meta dictionary that a context shares with its parents, where the entry point finds
# them when a command has failed.
_DEBUG, _JSON = "vsr.debug", "vsr.json"


class Option(click.Option):
    """An option that belongs to a section of the help."""

    def __init__(self, *args: Any, section: str = _COMMON, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.section = section


class Command(click.Command):
    """A command with ``--debug``, whose help lists options under their sections."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        settings.setdefault("context_settings", SETTINGS)
        super().__init__(*args, **settings)
        self.params.append(debug_option())

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, and refuse empty values, as of a shell's variable that is not set."""
        rest = super().parse_args(ctx, args)
        for param in [] if ctx.resilient_parsing else self.get_params(ctx):
            given = ctx.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE
            value = ctx.params.get(param.name or "")
            values = value if isinstance(value, tuple) else (value,)
            # Of several files, an empty name is wrong by itself, and the others are not.
            if given and param.nargs != -1 and "" in values:
                raise click.BadParameter("the value is empty.", ctx=ctx, param=param)
        return rest

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options below a heading for each section."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, click.Option):
                section = param.section if isinstance(param, Option) else _COMMON
                sections.setdefault(section, []).append(record)
        # One column width for all sections, so that the page reads as one table.
        widest = max(len(left) for records in sections.values() for left, _ in records)
        for title, records in sections.items():
            with formatter.section(title):
                padded = [(left.ljust(min(widest, 30)), right) for left, right in records]
                formatter.write_dl(padded)


def _remember(key: str) -> Any:
    def callback(ctx: click.Context, _param: click.Parameter, value: bool) -> bool:
        if value:
            ctx.meta[key] = True
        # What is given before a subcommand's name holds for it, too.
        return bool(ctx.meta.get(key))

    return callback


def debug_option() -> click.Option:
    """``--debug``: show the traceback of an error."""
    return click.Option(
        ["--debug"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_remember(_DEBUG),
        help="Show the traceback of an error.",
    )


def json_option(help: str) -> Callable[[F], F]:  # noqa: A002 - click's name for it
    """``--json``; the entry point then reports errors as JSON too."""
    return click.option(
        "--json", "as_json", is_flag=True, is_eager=True, callback=_remember(_JSON), help=help
    )


def wants_debug(context: click.Context | None) -> bool:
    """Whether ``--debug`` was given, or ``VSR_DEBUG`` is set to anything but 0."""
    given = context is not None and bool(context.meta.get(_DEBUG))
    return given or os.environ.get("VSR_DEBUG", "0") not in ("", "0")


def wants_json(context: click.Context | None) -> bool:
    """Whether ``--json`` was given."""
    return context is not None and bool(context.meta.get(_JSON))

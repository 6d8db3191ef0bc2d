"""``vsr`` itself: the table of commands, each imported when it is called."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import click

from vsr import __version__
from vsr.cli.command import SETTINGS, debug_option
from vsr.cli.output import echo

__all__ = ["COMMANDS", "cli"]

#: name -> ("module:command", the line in ``vsr --help``). A new command is one file and one row.
COMMANDS: dict[str, tuple[str, str]] = {
    "upscale": ("vsr.cli.commands.upscale:upscale", "Make a video larger."),
    "plan": ("vsr.cli.commands.plan:plan", "Show what upscale would do, and how long it takes."),
    "compare": ("vsr.cli.commands.compare:compare", "Show files side by side, in a page or PNG."),
    "watch": ("vsr.cli.commands.watch:watch", "Make whatever comes into a folder larger."),
    "info": ("vsr.cli.commands.info:info", "Show what a file is."),
    "eval": ("vsr.cli.commands.eval:eval_", "Measure quality against ground truth."),
    "extract": ("vsr.cli.commands.extract:extract", "Write some frames exactly, with proof."),
    "train": ("vsr.cli.commands.train:train", "Train a network on a folder of images."),
    "presets": ("vsr.cli.commands.presets:presets", "List presets, or show one."),
    "weights": ("vsr.cli.commands.weights:weights", "List, check, import and fetch weights."),
    "export": ("vsr.cli.commands.export:export", "Write a network as an ONNX file."),
    "bench": ("vsr.cli.commands.machine.bench:bench", "Measure the speed of this machine."),
    "doctor": ("vsr.cli.commands.machine.doctor:doctor", "Show what works on this machine."),
    "completion": ("vsr.cli.commands.completion:completion", "Print a shell completion script."),
}


class _LazyGroup(click.Group):
    """A group that knows its commands' names and imports only the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Names in the order of the table."""
        return list(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        cmd_name: str,
    ) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        return cast(click.Command, getattr(import_module(module), attribute))

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command, or say which one may be meant."""
        word = args[0]
        if word not in COMMANDS and not word.startswith("-") and not ctx.resilient_parsing:
            ctx.fail(f"there is no command {word!r}. {_hint(word)}")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete a name from the table; click's own would import all commands for their help."""
        from click.shell_completion import CompletionItem

        names = [
            CompletionItem(name, help=line)
            for name, (_, line) in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)


def _hint(word: str) -> str:
    if close := get_close_matches(word, COMMANDS, n=1):
        return f"Did you mean {close[0]!r}?"
    if Path(word).exists():
        return f"Did you mean 'vsr upscale {word}'?"
    return f"Commands: {', '.join(COMMANDS)}."


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        echo(f"vsr {__version__}")
        ctx.exit()


_EPILOG = """\
\b
Examples:
  vsr upscale trip.mp4                     trip_x2.mp4 beside it
  vsr upscale a.mkv -s 4 -p hevc -o b.mkv  4x in HEVC
  vsr upscale *.mp4 -o large/              each into the folder, under its own name
  vsr plan a.mkv -s 4                      what that would do, how long it takes

`vsr COMMAND -h` explains a command.
"""


@click.group(
    cls=_LazyGroup,
    context_settings=SETTINGS,
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_version,
            help="Print the version.",
        ),
        debug_option(),
    ],
    epilog=_EPILOG,
    subcommand_metavar="COMMAND ...",
)
def cli() -> None:
    """Make videos two, three or four times as large, and change nothing else about them."""

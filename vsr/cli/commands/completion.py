"""``vsr completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from vsr.cli.command import Command
from vsr.cli.output import echo

__all__ = ["completion"]

# Where each shell looks by itself; all are loaded by new shells only.
_INSTALL = {
    "bash": "mkdir -p ~/.local/share/bash-completion/completions && \\\n"
    "#   vsr completion bash > ~/.local/share/bash-completion/completions/vsr",
    "zsh": "mkdir -p ~/.zfunc && vsr completion zsh > ~/.zfunc/_vsr\n"
    "# with this in ~/.zshrc, above compinit:\n"
    "#   fpath+=~/.zfunc; autoload -Uz compinit; compinit",
    "fish": "mkdir -p ~/.config/fish/completions && \\\n"
    "    vsr completion fish > ~/.config/fish/completions/vsr.fish",
}


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(list(_INSTALL)))
def completion(shell: str) -> None:
    """Print the script that lets SHELL complete commands, options, files, presets and codecs.

    Its last lines say where to put it.
    """
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"click knows no completion for {shell}.")
    from vsr.cli.group import cli

    echo(found(cli, {}, "vsr", "_VSR_COMPLETE").source().rstrip())
    echo(f"\n# To install this for new shells:\n#   {_INSTALL[shell]}")

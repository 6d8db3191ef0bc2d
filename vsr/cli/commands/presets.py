"""``vsr presets`` and ``vsr presets show``."""

from __future__ import annotations

import click

from vsr.cli.command import SETTINGS, Command, debug_option, json_option
from vsr.cli.output import echo, echo_json, note, table
from vsr.cli.params import presets as preset_names
from vsr.errors import PresetError
from vsr.preset import PresetFile, find_presets, load_preset, preset_folders
from vsr.preset.text import preset_toml

__all__ = ["presets"]


@click.group(invoke_without_command=True, context_settings=SETTINGS, params=[debug_option()])
@json_option("Print them as a JSON list.")
@click.pass_context
def presets(ctx: click.Context, as_json: bool) -> None:
    """List the presets there are: your own and the shipped ones."""
    if ctx.invoked_subcommand is not None:
        return
    found = find_presets()
    if as_json:
        echo_json([_entry(preset) for preset in found], indent=2)
        return
    own = [preset for preset in found if preset.origin == "user"]
    shipped = [preset for preset in found if preset.origin == "shipped"]
    folder = preset_folders()[0]
    for heading, group in ((f"yours, in {folder}", own), ("shipped", shipped)):
        if group:
            echo(heading)
            rows = [(preset.name, _line(preset)) for preset in group]
            echo("\n".join(table(rows)) + "\n")
    if not own:
        echo(f"Presets of your own go into {folder}")
    echo("`vsr presets show NAME` prints one as TOML, a start for your own.")


def _described(preset: PresetFile) -> tuple[str, PresetError | None]:
    """A preset's description, or what is wrong with it: one broken file must not hide the rest."""
    try:
        return load_preset(str(preset.path)).description, None
    except PresetError as error:
        return "", error


def _entry(preset: PresetFile) -> dict[str, object]:
    description, error = _described(preset)
    return {
        "name": preset.name,
        "origin": preset.origin,
        "path": preset.path,
        "shadows": preset.shadows,
        "description": description,
        "problem": None if error is None else f"{error.where}: {error.what}",
    }


def _line(preset: PresetFile) -> str:
    line, error = _described(preset)
    if error is not None:
        line = f"broken: {error.what}"
        note("warning", f"{error.where}: {error.what}", "yellow")
    return f"{line} (instead of the shipped one)" if preset.shadows else line


@presets.command(cls=Command)
@click.argument("name", shell_complete=preset_names)
@json_option("Print its values as one JSON object.")
def show(name: str, as_json: bool) -> None:
    """Print the preset NAME as TOML: every value, its comment, and the preset it comes from."""
    if as_json:
        echo_json(load_preset(name), indent=2)
    else:
        echo(preset_toml(name))

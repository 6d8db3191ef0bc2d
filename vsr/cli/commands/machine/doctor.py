"""``vsr doctor``."""

from __future__ import annotations

import click

from vsr.cli.checks import Finding, examine
from vsr.cli.command import Command, json_option
from vsr.cli.output import echo, echo_json, hang
from vsr.errors import EXIT_CODES, BackendError

__all__ = ["doctor"]

_SYMBOLS = {"ok": ("ok", "green"), "absent": ("-", "bright_black"), "failed": ("!", "red")}


@click.command(cls=Command)
@json_option("Print the findings as a JSON list.")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Show what works on this machine, and why not what doesn't.

    "ok" works, "-" is absent and can be done without, "!" must work and does not; then the exit
    code is 8.
    """
    findings = list(examine())
    if as_json:
        echo_json(findings, indent=2)
    else:
        _show(findings)
    if any(finding.state == "failed" for finding in findings):
        ctx.exit(EXIT_CODES[BackendError])


def _show(findings: list[Finding]) -> None:
    size = max(len(finding.name) for finding in findings)
    area = ""
    for finding in findings:
        if finding.area != area:
            echo(("\n" if area else "") + finding.area)
            area = finding.area
        symbol, color = _SYMBOLS[finding.state]
        head = f"  {click.style(symbol.ljust(2), fg=color)}  {finding.name.ljust(size)}  "
        echo("\n".join(hang(head, finding.text, size=size + 8)))

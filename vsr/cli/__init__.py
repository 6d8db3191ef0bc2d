"""The command line: parses, calls one function, prints what it returns."""

from vsr.cli.entry import main

__all__ = ["main"]

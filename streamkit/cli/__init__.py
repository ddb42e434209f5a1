"""The command line: one file per command, each importing what it needs when it runs, so that `--help` is quick.

`main.py` has the Typer app, `load.py` finds the app that a command names. May import: everything. Start reading at `main.py`.
"""

from __future__ import annotations


def main() -> None:
    """Entry point of the `streamkit` command."""
    from streamkit.cli.main import run_command_line

    run_command_line()

"""`streamkit reset`: an app back to its beginning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamkit.cli.options import CONFIG, SERVERS, SET, assignments
from streamkit.cli.topology import APP


def reset(
    app: Annotated[str, APP],
    *,
    bootstrap_servers: Annotated[str | None, SERVERS] = None,
    config: Annotated[Path | None, CONFIG] = None,
    set_: Annotated[list[str] | None, SET] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete an app's positions and internal topics, so that it starts anew. Its input and output topics are left alone."""
    from streamkit.load import load_app

    load_app(app).reset(
        bootstrap_servers=bootstrap_servers, settings=assignments(set_), config=config, confirm=None if yes else _ask
    )


def _ask(group: str, topics: tuple[str, ...]) -> bool:
    print(f"This deletes the positions of group '{group}' and these topics with their state:")
    for topic in topics:
        print(f"  {topic}")
    return typer.confirm("Go on?")

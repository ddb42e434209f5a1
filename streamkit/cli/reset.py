"""`streamkit reset`: an app back to its beginning."""

from __future__ import annotations

from typing import Annotated

import typer

from streamkit.cli.topology import APP


def reset(
    app: Annotated[str, APP],
    *,
    bootstrap_servers: Annotated[
        str | None,
        typer.Option(envvar="KAFKA_BOOTSTRAP_SERVERS", help="Addresses of the Kafka cluster. Default: localhost:9092"),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete an app's positions and internal topics, so that it starts anew. Its input and output topics are left alone."""
    from streamkit.cli.load import load_app

    load_app(app).reset(bootstrap_servers=bootstrap_servers, confirm=None if yes else _ask)


def _ask(group: str, topics: tuple[str, ...]) -> bool:
    print(f"This deletes the positions of group '{group}' and these topics with their state:")
    for topic in topics:
        print(f"  {topic}")
    return typer.confirm("Go on?")

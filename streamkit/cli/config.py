"""`streamkit config`: the settings in effect, as a TOML file that says where each came from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamkit.cli.options import CONFIG, SERVERS, SET, assignments

if TYPE_CHECKING:
    from streamkit.config import Settings


def config(
    app: Annotated[str | None, typer.Argument(metavar="[APP]", help="As for `run`: its group id is shown, too.")] = None,
    *,
    bootstrap_servers: Annotated[str | None, SERVERS] = None,
    config: Annotated[Path | None, CONFIG] = None,
    set_: Annotated[list[str] | None, SET] = None,
) -> None:
    """Print every setting in effect and where it came from, and check them all. Needs no broker; secrets are not shown."""
    from streamkit.app import connection, resolved
    from streamkit.load import load_app

    name = None if app is None else load_app(app).name
    effective = resolved(assignments(set_), config, None, {"kafka.bootstrap.servers": bootstrap_servers})
    connection(effective)
    if name is not None:
        print(f"# app '{name}': the consumer group is '{name}', transactional ids start with '{name}-{effective.instance_id}-'")
    for line in lines(effective):
        print(line)


def lines(effective: Settings) -> Iterator[str]:
    """A TOML document of the settings; what is not set, or not shown, is a comment."""
    from streamkit.config.resolve import listing

    rows = []
    for name, value, origin in listing(effective):
        in_kafka = name.startswith("kafka.")
        key = json.dumps(name.removeprefix("kafka.")) if in_kafka else name
        rows.append((in_kafka, f"# {key}" if value is None else f"{key} = {json.dumps(value, ensure_ascii=False)}", origin))
    width = min(60, max(len(text) for _, text, _ in rows))
    headed = False
    for in_kafka, text, origin in rows:
        if in_kafka and not headed:
            headed = True
            yield from ("", "[kafka]")
        yield f"{text:{width}}  # {origin}"

"""`streamkit explain`: why a window is still open."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from streamkit.cli.options import CONFIG, SERVERS, SET, assignments
from streamkit.cli.topology import APP


def explain(
    app: Annotated[str, APP],
    *,
    window: Annotated[
        str,
        typer.Option(
            "--window",
            metavar="KEY@START",
            help="The key as it is on the wire (text, a number, a JSON array, null; nothing behind globally()), and where the "
            "window starts: a time with its zone, or milliseconds since 1970. KEY@START/END if several start there; KEY@ for the "
            "oldest open window of the key.",
        ),
    ],
    aggregate: Annotated[
        str | None, typer.Option("--aggregate", metavar="NAME", help="Which aggregate, where the app has several.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    bootstrap_servers: Annotated[str | None, SERVERS] = None,
    config: Annotated[Path | None, CONFIG] = None,
    set_: Annotated[list[str] | None, SET] = None,
) -> None:
    """Say why a window is still open: how far time has come, which partition holds it back, and what would close it.

    It reads what the app has committed to Kafka, so it needs no running worker and disturbs none.
    """
    from streamkit.load import load_app
    from streamkit.runtime.open_window import parsed

    try:
        parsed(window)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--window") from None
    found = load_app(app).explain_window(
        window, aggregate=aggregate, bootstrap_servers=bootstrap_servers, settings=assignments(set_), config=config
    )
    print(json.dumps(found.as_dict(), default=str, ensure_ascii=False, indent=2) if as_json else found)

"""`streamkit topology`: the plan of an app, without a broker."""

from __future__ import annotations

from typing import Annotated

import typer

APP = typer.Argument(metavar="APP", help="module:app, module:factory, or a file such as services/bids/app.py")


def topology(
    app: Annotated[str, APP], *, mermaid: Annotated[bool, typer.Option("--mermaid", help="As a Mermaid flowchart.")] = False
) -> None:
    """Print what an app reads, does, keeps and writes. Needs no broker."""
    from streamkit.load import load_app

    print(load_app(app).describe(mermaid=mermaid))

"""`streamkit run`: one worker of an app in this process, or several under a supervisor."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Literal

import typer

from streamkit.cli.topology import APP


def run(
    app: Annotated[str, APP],
    *,
    bootstrap_servers: Annotated[
        str | None,
        typer.Option(envvar="KAFKA_BOOTSTRAP_SERVERS", help="Addresses of the Kafka cluster. Default: localhost:9092"),
    ] = None,
    until_end: Annotated[
        bool,
        typer.Option(
            "--until-end",
            help="Stop at the present end of the input and close all windows; a live service waits for the watermark.",
        ),
    ] = False,
    on_error: Annotated[
        Literal["stop", "skip"], typer.Option(help="What to do with a record that cannot be processed.")
    ] = "stop",
    create_topics: Annotated[
        int, typer.Option(min=0, metavar="PARTITIONS", help="Create missing topics with this many partitions, for a first try.")
    ] = 0,
    instance_id: Annotated[
        str | None,
        typer.Option(envvar="STREAMKIT_INSTANCE_ID", help="Tells workers of one app apart. Default: the host name"),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="Worker processes. One that dies is started again; they share the partitions.")
    ] = 1,
    worker_index: Annotated[int, typer.Option(hidden=True)] = 0,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run an app until SIGTERM or Ctrl-C, which finish the batch in hand, commit and leave the group."""
    from streamkit.cli.load import load_app

    loaded = load_app(app)
    if workers > 1:
        raise typer.Exit(_supervise(workers))
    loaded.run(
        bootstrap_servers=bootstrap_servers,
        until_end=until_end,
        on_error=on_error,
        create_topics=create_topics,
        instance_id=instance_id,
        worker_index=worker_index,
        parent=parent,
    )


def _supervise(workers: int) -> int:
    """This very command again, once for each worker, with a place of its own."""
    from streamkit.ops.logging import configure, service_log
    from streamkit.runtime.supervisor import Supervisor

    configure()
    again = [sys.executable, "-m", "streamkit.cli", *sys.argv[1:], "--workers", "1", "--parent", str(os.getpid())]
    return Supervisor(lambda index: [*again, "--worker-index", str(index)], workers, service_log({"worker": "supervisor"})).run()

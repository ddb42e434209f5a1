"""`streamkit run`: one worker of an app in this process, or several under a supervisor."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from streamkit.cli.options import CONFIG, SERVERS, SET, assignments
from streamkit.cli.topology import APP


def run(
    app: Annotated[str, APP],
    *,
    bootstrap_servers: Annotated[str | None, SERVERS] = None,
    config: Annotated[Path | None, CONFIG] = None,
    set_: Annotated[list[str] | None, SET] = None,
    until_end: Annotated[
        bool,
        typer.Option(
            "--until-end",
            help="Stop at the present end of the input and close all windows; a live service waits for the watermark.",
        ),
    ] = False,
    on_error: Annotated[
        Literal["stop", "skip"] | None, typer.Option(help="What to do with a record that cannot be processed. Default: stop")
    ] = None,
    create_topics: Annotated[
        int, typer.Option(min=0, metavar="PARTITIONS", help="Create missing topics with this many partitions, for a first try.")
    ] = 0,
    instance_id: Annotated[
        str | None, typer.Option(help="Tells workers of one app apart, as STREAMKIT_INSTANCE_ID. Default: the host name")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="Worker processes. One that dies is started again; they share the partitions.")
    ] = 1,
    report: Annotated[bool, typer.Option("--report", help="Print at the end where the time went, stage by stage.")] = False,
    profile: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a sampled profile of the run to this HTML file when it ends, of at most the first ten minutes. "
            "Needs: pip install 'streamkit\\[profile]'. With --workers each process writes its own: FILE with its index.",
        ),
    ] = None,
    worker_index: Annotated[int, typer.Option(hidden=True)] = 0,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run an app until SIGTERM or Ctrl-C, which finish the batch in hand, commit and leave the group."""
    from streamkit.load import load_app

    loaded = load_app(app)
    settings = assignments(set_)
    if workers > 1:
        raise typer.Exit(_supervise(loaded.name, workers, settings, config, profile))
    loaded.run(
        bootstrap_servers=bootstrap_servers,
        settings=settings,
        config=config,
        until_end=until_end,
        on_error=on_error,
        create_topics=create_topics,
        instance_id=instance_id,
        worker_index=worker_index,
        parent=parent,
        report=report,
        profile=profile if profile is None or parent is None else _of_worker(profile, worker_index),
    )


def _of_worker(profile: Path, index: int) -> Path:
    return profile.with_stem(f"{profile.stem}-{index}")


def _supervise(app: str, workers: int, settings: dict[str, object], config: Path | None, profile: Path | None) -> int:
    """This very command again, once for each worker, with a place of its own."""
    from streamkit.app import connection, resolved
    from streamkit.ops.logging import configure, service_log
    from streamkit.ops.profile import check_writable
    from streamkit.runtime.supervisor import Supervisor

    effective = resolved(settings, config, None, {})
    connection(effective)  # before any worker starts, so that what is wrong is said once
    if profile is not None:
        for index in range(workers):
            check_writable(_of_worker(profile, index))
    configure(json=effective.log_as_json, level=effective.log_level)
    again = [sys.executable, "-m", "streamkit.cli", *sys.argv[1:], "--workers", "1", "--parent", str(os.getpid())]
    log = service_log({"app": app, "worker": "supervisor"})
    return Supervisor(lambda index: [*again, "--worker-index", str(index)], workers, log).run()

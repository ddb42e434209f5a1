"""`streamkit dev`: an app on the embedded broker, with input from files or generators, started anew when it is saved."""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

import typer

from streamkit.cli.options import CONFIG, SET, assignments
from streamkit.cli.topology import APP

_INPUT = typer.Option(
    "--input",
    metavar="TOPIC=FILE",
    help="Values for a topic: a file with one JSON value in each line, or - for standard input. May be repeated.",
)
_RECORDS = typer.Option(
    "--input-records",
    metavar="TOPIC=FILE",
    help='As --input, with lines such as {"key": "A", "value": {...}, "timestamp": "2020-04-15T08:05:00Z", "headers": {}}.',
)
_PARTITIONS = typer.Option(min=1, metavar="N", help="Partitions of the source and sink topics that are created.")
_RATE = typer.Option(min=0.001, metavar="N", help="Records a second from each @topic.sample generator.")
_SAMPLE = typer.Option(
    "--sample/--no-sample",
    help="Whether topics without --input get records from their @topic.sample generator. Default: on the embedded broker only",
)
_BROKER = typer.Option("--broker", metavar="ADDRESS", help="A real Kafka instead of the embedded broker.")
_ON_ERROR = typer.Option(help="What to do with a record that cannot be processed. Default: stop")
_RELOAD = typer.Option(
    "--reload/--no-reload", help="Start the app anew when its files are saved. With files as the only input nothing is watched."
)
_LOG_LEVEL = typer.Option(help="Of the engine's log on standard error.")


def dev(
    app: Annotated[str, APP],
    *,
    input: Annotated[list[str] | None, _INPUT] = None,
    input_records: Annotated[list[str] | None, _RECORDS] = None,
    partitions: Annotated[int, _PARTITIONS] = 1,
    rate: Annotated[float, _RATE] = 10.0,
    sample: Annotated[bool | None, _SAMPLE] = None,
    broker: Annotated[str | None, _BROKER] = None,
    config: Annotated[Path | None, CONFIG] = None,
    set_: Annotated[list[str] | None, SET] = None,
    on_error: Annotated[Literal["stop", "skip"] | None, _ON_ERROR] = None,
    reload: Annotated[bool, _RELOAD] = True,
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], _LOG_LEVEL] = "ERROR",
) -> None:
    """Try an app: feed it, print its results as they are committed, and start it anew when it is saved.

    With files as the only input it runs to their end, closes the last windows and exits; else until Ctrl-C.
    """
    from streamkit.app import resolved
    from streamkit.cli.dev_input import parse
    from streamkit.cli.dev_session import DevOptions, Session

    given = [parse(text) for text in input or ()] + [parse(text, whole_records=True) for text in input_records or ()]
    arguments = {"kafka.bootstrap.servers": broker, "on_error": on_error, "log_level": log_level}
    options = DevOptions(
        given=tuple(given),
        partitions=partitions,
        rate=rate,
        sample=broker is None if sample is None else sample,
        embedded=broker is None,
        reload=reload,
    )
    effective = resolved(assignments(set_), config, None, arguments)
    signal.signal(signal.SIGTERM, _interrupt)  # while an app runs, the service has its own handler
    with suppress(KeyboardInterrupt), Session(app, options, effective) as session:
        session.run()


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's signature
    """SIGTERM ends the command as Ctrl-C does."""
    raise KeyboardInterrupt

"""The Typer app: commands are registered here, and errors of ours become one line instead of a traceback."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer

from streamkit.cli.config import config
from streamkit.cli.dev import dev
from streamkit.cli.exit_codes import BUG, exit_code, in_words
from streamkit.cli.explain import explain
from streamkit.cli.new import new
from streamkit.cli.reset import reset
from streamkit.cli.run import run
from streamkit.cli.sim import sim
from streamkit.cli.topology import topology
from streamkit.errors import KafkaError, StreamkitError

EXIT_CODES = in_words()

commands = typer.Typer(
    name="streamkit",
    help="Stream processing on Kafka, in Python.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
commands.command("new", epilog=EXIT_CODES)(new)
commands.command("dev", epilog=EXIT_CODES)(dev)
commands.command("sim", epilog=EXIT_CODES)(sim)
commands.command("run", epilog=EXIT_CODES)(run)
commands.command("reset", epilog=EXIT_CODES)(reset)
commands.command("topology", epilog=EXIT_CODES)(topology)
commands.command("explain", epilog=EXIT_CODES)(explain)
commands.command("config", epilog=EXIT_CODES)(config)


@commands.callback(invoke_without_command=True, epilog=EXIT_CODES)
def options(*, version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    """Stream processing on Kafka, in Python."""
    if version:
        print(_version())
        raise typer.Exit


def _version() -> str:
    """With the compiled parts that can be loaded here."""
    from streamkit import __version__, compiled

    return f"streamkit {__version__} (compiled: {', '.join(compiled.loaded()) or 'nothing'})"


def run_command_line() -> None:
    """Runs the command; an error that streamkit raised on purpose is printed as it is. The exit code says what kind it was."""
    try:
        commands()
    except StreamkitError as error:
        print(f"error: {error}", file=sys.stderr)
        cause = error.__cause__
        # what librdkafka reported is in the text of a KafkaError already
        is_told = isinstance(error, KafkaError) and not isinstance(cause, StreamkitError)
        if cause is not None and not is_told and str(cause) not in str(error):
            print(f"  caused by {type(cause).__name__}: {cause}", file=sys.stderr)
        sys.exit(exit_code(error))
    except Exception:  # noqa: BLE001 - told in full, with a code of its own
        traceback.print_exc()
        sys.exit(BUG)

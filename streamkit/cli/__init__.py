"""The command line: one file per command, each importing what it needs when it runs, so that `--help` is quick.

`main.py` has the Typer app. May import: everything. Start reading at `main.py`.
"""

from __future__ import annotations

import os
import signal
from types import FrameType


def main() -> None:
    """Entry point of the `streamkit` command."""
    # Batches are small: Polars' own threads cost more than they bring, and several workers would fight over the processors.
    os.environ.setdefault("POLARS_MAX_THREADS", "1")  # read when Polars is imported
    if os.getpid() == 1:
        # In a container the kernel drops a signal for which process 1 has no handler, so a stop during the imports below would be
        # lost, and the container killed after its grace period. A service installs its own handler when it starts.
        signal.signal(signal.SIGTERM, _leave)
    # A service that is starting must not die of the question what it is at, and answers it when it runs (runtime/service.py).
    signal.signal(signal.SIGUSR1, _nobody_answers)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    from streamkit.cli.main import run_command_line

    run_command_line()


def _nobody_answers(number: int, frame: FrameType | None) -> None:
    """Before a service runs, and after it has ended."""


def _leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's signature
    os._exit(128 + number)  # nothing has been begun

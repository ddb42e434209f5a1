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
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # a service that is starting has nothing to tell yet, and must not die of it
    from streamkit.cli.main import run_command_line

    run_command_line()


def _leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's signature
    os._exit(128 + number)  # nothing has been begun

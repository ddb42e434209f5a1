"""Commands that fetch or install something: without input, bounded, and with all that they say in one text."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence


def output_of(command: Sequence[str], environment: Mapping[str, str], timeout: float) -> subprocess.CompletedProcess[str]:
    """`stdout` holds both streams; the exit code is the caller's to judge. Raises subprocess.TimeoutExpired."""
    return subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )

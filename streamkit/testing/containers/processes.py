"""A replica as a process of this machine: `streamkit run` with this interpreter. Needs no Docker."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path


class ProcessReplica:
    """`streamkit ARGUMENTS` in the current directory. It drains if this process is gone."""

    def __init__(self, name: str, arguments: Sequence[str], environment: Mapping[str, str], directory: Path) -> None:
        self.name = name
        self._arguments = list(arguments)
        self._environment = {**os.environ, "POLARS_MAX_THREADS": "1", **environment, "STREAMKIT_INSTANCE_ID": name}
        self._log = directory / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        parent = ["--parent", str(os.getpid())] if self._arguments[:1] == ["run"] else []
        command = [sys.executable, "-m", "streamkit.cli", *self._arguments, *parent]
        with self._log.open("ab") as log:
            # A session of its own: Ctrl-C in the terminal must reach the test only, which then stops things in order.
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment, start_new_session=True
            )

    def terminate(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def wait(self, timeout_s: float) -> int | None:
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_s)
        return self.exit_code()

    def exit_code(self) -> int | None:
        code = None if self._process is None else self._process.poll()
        return 128 - code if code is not None and code < 0 else code  # as containers and shells count signals

    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def close(self) -> None:
        self.kill()

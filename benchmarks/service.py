"""`streamkit run` in a process of its own, watched from outside: its log, its memory, its processor time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any


class Service:
    """Runs until it is told to end. ``app`` is what `streamkit run` is given, ``environment`` what the app reads."""

    def __init__(self, bootstrap: str, app: str, environment: Mapping[str, str], *options: str) -> None:
        command = [sys.executable, "-m", "streamkit.cli", "run", app, "--set", "log_format=json", *options]
        surroundings = os.environ | dict(environment) | {"KAFKA_BOOTSTRAP_SERVERS": bootstrap}
        self.process = subprocess.Popen(command, env=surroundings, stderr=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(iter(self.process.stderr.readline, ""))

    def events(self, name: str) -> list[dict[str, Any]]:
        """Those of its log so far."""
        found = [json.loads(line) for line in tuple(self.lines) if line.startswith("{")]
        return [line for line in found if line["event"] == name]

    def wait_until(self, event: str, timeout_s: float = 60) -> None:
        deadline = time.monotonic() + timeout_s
        while not self.events(event):
            if time.monotonic() > deadline or self.process.poll() is not None:
                self.process.kill()
                raise RuntimeError(f"no '{event}':\n{self.last_words()}")
            time.sleep(0.1)

    def memory_mb(self) -> float:
        """Resident."""
        return int(self._ps("rss=")) / 1024

    def cpu_s(self) -> float:
        """Of all its threads, user and system (Linux)."""
        with open(f"/proc/{self.process.pid}/stat") as found:  # noqa: PTH123 - one line
            fields = found.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _ps(self, what: str) -> str:
        command = ["ps", "-o", what, "-p", str(self.process.pid)]
        shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
        if not shown:
            raise RuntimeError(f"the service has ended:\n{self.last_words()}")
        return shown

    def last_words(self) -> str:
        return "".join(self.lines[-10:])

    def end(self, *, terminate: bool = True, timeout_s: float = 120) -> None:
        """By SIGTERM, or by itself; RuntimeError if it fails."""
        if terminate:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout_s)
        self._listener.join()
        if code:
            raise RuntimeError(f"the service ended with {code}:\n{self.last_words()}")

"""The workers of a chaos run: a process each, started again when they end by themselves, as a supervisor would."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.apps.chaos import RUN
from tests.support.watchdog import Watchdog

ROOT = Path(__file__).parents[2]
SESSION_MS, TRANSACTION_MS = 6_000, 5_500
ZOMBIE = "c"
ZOMBIE_TRANSACTION_MS = 12_000
RESTART_PAUSE_S = 0.5
SETTINGS = {
    "session_timeout": f"{SESSION_MS}ms",
    "transaction_timeout": f"{TRANSACTION_MS}ms",
    "max_poll_interval": "20s",
    "replication_factor": "3",
    "min_insync_replicas": "2",
}


@dataclass(slots=True)
class Worker:
    """``wanted``: it is to be alive, so one that ended by itself is started again. ``held``: a fault has killed or stopped it and
    will bring it back. ``exits``: (when, code) of ends that nobody asked for."""

    name: str
    process: subprocess.Popen[bytes] | None = None
    wanted: bool = False
    held: bool = False
    start_at: float = 0.0
    exits: list[tuple[float, int]] = field(default_factory=list)

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None


class Workers:
    """Logs are `<directory>/worker-<name>.log`, one file per name over all its lives."""

    def __init__(self, bootstrap: str, run: str, directory: Path, protocol: str = "classic", *, static: bool = False) -> None:
        self._bootstrap = bootstrap
        self._run = run
        self._protocol = protocol
        self._static = static
        self._directory = directory
        self._watchdog = Watchdog()
        self._lock = threading.RLock()
        self._over = threading.Event()
        self.by_name: dict[str, Worker] = {}
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self._keeper.start()

    # ---- life

    def start(self, name: str) -> None:
        with self._lock:
            worker = self.by_name.setdefault(name, Worker(name))
            worker.wanted, worker.held = True, False
            if not worker.alive:
                worker.process = self._launch(name, self._command(name))

    def kill(self, name: str) -> None:
        """SIGKILL. It stays dead until `start`."""
        with self._lock:
            worker = self.by_name[name]
            worker.held = True
            self._end(worker, signal.SIGKILL)

    def pause(self, name: str) -> None:
        """SIGSTOP."""
        with self._lock:
            worker = self.by_name[name]
            worker.held = True
            if worker.process is not None and worker.alive:
                worker.process.send_signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        with self._lock:
            worker = self.by_name[name]
            worker.held = False
            if worker.process is not None and worker.alive:
                worker.process.send_signal(signal.SIGCONT)

    def leave(self, name: str, timeout: float = 30) -> int:
        """SIGTERM: it drains and leaves the group. Its exit code; -9 if it did not end in time."""
        with self._lock:
            worker = self.by_name[name]
            worker.wanted, worker.held = False, True
        return self._end(worker, signal.SIGTERM, timeout)

    def leave_all(self) -> dict[str, int]:
        for worker in self.by_name.values():
            worker.wanted = False
        return {name: self.leave(name) for name, worker in self.by_name.items() if worker.alive}

    def finish(self, timeout: float = 120) -> int:
        """One worker that runs to the end of the input and closes all windows; its exit code."""
        worker = self.by_name["last"] = Worker("last", held=True)
        worker.process = self._launch("last", [*self._command("last"), "--until-end"])
        try:
            return worker.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return self._end(worker, signal.SIGABRT)
        finally:
            self._watchdog.forget_process(worker.process.pid)

    def stop(self) -> None:
        self._over.set()
        self._keeper.join(10)
        for worker in self.by_name.values():
            worker.wanted = False
            self._end(worker, signal.SIGKILL)
        self._watchdog.release()

    def dump_stacks(self) -> None:
        """SIGABRT: Python writes the stacks of all threads to the worker's log and ends."""
        with self._lock:
            for worker in self.by_name.values():
                if worker.alive:
                    worker.held = True
                    worker.process.send_signal(signal.SIGCONT)
                    self._end(worker, signal.SIGABRT)

    # ---- what they said

    def log_file(self, name: str) -> Path:
        return self._directory / f"worker-{name}.log"

    def events(self, name: str) -> Iterator[dict[str, object]]:
        """The lines of its log that are events."""
        if not self.log_file(name).exists():
            return
        with self.log_file(name).open(errors="replace") as file:
            for line in file:
                with contextlib.suppress(json.JSONDecodeError):
                    found = json.loads(line)
                    if isinstance(found, dict) and "event" in found:
                        yield found

    def event_counts(self) -> Counter[str]:
        return Counter(
            str(event["event"]) for name in self.by_name for event in self.events(name) if " " not in str(event["event"])
        )

    def running(self, name: str) -> int:
        """How often it said that tasks run."""
        return sum(event["event"] == "running" for event in self.events(name))

    def exits(self) -> list[tuple[str, float, int]]:
        """Ends that nobody asked for: (worker, when, exit code)."""
        return [(worker.name, at, code) for worker in self.by_name.values() for at, code in worker.exits]

    # ---- processes

    def _command(self, name: str) -> list[str]:
        where = ["--bootstrap-servers", self._bootstrap, "--instance-id", name]
        if name == ZOMBIE:
            longer = ["--transaction-timeout-ms", str(ZOMBIE_TRANSACTION_MS), "--session-timeout-ms", str(SESSION_MS)]
            static = ["--static"] if self._static else []
            return [sys.executable, "-m", "tests.support.apps.chaos", *where, *longer, "--protocol", self._protocol, *static]
        wanted = {**SETTINGS, "group_protocol": self._protocol, "static_membership": str(self._static).lower()}
        settings = [argument for item in wanted.items() for argument in ("--set", "=".join(item))]
        return [sys.executable, "-m", "streamkit.cli", "run", "tests.support.apps.chaos:make_app", *where, *settings]

    def _launch(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        environment = {**os.environ, RUN: self._run, "POLARS_MAX_THREADS": "1", "PYTHONFAULTHANDLER": "1", "OMP_NUM_THREADS": "1"}
        with self.log_file(name).open("ab") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._watchdog.watch_process(process.pid)
        return process

    def _end(self, worker: Worker, how: signal.Signals, timeout: float = 10) -> int:
        process = worker.process
        if process is None:
            return 0
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(how)
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait(10)
        worker.process = None
        self._watchdog.forget_process(process.pid)
        return process.returncode

    def _keep(self) -> None:
        """What a supervisor does: whoever ends by itself is started again after a pause."""
        while not self._over.wait(0.1):
            with self._lock:
                now = time.monotonic()
                for worker in self.by_name.values():
                    if not worker.wanted or worker.held:
                        continue
                    if worker.process is not None and worker.process.poll() is not None:
                        worker.exits.append((now, worker.process.returncode))
                        self._end(worker, signal.SIGKILL)
                        worker.start_at = now + RESTART_PAUSE_S
                    elif worker.process is None and now >= worker.start_at:
                        worker.process = self._launch(worker.name, self._command(worker.name))

"""What a contestant is told, what it tells, and how it is run: in a process of its own, measured from inside and outside.

From inside: the clock and the processor time (all threads, user and system) from before the first poll to the end, when all is
committed, and the peak memory.
From outside: the processor time of the whole process, its start and end included.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Job:
    """``task``: "windows" (to the end of the input), "fill" (read everything, close nothing) or "restore"."""

    bootstrap: str
    app: str
    source: str
    sink: str
    records: int
    partitions: int = 1
    task: str = "windows"
    window: str = "10s"


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds; ``wall_s`` counts from the first record on."""

    records: int
    wall_s: float
    cpu_s: float
    process_cpu_s: float
    start_cpu_s: float
    peak_mb: int
    events: list[dict[str, Any]]  # the contestant's log

    @property
    def per_second(self) -> float:
        return self.records / self.wall_s

    @property
    def per_cpu_second(self) -> float:
        return self.records / self.cpu_s

    @property
    def per_process_cpu_second(self) -> float:
        return self.records / self.process_cpu_s

    def figures(self) -> dict[str, float]:
        own = {name: value for name, value in asdict(self).items() if name != "events"}
        rates = ("per_second", "per_cpu_second", "per_process_cpu_second")
        return own | {name: round(getattr(self, name)) for name in rates}


class Stopwatch:
    """The three moments of a contestant: before its first poll, the first record, the end."""

    def __init__(self) -> None:
        self._begun: float | None = None
        self._first: float | None = None
        self._end: tuple[float, float] | None = None

    def begin(self) -> None:
        if self._begun is None:
            self._begun = _cpu_s()

    def first_record(self) -> None:
        if self._first is None:
            self._first = time.perf_counter()

    def end(self) -> None:
        if self._end is None:
            self._end = time.perf_counter(), _cpu_s()

    def tell(self, records: int) -> None:
        """One line for whoever runs the contestant."""
        if self._begun is None or self._first is None or self._end is None:
            raise RuntimeError("the contestant read nothing")
        wall, cpu = self._end
        told = {"wall_s": wall - self._first, "cpu_s": cpu - self._begun, "start_cpu_s": self._begun, "peak_mb": _peak_mb()}
        print(json.dumps({"records": records, **told}))


def _peak_mb() -> int:
    """Largest resident size of this program. (`ru_maxrss` would count what it was forked from, too.)"""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "linux" else 1024 * 1024)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def told() -> Job:
    """The job of this process."""
    return Job(**json.loads(sys.argv[1]))


def run(contestant: str, job: Job, *, timeout_s: float = 120) -> Measured:
    """Runs ``benchmarks.contestants.<contestant>``; RuntimeError with its last words if it fails."""
    command = [sys.executable, "-m", f"benchmarks.contestants.{contestant}", json.dumps(asdict(job))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    words: list[str] = []
    listener = threading.Thread(target=words.extend, args=(process.stderr,))
    listener.start()
    killer = threading.Timer(timeout_s, process.kill)
    killer.start()
    try:
        told = process.stdout.read()
        listener.join()
        _, status, used = os.wait4(process.pid, 0)  # with what the process used, which Popen.wait does not tell
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        killer.cancel()
    if process.returncode != 0:
        raise RuntimeError(f"{contestant} ended with {process.returncode}:\n{''.join(words[-15:])}")
    events = [json.loads(line) for line in words if line.startswith("{")]
    return Measured(
        **json.loads(told.splitlines()[-1]),
        process_cpu_s=used.ru_utime + used.ru_stime,
        events=events,
    )

"""What a contestant is told, what it tells, and how it is run: in a process of its own, measured from inside and outside.

From inside: the clock and the processor time (all threads, user and system) from before the first poll to the end, when all is
committed, and the peak memory.
From outside: the processor time of the whole process, its start and end included.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Job:
    """``task``: "windows" (to the end of the input), "fill" (read everything, close nothing) or "restore".

    ``pipeline`` is what is computed, one of `benchmarks.workloads`; ``outputs`` is how many results that gives.
    """

    bootstrap: str
    app: str
    source: str
    sink: str
    records: int
    partitions: int = 1
    task: str = "windows"
    window: str = "10s"
    pipeline: str = "tumbling"
    outputs: int = 0


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds; ``wall_s`` counts from the first record on, ``start_s`` from the start of the process to it."""

    records: int
    wall_s: float
    cpu_s: float
    process_cpu_s: float
    start_s: float
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
        self._first: tuple[float, float] | None = None
        self._end: tuple[float, float] | None = None

    def begin(self) -> None:
        if self._begun is None:
            self._begun = _cpu_s()

    def first_record(self) -> None:
        if self._first is None:
            self._first = time.perf_counter(), time.time()

    def end(self) -> None:
        if self._end is None:
            self._end = time.perf_counter(), _cpu_s()

    def tell(self, records: int) -> None:
        """One line for whoever runs the contestant."""
        if self._begun is None or self._first is None or self._end is None:
            raise RuntimeError("the contestant read nothing")
        wall, cpu = self._end
        first, first_at = self._first
        told = {"wall_s": wall - first, "cpu_s": cpu - self._begun, "start_cpu_s": self._begun, "peak_mb": peak_mb()}
        print(json.dumps({"records": records, "first_at": first_at, **told}))


def peak_mb(process: int | str = "self") -> int:
    """Largest resident size of a program. (`ru_maxrss` would count what it was forked from, too.)"""
    status = Path(f"/proc/{process}/status")
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


def command(contestant: str) -> list[str]:
    """A contestant that lives in this environment."""
    return [sys.executable, "-m", f"benchmarks.contestants.{contestant}"]


def run(
    contestant: str,
    job: Job,
    *,
    timeout_s: float = 120,
    program: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Measured:
    """Runs ``benchmarks.contestants.<contestant>``, or another program that takes a job and tells as that does.

    RuntimeError with its last words if it fails, tells nothing or takes too long.
    """
    started_at = time.time()
    process = subprocess.Popen(
        [*(program or command(contestant)), json.dumps(asdict(job))],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | dict(environment or {}),
        start_new_session=True,  # so that what it starts ends with it
    )
    assert process.stdout is not None
    assert process.stderr is not None
    words: list[str] = []
    listener = threading.Thread(target=words.extend, args=(process.stderr,))
    listener.start()
    overdue = threading.Event()

    def end() -> None:
        overdue.set()
        os.killpg(process.pid, signal.SIGKILL)

    killer = threading.Timer(timeout_s, end)
    killer.start()
    try:
        with process.stdout, process.stderr:
            told = process.stdout.read()
            listener.join()
        _, status, used = os.wait4(process.pid, 0)  # with what the process used, which Popen.wait does not tell
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        killer.cancel()
        if process.returncode is None:  # we were interrupted
            os.killpg(process.pid, signal.SIGKILL)
    if overdue.is_set():
        raise RuntimeError(f"{contestant} was ended after {timeout_s:.0f} s:\n{''.join(words[-15:])}")
    if process.returncode != 0:
        raise RuntimeError(f"{contestant} ended with {process.returncode}:\n{''.join(words[-15:])}")
    return _measured(contestant, told, used.ru_utime + used.ru_stime, started_at, words)


def _measured(contestant: str, told: str, cpu_s: float, started_at: float, words: list[str]) -> Measured:
    lines = [line for line in told.splitlines() if line.startswith("{")]
    if not lines:
        raise RuntimeError(f"{contestant} told nothing:\n{''.join(words[-15:])}")
    figures = json.loads(lines[-1])
    first_at = figures.pop("first_at")
    outside = {"process_cpu_s": cpu_s, "start_s": first_at - started_at}
    # A contestant whose work is done by a process that it starts tells that one's processor time itself.
    return Measured(**(outside | figures), events=[json.loads(line) for line in words if line.startswith("{")])

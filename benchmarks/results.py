"""What the suite has measured, kept in results.json: runs, what failed and why, the machine and the versions."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_PATH = re.compile(r"(?<![\w.])/(?:[\w.+@-]+/)+")


@dataclass(frozen=True, slots=True)
class Run:
    """One turn of a contestant: seconds, megabytes, and how many results it wrote. They were right, or there is no run."""

    workload: str
    contestant: str
    turn: int
    records: int
    results: int
    wall_s: float
    cpu_s: float
    process_cpu_s: float
    start_s: float
    start_cpu_s: float
    peak_mb: int
    at: str  # the minute, UTC
    begun: str  # when the run of the suite began that this turn belongs to, UTC: ratios are of one run

    @property
    def per_second(self) -> float:
        return self.records / self.wall_s

    @property
    def per_cpu_second(self) -> float:
        return self.records / self.cpu_s

    @property
    def per_process_cpu_second(self) -> float:
        return self.records / self.process_cpu_s


@dataclass(slots=True)
class Results:
    """Runs of several sessions: a pair of workload and contestant that is measured anew takes the place of what there was."""

    scale: float = 1.0
    machine: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)  # "workload contestant" -> reason
    _fresh: set[tuple[str, str]] = field(default_factory=set)

    def add(self, run: Run) -> None:
        pair = run.workload, run.contestant
        if pair not in self._fresh:
            self.runs = [each for each in self.runs if (each.workload, each.contestant) != pair]
            self._fresh.add(pair)
        self.failures.pop(" ".join(pair), None)
        self.runs.append(run)

    def fail(self, workload: str, contestant: str, reason: str) -> None:
        self.failures[f"{workload} {contestant}"] = without_paths(reason)

    def of(self, workload: str, contestant: str) -> list[Run]:
        return [run for run in self.runs if (run.workload, run.contestant) == (workload, contestant)]

    def failure(self, workload: str, contestant: str) -> str | None:
        return self.failures.get(f"{workload} {contestant}")

    def median(self, workload: str, contestant: str, figure: Callable[[Run], float]) -> float | None:
        """None if it has not been measured."""
        runs = self.of(workload, contestant)
        return statistics.median(map(figure, runs)) if runs else None

    def rate(self, workload: str, contestant: str) -> float | None:
        """Records per CPU-second."""
        return self.median(workload, contestant, lambda run: run.per_cpu_second)

    def ratio(self, workload: str, contestant: str, other: str, *, of: str | None = None) -> float | None:
        """How many times the rate of another contestant: of the same workload, or of ``of``. None unless of one run."""
        base = of or workload
        mine, theirs = self.rate(workload, contestant), self.rate(base, other)
        return mine / theirs if mine and theirs and self.together((workload, contestant), (base, other)) else None

    def together(self, *pairs: tuple[str, str]) -> bool:
        """Whether one run of the suite has measured all these: the machine's speed differs from run to run."""
        return len({run.begun for pair in pairs for run in self.of(*pair)}) == 1

    def figures(self) -> Iterator[dict[str, Any]]:
        for run in self.runs:
            yield asdict(run) | {"per_cpu_second": round(run.per_cpu_second)}


def without_paths(text: str) -> str:
    """A reason in one line, without the directories of this machine; of a long one its beginning and its end."""
    words = _PATH.sub("", " ".join(text.split()))
    return words if len(words) <= 400 else f"{words[:100]} ... {words[-300:]}"


def machine(kafka: str) -> dict[str, Any]:
    """As much as is needed to judge the figures, and no names."""
    return {
        "processors": os.cpu_count(),
        "processor": _first("/proc/cpuinfo", "model name") or platform.machine(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": platform.system(),
        "python": platform.python_version(),
        "kafka": without_paths(kafka),
    }


def _first(file: str, name: str) -> str | None:
    path = Path(file)
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)


def load(path: Path) -> Results:
    """What the file holds; nothing if there is none. ValueError if it is no results file."""
    if not path.exists():
        return Results()
    try:
        told = json.loads(path.read_text())
        runs = [Run(**{name: run[name] for name in Run.__slots__}) for run in told["runs"]]
        return Results(told["scale"], told["machine"], told["versions"], runs, told["failures"])
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} holds no results of this suite ({error}); --fresh starts anew") from error


def save(results: Results, path: Path, bars: list[dict[str, Any]]) -> None:
    told = {
        "scale": results.scale,
        "machine": results.machine,
        "versions": results.versions,
        "bars": bars,
        "failures": results.failures,
        "runs": list(results.figures()),
    }
    part = path.with_suffix(".part")
    part.write_text(json.dumps(told, indent=1) + "\n")
    part.replace(path)

"""`make bench-quick`: streamkit beside raw consuming and a hand-written loop on one real Kafka, in under two minutes.

    A    100 keys, 2 M records, 1 partition        A4   the same in 4 partitions
    B    100,000 keys, 1 M records, 1 partition: nearly a result for each record

Contestants take turns, each in a fresh process; of several turns the median counts. All results are checked. The last line is
`bench-quick: A/floor x.xx  A/hand x.xx  B/hand x.xx`: ratios of records per CPU-second.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import bids, job, restore
from benchmarks.bids import Windows
from benchmarks.contestants import tuned
from benchmarks.job import Job, Measured
from benchmarks.stage import Stage, stage
from tests.support.broker import find_broker

RATIOS = (("A", "floor"), ("A", "hand"), ("B", "hand"))
RESULTS = Path(__file__).with_name("results-quick.json")
LIBRARIES = ("confluent-kafka", "msgspec", "numpy", "orjson", "polars")


@dataclass(frozen=True, slots=True)
class Case:
    """``turns`` are played from left to right."""

    name: str
    keys: int
    records: int
    partitions: int
    turns: tuple[str, ...]


CASES = (
    Case("A", 100, 2_000_000, 1, ("floor", "streamkit", "hand", "hand", "streamkit", "floor", "floor", "streamkit", "hand")),
    Case("A4", 100, 2_000_000, 4, ("floor", "streamkit", "hand")),
    Case("B", 100_000, 1_000_000, 1, ("streamkit", "hand", "hand", "streamkit", "streamkit", "hand")),
)


@dataclass(slots=True)
class Results:
    """What was measured, by case and contestant."""

    runs: dict[tuple[str, str], list[Measured]] = field(default_factory=dict)
    restored: restore.Restored | None = None

    def median(self, case: str, contestant: str, figure: Callable[[Measured], float]) -> float:
        return statistics.median(map(figure, self.runs[case, contestant]))

    def ratio(self, case: str, other: str) -> float:
        """Records per CPU-second of streamkit over those of another."""
        mine, theirs = (self.median(case, one, lambda run: run.per_cpu_second) for one in ("streamkit", other))
        return mine / theirs


def main() -> None:
    started = time.monotonic()
    tuned.calm_garbage_collector()  # of this process, which checks millions of results
    broker = find_broker(lambda text: print(f"kafka: {text}", flush=True))
    try:
        with stage(broker.bootstrap) as at:
            results = _play(at)
    finally:
        broker.stop()
    _print_table(results)
    _write(results, broker.way)
    print(f"all results are right; {time.monotonic() - started:.0f} s in all; details in {RESULTS.relative_to(Path.cwd())}")
    ratios = [f"{case}/{other} {results.ratio(case, other):.2f}" for case, other in RATIOS]
    print(f"bench-quick: {'  '.join(ratios)}")


def _play(at: Stage) -> Results:
    inputs: dict[tuple[int, int], dict[str, int]] = {}
    for case in CASES:  # cases of the same records are produced together
        inputs.setdefault((case.records, case.keys), {})[at.name(case.name)] = case.partitions
    made = {shape: bids.bids(*shape) for shape in inputs}
    at.fill([(made[shape], topics) for shape, topics in inputs.items()] + [restore.inputs(at)])
    results = Results()
    for case in CASES:
        expected = bids.expected(made[case.records, case.keys], case.partitions)
        for turn, contestant in enumerate(case.turns):
            run = _turn(at, case, contestant, turn, expected)
            results.runs.setdefault((case.name, contestant), []).append(run)
            print(f"{case.name:3} {contestant:10} {run.per_cpu_second / 1e3:6,.0f} k records per CPU-second", flush=True)
    results.restored = restore.measure(at)
    print(restore.line(results.restored), flush=True)
    return results


def _turn(at: Stage, case: Case, contestant: str, turn: int, expected: Windows) -> Measured:
    sink, app = at.name(f"{case.name}-{turn}-out"), at.name(f"{case.name}-{turn}-app".lower())
    at.create({sink: case.partitions})
    run = job.run(contestant, Job(at.bootstrap, app, at.name(case.name), sink, case.records, case.partitions))
    if contestant != "floor":
        wrong = expected.difference(bids.windows_of(at.read(sink)))
        if wrong is not None:
            raise RuntimeError(f"case {case.name}, {contestant}: {wrong}")
    return run


def _print_table(results: Results) -> None:
    table = Table(title="exactly once, tumbling 10 s, count/sum/max; k records/s, medians")
    for heading in ("case", "contestant", "wall", "per CPU-s", "whole process", "peak MB", "turns"):
        table.add_column(heading, justify="left" if heading in ("case", "contestant") else "right")
    for (case, contestant), runs in results.runs.items():
        rates = [
            f"{results.median(case, contestant, figure) / 1e3:,.0f}"
            for figure in (lambda r: r.per_second, lambda r: r.per_cpu_second, lambda r: r.per_process_cpu_second)
        ]
        table.add_row(case, contestant, *rates, str(max(run.peak_mb for run in runs)), str(len(runs)))
    if results.restored is not None:
        figures = results.restored.figures()
        rates = [f"{figures[name] / 1e3:,.0f}" for name in ("rows_per_second", "rows_per_cpu_second")]
        table.add_row("restore", "streamkit", *rates, "", str(results.restored.peak_mb), "1")
    Console().print(table)


def _write(results: Results, kafka: str) -> None:
    found = {
        "machine": {"processors": os.cpu_count(), "python": platform.python_version(), "kafka": kafka},
        "versions": {name: version(name) for name in LIBRARIES},
        "runs": {f"{case} {contestant}": [run.figures() for run in runs] for (case, contestant), runs in results.runs.items()},
        "restore": None if results.restored is None else results.restored.figures(),
        "ratios": {f"{case}/{other}": round(results.ratio(case, other), 3) for case, other in RATIOS},
    }
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()

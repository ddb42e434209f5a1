"""`python -m benchmarks.partitions`: one worker with few and with many partitions.

    step        what a step of the worker costs that has nothing to do, by the number of its tasks; the engine alone, no Kafka
    idle        processor time of a service without records on a real Kafka
    throughput  the same records in 1, 4, 16 and 256 partitions, to the end of the input (a bar: 256 within 30 % of 4)
    life        start, commits, memory, a second worker, restart and end with 1,000 partitions (or `--partitions`); lifecycle.py

The application is that of the other benchmarks: a tumbling window by the record's key, so each partition is a task with a
changelog.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from rich.console import Console
from rich.table import Table

import streamkit as sk
from benchmarks import bids, job
from benchmarks.contestants import streamkit as contestant
from benchmarks.job import Job, Measured
from benchmarks.lifecycle import Lifecycle
from benchmarks.soak import serve
from benchmarks.stage import Stage, stage
from streamkit.kafka.client import Polled
from tests.support.broker import find_broker

TASKS = (1, 16, 256, 1_000)
PARTITIONS = (4, 256, 16, 1, 256, 4)  # in this order; of two turns the better one counts
RECORDS, KEYS = 2_000_000, 1_000
IDLE_S = 10.0


def step_us(tasks: int, *, steps: int = 200) -> float:
    """Microseconds of a step without records, on the embedded broker."""
    made = contestant.app(Job("", "steps", "in", "out", 0))
    with sk.TestDriver(made, partitions=tasks, settings=sk.EngineSettings()) as driver:
        for number in range(tasks):
            driver.cluster.append("in", b'{"price":1,"dateTime":1700000000000}', b"1", number)
        driver.settle()
        driver.worker._consumer.poll = lambda *_: Polled()  # type: ignore[method-assign]  # the embedded broker is not measured
        taken = []
        for _ in range(5):
            begun = time.perf_counter()
            for _ in range(steps):
                driver.worker.step(0.0)
            taken.append((time.perf_counter() - begun) / steps)
    return min(taken) * 1e6


def idle(at: Stage, partitions: int) -> float:
    """The share of one processor that an idle service takes, all its threads."""
    source = at.name(f"idle-{partitions}")
    at.create({source: partitions})
    service, _ = serve(at, f"idle-{partitions}-app", source)
    service.wait_until("running", 120)
    time.sleep(3)
    before = service.cpu_s()
    time.sleep(IDLE_S)
    share = (service.cpu_s() - before) / IDLE_S
    service.end()
    return share


def throughput(at: Stage) -> dict[int, Measured]:
    """The run of each number of partitions that needed the least processor time."""
    made = bids.bids(RECORDS, KEYS)
    at.fill([(made, {at.name(f"bids-{count}"): count for count in set(PARTITIONS)})])
    runs: dict[int, list[Measured]] = {}
    for turn, count in enumerate(PARTITIONS):
        sink = at.name(f"out-{turn}")
        at.create({sink: 4})
        told = Job(at.bootstrap, at.name(f"app-{turn}"), at.name(f"bids-{count}"), sink, RECORDS, count)
        runs.setdefault(count, []).append(job.run("streamkit", told))
        wrong = bids.expected(made, count).difference(bids.windows_of(at.read(sink)))
        if wrong is not None:
            raise RuntimeError(f"{count} partitions: {wrong}")
    return {count: min(of, key=lambda run: run.cpu_s) for count, of in sorted(runs.items())}


def _commits(run: Measured) -> dict[str, Any]:
    stages = [event for event in run.events if event["event"] == "stages"]
    return stages[-1]["shares"] if stages else {}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("parts", nargs="*", default=["step", "idle", "throughput"], help="step, idle, throughput, life")
    arguments.add_argument("--partitions", type=int, default=TASKS[-1], help="of life (%(default)s)")
    given = arguments.parse_args()
    if given.partitions < 2:
        arguments.error("--partitions: at least 2, for two workers")
    parts = given.parts
    console = Console()
    if "step" in parts:
        costs = {tasks: step_us(tasks) for tasks in TASKS}
        console.print("a step without records:", ", ".join(f"{tasks:,} tasks {cost:.0f} µs" for tasks, cost in costs.items()))
    if {"idle", "throughput", "life"}.isdisjoint(parts):
        return
    broker = find_broker(lambda text: print(f"kafka: {text}", flush=True))
    try:
        with stage(broker.bootstrap) as at:
            if "idle" in parts:
                shares = {count: idle(at, count) for count in (1, 256)}
                told = ", ".join(f"{count} partitions {100 * share:.2f} %" for count, share in shares.items())
                print(f"an idle service, share of a processor: {told}", flush=True)
            if "throughput" in parts:
                _tell(console, throughput(at))
            if "life" in parts:
                Lifecycle(at, given.partitions).run()
    finally:
        broker.stop()


def _tell(console: Console, runs: dict[int, Measured]) -> None:
    table = Table(title=f"{RECORDS:,} records, {KEYS:,} keys, one worker")
    for name in ("partitions", "k records/s", "k records per CPU-s", "peak MB", "commit %", "commit-wait %", "other %"):
        table.add_column(name, justify="right")
    for count, run in runs.items():
        shares = _commits(run)
        table.add_row(
            str(count), f"{run.per_second / 1e3:,.0f}", f"{run.per_cpu_second / 1e3:,.0f}", str(run.peak_mb),
            *(f"{shares.get(name, 0.0)}" for name in ("commit", "commit-wait", "other")),
        )  # fmt: skip
    console.print(table)
    cpu = runs[256].per_cpu_second / runs[4].per_cpu_second
    print(f"partitions: 256/4 per CPU-second {cpu:.2f}, wall {runs[256].per_second / runs[4].per_second:.2f}")


if __name__ == "__main__":
    main()
